"""The history in the store: adding what an instance has counted, and reading what all have.

Adding is one read and one write for everything together, by compare-and-set, and never on a message's way. A write of
unknown outcome that cannot be found again is not repeated: a count may be missing, none is there twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gaesignals.format.fleet import Fleet, News
from gaesignals.format.history import USUAL_BYTES, Delta, Span, SpanKey, span_from_bytes
from gaesignals.format.keys import FLEET
from gaesignals.stores.client import Connection, Kind, Seen, State

from .rewrite import Fate, Plan, rewrite

_MAX_ATTEMPTS = 20
_MARK_BITS = 47
_FLEET = Kind(Fleet.from_bytes)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a reading found. A span that is not in `spans` is not known: memcache forgot it or does not answer."""

    spans: Mapping[SpanKey, Span] = field(default_factory=dict)
    fleet: Fleet | None = None

    def with_later(self, later: Remembered) -> Remembered:
        """This, and what is known of a later time."""
        return Remembered({**self.spans, **later.spans}, later.fleet or self.fleet)

    def with_added(self, deltas: Mapping[SpanKey, Delta], now_ms: int) -> Remembered:
        """This, with what could not be added to the store."""
        spans = dict(self.spans)
        for place, delta in deltas.items():
            spans[place] = spans.get(place, Span(place.period, now_ms)).with_added(delta, mark=0)
        return replace(self, spans=spans)


@dataclass(frozen=True, slots=True)
class Addition:
    """What came of adding: what could not be added to spans, to be tried later, and whether the news were told."""

    refused: Mapping[SpanKey, Delta]
    is_told: bool
    stored: Remembered = field(default_factory=Remembered)


class History:
    """The history of one mailbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, deltas: Mapping[SpanKey, Delta], news: News) -> Addition:
        """Add to the spans and to the page of the fleet. Raises nothing where memcache does not answer."""
        adding = _Adding(self._connection, deltas, news)
        rewrite(self._connection, adding, attempts=_MAX_ATTEMPTS)
        left = {place: delta for place, delta in deltas.items() if place.key in adding.failed}
        spans = {place: adding.stored[place.key] for place in deltas if place.key in adding.stored}
        return Addition(left, FLEET not in adding.failed, Remembered(spans, adding.stored.get(FLEET)))

    def read(self, places: Iterable[SpanKey]) -> Remembered:
        """Read spans and the page of the fleet, in one call where they are not large."""
        keys = {place.key: place for place in places}
        kinds: dict[bytes, Kind[Any]] = {key: _span_kind(place) for key, place in keys.items()}
        seen = self._connection.look(kinds | {FLEET: _FLEET})
        spans = {place: value for key, place in keys.items() if (value := seen[key].value) is not None}
        return Remembered(spans, seen[FLEET].value)


def _span_kind(place: SpanKey) -> Kind[Span]:
    return Kind(partial(span_from_bytes, place.grain, place.period), USUAL_BYTES)


class _Adding:
    """The planner of one addition. `failed` are the keys that were given up, `stored` what is certainly stored now."""

    def __init__(self, connection: Connection, deltas: Mapping[SpanKey, Delta], news: News) -> None:
        self._connection = connection
        self._mark = connection.random.getrandbits(_MARK_BITS)
        self._places = {place.key: (place, delta) for place, delta in deltas.items()}
        self._news = news
        self._todo: dict[bytes, Kind[Any]] = {place.key: _span_kind(place) for place in deltas}
        self._todo[FLEET] = _FLEET
        self.failed: set[bytes] = set()
        self.stored: dict[bytes, Any] = {}

    def wanted(self) -> Mapping[bytes, Kind[Any]]:
        return self._todo

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Collection[Plan]:
        for key, each in seen.items():
            if each.state is State.NEWER:
                del self._todo[key]
        return [self._plan(key, each) for key, each in seen.items() if each.is_writable]

    def _plan(self, key: bytes, seen: Seen[Any]) -> Plan:
        if key == FLEET:
            fleet: Fleet = seen.value or Fleet()
            return Plan(key, seen, fleet.with_news(self._news, self._mark), is_mine=self._is_mine)
        place, delta = self._places[key]
        span: Span = seen.value or Span(place.period, self._connection.now_ms())
        added = span.with_added(delta, self._mark)
        return Plan(key, seen, added, place.grain.ttl_seconds, is_mine=self._is_mine)

    def _is_mine(self, value: Span | Fleet) -> bool:
        return self._mark in value.marks

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate is Fate.STORED:
            self.stored[plan.key] = plan.value
        if fate is not Fate.LOST:
            self._todo.pop(plan.key, None)

    def give_up(self, key: bytes, reason: str) -> None:
        del self._todo[key]
        self.failed.add(key)
