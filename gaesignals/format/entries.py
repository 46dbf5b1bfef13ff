"""Entries: a message as it is stored, and the reference that stands for a bundle of them.

A record's wire form is `[id, sent_us, payload, options]`. Options hold what is not at its default, by one-letter names;
names this version does not know are kept, so that a later one can add fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any, ClassVar, TypeAlias

from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.values import replace, value

from .latest import Latest

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_US = 253402300800 * 10**6  # the year 10000, where datetime ends
_RECORD_OVERHEAD_BYTES = 120
"""Of a record's wire form, with every time and number that it may have."""

MAX_ID_CHARACTERS = 60
"""Of any id that is a part of a key, so that whatever is read makes a key that memcache takes."""

MAX_CONTEXT_CHARACTERS = 1600
"""Of a trace context: a W3C traceparent has 55, a tracestate at most 512, and baggage the rest."""

_OPTIONS: Mapping[str, tuple[str, type[Any]]] = {
    "n": ("namespace", str),
    "a": ("attempt", int),
    "t": ("not_before_ms", int),
    "r": ("receivers", list),
    "e": ("error", str),
    "w": ("context", str),
    "d": ("due_ms", int),
    "h": ("unknown_since_ms", int),
    "k": ("safety", str),
    "s": ("is_resent", bool),
    "b": ("brought", int),
    "u": ("wake_ms", int),
    "l": ("is_latest", bool),
}


def is_list_of(wire: Any, kinds: list[type[Any]]) -> bool:
    """Whether `wire` is a list of exactly these types, in this order."""
    return type(wire) is list and [*map(type, wire)] == kinds


def is_count(number: int) -> bool:
    """Whether `number` can be a count, a size, an index or an attempt of ours: sums of them stay within 64 bits."""
    return 0 <= number < 2**48


def are_counts(*numbers: int) -> bool:
    """Whether each of `numbers` can be one."""
    return min(numbers) >= 0 and max(numbers) < 2**48


def is_id(text: str) -> bool:
    """Whether `text` can be an id of ours."""
    return 0 < len(text) <= MAX_ID_CHARACTERS and text.isascii()


_BARE: list[type[Any]] = [str, int, bytes]
_WITH_OPTIONS: list[type[Any]] = [*_BARE, dict]
_CAN_BE: Mapping[type[Any], Callable[[Any], bool]] = {
    str: lambda text: True,
    bool: lambda flag: True,
    int: is_count,
    list: lambda items: all(isinstance(item, str) for item in items),
}


@value
class Record:
    """A message as it is stored: its payload stays encoded until a handler needs it.

    `attempt` is the number its next run will have. It is not run before `not_before_ms`. `receivers` are the ids of
    those that still have to run, empty for all that match; `error` is why it failed last. `context` is the trace
    context it was sent with, kept by every retry. `due_ms` is when it was meant to be handled, where that is not when
    it was sent: of a delayed message, and of a dead letter that was requeued. `unknown_since_ms` is since when it has
    waited for receivers that nobody knew.

    A durable one has `safety`, the name of the task that brings it back, empty if that is not known; `is_resent` if it
    was brought back, so that weak receivers do not see it. `brought` counts how often a task brought it. `wake_ms` is
    how long its wake task gathers, None if its signal does not wake. One that `is_latest` gives way to newer ones of
    its name.
    """

    id: str
    sent_us: int
    payload: bytes
    namespace: str = ""
    attempt: int = 1
    not_before_ms: int = 0
    receivers: tuple[str, ...] = ()
    error: str = ""
    extra: tuple[tuple[str, Any], ...] = ()
    context: str = ""
    due_ms: int = 0
    unknown_since_ms: int = 0
    safety: str | None = None
    is_resent: bool = False
    brought: int = 0
    wake_ms: int | None = None
    is_latest: bool = False

    count: ClassVar[int] = 1
    """How many messages it is."""

    @property
    def size(self) -> int:
        """About how many bytes the record takes, never fewer."""
        ascii_bytes = len(self.id) + len(self.safety or "")
        characters = len(self.namespace) + len(self.error) + len(self.context) + sum(map(len, self.receivers))
        return _RECORD_OVERHEAD_BYTES + len(self.payload) + ascii_bytes + 4 * characters + 64 * len(self.extra)

    @property
    def sent_at(self) -> datetime:
        return _EPOCH + timedelta(0, 0, self.sent_us)

    @property
    def is_durable(self) -> bool:
        return self.safety is not None

    @property
    def latest(self) -> Latest | None:
        """What is needed to replace it; None where it counts whatever comes later."""
        return Latest(self.sent_us, self.namespace, self.safety or "") if self.is_latest else None

    @property
    def age_from_ms(self) -> int:
        """When it began to grow old."""
        return self.due_ms or self.sent_us // 1000

    def charged(self, *, receivers: tuple[str, ...], not_before_ms: int, error: str) -> Record:
        """This record after a failed attempt, to be run again for `receivers` alone."""
        return replace(
            self,
            attempt=self.attempt + 1,
            receivers=receivers,
            not_before_ms=not_before_ms,
            error=error[:500],
            unknown_since_ms=0,
        )

    def to_wire(self) -> list[Any]:
        wire: list[Any] = [self.id, self.sent_us, self.payload]
        options = _options_of(self)
        if options == _DEFAULTS and not self.extra:
            return wire
        known = zip(_OPTIONS, options, _DEFAULTS, strict=True)
        wire.append(dict(self.extra) | {letter: option for letter, option, default in known if option != default})
        return wire

    @classmethod
    def from_wire(cls, wire: Any) -> Record:
        is_bare = is_list_of(wire, _BARE)
        if (is_bare or is_list_of(wire, _WITH_OPTIONS)) and is_id(wire[0]) and 0 <= wire[1] < _LAST_US:
            return cls(*wire) if is_bare else cls(*wire[:3], **_known_options(wire[3]))
        raise DecodeError("not a message record")


