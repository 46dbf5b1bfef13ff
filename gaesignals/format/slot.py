"""A slot of the index of waiting names: values in, values out.

It maps each name to `due_ms`, the time from which a fan-out may dispatch it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field

from gaesignals.data import codec
from gaesignals.values import value

from .keys import MAX_NAME_BYTES
from .names import listed

VERSION = 2
MAX_OVERDUE_MS = 7 * 86400 * 1000
MAX_BYTES = 950_000
FRESH_MS = 10_000
"""For as long as a send may take over its one write, whose parts memcache carries out in any order."""
_MAX_ENTRY_BYTES = MAX_NAME_BYTES + 12


@value
class Slot:
    due_ms: Mapping[str, int] = field(default_factory=dict)

    def is_keeping(self, name: str, now_ms: int) -> bool:
        """Whether `name` is listed, and not so long overdue that it may soon be dropped."""
        return self.due_ms.get(name, 0) > now_ms - MAX_OVERDUE_MS // 2

    def is_fresh(self, name: str, now_ms: int) -> bool:
        """Whether a sender has just listed `name`: the message it is about may be on its way to the page still."""
        return name in self.due_ms and abs(self.due_ms[name] - now_ms) < FRESH_MS

    def has_room_for(self, names: Collection[str], now_ms: int) -> bool:
        """Whether memcache takes this slot with `names` listed, too. Those that are listed already need no room."""
        if (len(self.due_ms) + len(names)) * _MAX_ENTRY_BYTES <= MAX_BYTES or self.due_ms.keys() >= frozenset(names):
            return True
        return len(self.with_due(dict.fromkeys(names, now_ms), now_ms).to_bytes()) <= MAX_BYTES

    def with_due(self, due: Mapping[str, int], now_ms: int) -> Slot:
        """This slot with the names of `due` listed at those times, never earlier than now.

        Entries seven days overdue are dropped: hardly anything that old is still stored.
        """
        kept = {name: at for name, at in self.due_ms.items() if at > now_ms - MAX_OVERDUE_MS}
        return Slot(kept | {name: max(at, now_ms) for name, at in due.items()})

    def without(self, names: Iterable[str]) -> Slot:
        gone = frozenset(names)
        return Slot({name: at for name, at in self.due_ms.items() if name not in gone})

    def to_bytes(self) -> bytes:
        return codec.seal(VERSION, dict(self.due_ms))

    @classmethod
    def from_bytes(cls, value: bytes) -> Slot:
        """Read a stored slot. Raises `DecodeError` or `NewerFormatError`."""
        return cls(listed(codec.unseal(value, version=VERSION), what="a slot of the index"))
