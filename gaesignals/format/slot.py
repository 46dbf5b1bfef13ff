"""A slot of the index of waiting names: values in, values out.

It maps each name to `due_ms`, the time from which a fan-out may dispatch it, and to how far a fan-out has pushed it
forward, if nobody has sent to it or settled it since.

The times are of many clocks. No writer lists a name far ahead of its own, so a time that is far ahead is one of a wrong
clock and counts as now; and no writer but a fan-out takes out what seems to be old, where there is room.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field

from gaesignals.data import codec
from gaesignals.values import value

from .keys import MAX_NAME_BYTES
from .names import listed

VERSION = 3
MAX_OVERDUE_MS = 7 * 86400 * 1000
MAX_AHEAD_MS = 600_000
"""What is due later than that counts as due now."""
LISTED_AHEAD_MS = MAX_AHEAD_MS - 180_000
"""So far ahead a name is listed at most, and looked at again then: clocks may differ by the rest."""
MAX_PUSH_MS = 3600 * 1000
MAX_BYTES = 950_000
FRESH_MS = 10_000
"""For as long as a send may take over its one write, whose parts memcache carries out in any order."""
_WHAT = "a slot of the index"
_MAX_ENTRY_BYTES = MAX_NAME_BYTES + 24


@value
class Slot:
    due_ms: Mapping[str, int] = field(default_factory=dict)
    pushed_ms: Mapping[str, int] = field(default_factory=dict)

    def is_due(self, name: str, now_ms: int) -> bool:
        """Whether a fan-out may dispatch a name that is listed."""
        ahead_ms = max(MAX_AHEAD_MS, 2 * self.pushed_ms.get(name, 0))
        return not now_ms < self.due_ms[name] <= now_ms + ahead_ms

    def is_keeping(self, name: str, now_ms: int) -> bool:
        """Whether `name` is listed, and not so long overdue that it may soon be dropped."""
        return self.due_ms.get(name, 0) > now_ms - MAX_OVERDUE_MS // 2

    def is_listed_since(self, name: str, at_ms: int, now_ms: int) -> bool:
        """Whether `name` was listed at that time or later; False where the slot does not say when.

        A time ahead is when something can be done, or of another clock. A name that was pushed may be taken out at once
        and another be listed in its place, by a clock that is behind: `FRESH_MS` is for the difference.
        """
        listed_ms = self.due_ms.get(name, 0)
        if name in self.pushed_ms:
            listed_ms -= self.pushed_ms[name] + FRESH_MS
        return at_ms <= listed_ms <= now_ms

    def is_fresh(self, name: str, now_ms: int) -> bool:
        """Whether a sender has just listed `name`: the message it is about may be on its way to the page still."""
        return name in self.due_ms and abs(self.due_ms[name] - now_ms) < FRESH_MS

    def has_room_for(self, names: Collection[str], now_ms: int) -> bool:
        """Whether memcache takes this slot with `names` listed, too. Those that are listed already need no room."""
        return self.due_ms.keys() >= frozenset(names) or self.with_due(dict.fromkeys(names, now_ms), now_ms)._fits

    @property
    def _fits(self) -> bool:
        return len(self.due_ms) * _MAX_ENTRY_BYTES <= MAX_BYTES or len(self.to_bytes()) <= MAX_BYTES

    def with_due(self, due: Mapping[str, int], now_ms: int) -> Slot:
        """This slot with the names of `due` listed at those times, never earlier than now nor far ahead.

        Where that would be too many, entries seven days overdue make room: hardly anything that old is still stored.
        """
        listed = {name: min(max(at, now_ms), now_ms + LISTED_AHEAD_MS) for name, at in due.items()}
        slot = Slot({**self.due_ms, **listed}, _left(self.pushed_ms, listed))
        return slot if slot._fits else slot.without(slot.overdue(now_ms))

    def overdue(self, now_ms: int) -> set[str]:
        """The names that are seven days overdue."""
        return {name for name, at in self.due_ms.items() if at <= now_ms - MAX_OVERDUE_MS}

    def next_push_ms(self, name: str, least_ms: int) -> int:
        """How far to push `name`: `least_ms`, or twice as far as the last time where nobody has delivered it since."""
        last_ms = self.pushed_ms.get(name)
        return least_ms if last_ms is None else min(2 * last_ms, max(MAX_PUSH_MS, least_ms))

    def pushed(self, by_ms: Mapping[str, int], now_ms: int, *, mark_ms: int) -> Slot:
        """This slot with each name of `by_ms` due so long after now.

        `mark_ms` is added to the times alone, so that whoever pushed them knows them again.
        """
        due = {name: now_ms + wait_ms + mark_ms for name, wait_ms in by_ms.items()}
        return Slot({**self.due_ms, **due}, {**self.pushed_ms, **by_ms})

    def without(self, names: Iterable[str]) -> Slot:
        gone = frozenset(names)
        return Slot(_left(self.due_ms, gone), _left(self.pushed_ms, gone))

    def to_bytes(self) -> bytes:
        pushed = {name: [self.due_ms[name], by_ms] for name, by_ms in self.pushed_ms.items()}
        return codec.seal(VERSION, {**self.due_ms, **pushed})

    @classmethod
    def from_bytes(cls, value: bytes) -> Slot:
        """Read a stored slot. Raises `DecodeError` or `NewerFormatError`."""
        body = codec.unseal(value, version=VERSION)
        if not isinstance(body, dict) or list not in map(type, body.values()):
            return cls(listed(body, what=_WHAT))
        pairs = {name: pair for name, pair in body.items() if _is_pair(pair)}
        due_ms = listed({**body, **{name: at for name, (at, _) in pairs.items()}}, what=_WHAT)
        return cls(due_ms, {name: by_ms for name, (_, by_ms) in pairs.items() if name in due_ms})


def _left(numbers: Mapping[str, int], gone: Collection[str]) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if name not in gone}


def _is_pair(value: object) -> bool:
    return type(value) is list and len(value) == 2 and type(value[1]) is int and 0 < value[1] <= MAX_OVERDUE_MS