# At its default is what is not in the wire form.
_options_of = attrgetter(*(name for name, _ in _OPTIONS.values()))
_DEFAULTS: tuple[Any, ...] = _options_of(Record("", 0, b""))


def _known_options(options: dict[Any, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    extra: list[tuple[str, Any]] = []
    for letter, option in options.items():
        if letter not in _OPTIONS:
            extra.append((letter, option))
            continue
        name, kind = _OPTIONS[letter]
        if type(option) is not kind or not _CAN_BE[kind](option):
            raise DecodeError(f"a message record whose {name} is a {type(option).__name__}")
        known[name] = tuple(option) if kind is list else option
    return known | {"extra": tuple(extra)} if extra else known


LONGEST_WAIT_MS = 8 * 86400 * 1000


_REF: list[type[Any]] = [int, str, int, int]
_LATEST_REF: list[type[Any]] = [*_REF, list]


def is_due(at_ms: int, now_ms: int) -> bool:
    """Whether the time has come. One more than eight days ahead nobody meant: a clock was wrong when it was written."""
    return not now_ms < at_ms <= now_ms + LONGEST_WAIT_MS


@value
class Ref:
    """A reference to a bundle: `count` records of `size` bytes under a key of their own.

    A message too large for the page is a bundle of one, with its `latest` if it has that. Nothing in the bundle is to
    be run before `not_before_ms`, the earliest of its records'.
    """

    key: str
    size: int
    count: int
    not_before_ms: int = 0
    latest: Latest | None = None

    def to_wire(self) -> list[Any]:
        latest = [self.latest.to_wire()] if self.latest else []
        return [self.size, self.key, self.count, self.not_before_ms, *latest]

    @classmethod
    def from_wire(cls, wire: Any) -> Ref:
        if is_list_of(wire, _REF) or is_list_of(wire, _LATEST_REF):
            size, key, count, not_before_ms, *latest = wire
            if is_id(key) and count and are_counts(size, count, not_before_ms):
                return cls(key, size, count, not_before_ms, *map(Latest.from_wire, latest))
        raise DecodeError("not a reference to a bundle")


Entry: TypeAlias = Record | Ref


def is_reference(wire: Any) -> bool:
    """Whether that is the wire form of a reference, if it is that of an entry."""
    return type(wire) is list and bool(wire) and type(wire[0]) is int


def entries_from_wire(wire: object) -> tuple[Entry, ...]:
    if not isinstance(wire, list):
        raise DecodeError("not a list of entries")
    return tuple([Ref.from_wire(entry) if is_reference(entry) else Record.from_wire(entry) for entry in wire])


def refs_of(entries: Iterable[Entry]) -> Iterator[Ref]:
    """The references among the entries, in order."""
    return (entry for entry in entries if isinstance(entry, Ref))


def count_messages(entries: Iterable[Entry]) -> int:
    return sum([entry.count for entry in entries])


VERSION = 2
"""Of segments and bundles."""


def entries_from_bytes(value: bytes) -> tuple[Entry, ...]:
    """Read a segment or a bundle. Raises as `Page.from_bytes` does."""
    return entries_from_wire(codec.unseal(value, version=VERSION))
