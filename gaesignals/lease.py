"""Pure values: what a page refers to, and what a lease on it holds.

Nothing here knows memcache, a clock or randomness. Wire forms are lists and dicts for the codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from .errors import DecodeError
from .message import Record, is_count, is_id

MAX_SEGMENTS_A_CLAIM = 64
LONGEST_WAIT_MS = 8 * 86400 * 1000
_REF_BYTES = 60
MAX_HOLDER_CHARACTERS = 20


def is_due(at_ms: int, now_ms: int) -> bool:
    """Whether the time has come. One more than eight days ahead nobody meant: a clock was wrong when it was written."""
    return not now_ms < at_ms <= now_ms + LONGEST_WAIT_MS


Position: TypeAlias = tuple[int, int, int]
"""Where a message stands in a lease: segment index, entry in it, message inside that entry.

A lease's own entries come after its segments and stand under the index that follows the last one, so positions are
ordered as the messages are run, and an evicted segment shifts none of them.
"""


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to a bundle: `count` records of `size` bytes under a key of their own.

    A message too large for the page is a bundle of one. Nothing in the bundle is to be run before
    `not_before_ms`, the earliest of its records'.
    """

    key: str
    size: int
    count: int
    not_before_ms: int = 0

    def to_wire(self) -> list[Any]:
        return [self.size, self.key, self.count, self.not_before_ms]

    @classmethod
    def from_wire(cls, wire: object) -> Ref:
        match wire:
            case [int(size), str(key), int(count), int(not_before_ms)] if (
                is_id(key) and is_count(size) and is_count(count) and count and is_count(not_before_ms)
            ):
                return cls(key, size, count, not_before_ms)
        raise DecodeError("not a reference to a bundle")


Entry: TypeAlias = Record | Ref


def entry_from_wire(wire: object) -> Entry:
    is_record = isinstance(wire, list) and bool(wire) and isinstance(wire[0], str)
    return Record.from_wire(wire) if is_record else Ref.from_wire(wire)


def entries_from_wire(wire: object) -> tuple[Entry, ...]:
    if not isinstance(wire, list):
        raise DecodeError("not a list of entries")
    return tuple(entry_from_wire(item) for item in wire)


def refs_of(entries: Iterable[Entry]) -> Iterator[Ref]:
    """The references among the entries, in order."""
    return (entry for entry in entries if isinstance(entry, Ref))


def inline_bytes(entries: Iterable[Entry]) -> int:
    """How many bytes the entries take where they stand."""
    return sum(entry.size if isinstance(entry, Record) else _REF_BYTES for entry in entries)


def referenced_bytes(entries: Iterable[Entry]) -> int:
    """How many bytes the entries refer to elsewhere."""
    return sum(ref.size for ref in refs_of(entries))


def weight(entries: Iterable[Entry]) -> int:
    """How many bytes have to be read to have every message of the entries."""
    return sum(entry.size for entry in entries)


def count_messages(entries: Iterable[Entry]) -> int:
    return sum(entry.count if isinstance(entry, Ref) else 1 for entry in entries)


@dataclass(frozen=True, slots=True)
class Holding:
    """What one claim took from a page: the segments `first` to `next - 1`, then `entries`.

    `sealed_count` is about how many messages the segments hold: exact as long as none of them was claimed by halves.
    """

    first: int
    next: int
    entries: tuple[Entry, ...]
    sealed_count: int = 0
    weight: int = 0

    @property
    def segments(self) -> range:
        return range(self.first, self.next)

    @property
    def count(self) -> int:
        return self.sealed_count + count_messages(self.entries)


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of the message at `position` of a lease that is run message by message.

    It is to go back for `receivers` (empty: for all it names) with this `attempt`, not before `not_before_ms`.
    """

    position: Position
    attempt: int
    not_before_ms: int
    receivers: tuple[str, ...] = ()
    error: str = ""

    def apply(self, record: Record) -> Record:
        return replace(
            record,
            attempt=self.attempt,
            not_before_ms=self.not_before_ms,
            receivers=self.receivers or record.receivers,
            error=self.error or record.error,
        )

    def to_wire(self) -> list[Any]:
        return [list(self.position), self.attempt, self.not_before_ms, list(self.receivers), self.error]

    @classmethod
    def from_wire(cls, wire: object) -> Mark:
        match wire:
            case [position, int(attempt), int(not_before_ms), list(receivers), str(error)] if (
                is_count(attempt)
                and is_count(not_before_ms)
                and all(isinstance(receiver, str) for receiver in receivers)
            ):
                return cls(_position_from_wire(position), attempt, not_before_ms, tuple(receivers), error)
        raise DecodeError("not a mark of a lease")


@dataclass(frozen=True, slots=True)
class Lease:
    """Messages that one delivery holds until `expires_ms`.

    Without a `position` they are run in batches and nobody knows how far that came. With one, they are run one by one:
    those before it are done but for `marks`, and the one at it was being run when this was written. `holder` says for
    people which process it is; nothing is decided by it.
    """

    id: str
    expires_ms: int
    holding: Holding
    position: Position | None = None
    marks: tuple[Mark, ...] = ()
    holder: str = ""

    def to_wire(self) -> dict[str, Any]:
        holding = self.holding
        wire: dict[str, Any] = {
            "i": self.id,
            "x": self.expires_ms,
            "f": holding.first,
            "n": holding.next,
            "m": [entry.to_wire() for entry in holding.entries],
            "s": holding.sealed_count,
            "h": holding.weight,
        }
        if self.position is not None:
            wire["p"] = list(self.position)
        if self.marks:
            wire["z"] = [mark.to_wire() for mark in self.marks]
        if self.holder:
            wire["o"] = self.holder
        return wire

    @classmethod
    def from_wire(cls, wire: object) -> Lease:
        match wire:
            case {
                "i": str(id_),
                "x": int(expires_ms),
                "f": int(first),
                "n": int(next_),
                "m": list(entries),
                "s": int(sealed_count),
                "h": int(heaviest),
                **rest,
            } if _are_segments(first, next_) and is_count(sealed_count) and is_count(heaviest):
                holding = Holding(first, next_, entries_from_wire(entries), sealed_count, heaviest)
                position = _position_from_wire(rest["p"]) if "p" in rest else None
                marks = rest.get("z", [])
                if isinstance(marks, list):
                    marks = tuple(map(Mark.from_wire, marks))
                    return cls(id_, expires_ms, holding, position, marks, _holder_from_wire(rest.get("o")))
        raise DecodeError("not a lease")


def _holder_from_wire(wire: object) -> str:
    """Whatever stands there, it is no reason to lose a message."""
    return wire[:MAX_HOLDER_CHARACTERS] if isinstance(wire, str) else ""


def _are_segments(first: int, next_: int) -> bool:
    return is_count(first) and first <= next_ <= first + MAX_SEGMENTS_A_CLAIM


def _position_from_wire(wire: object) -> Position:
    match wire:
        case [int(segment), int(entry), int(inner)]:
            return segment, entry, inner
    raise DecodeError("not a position in a lease")
