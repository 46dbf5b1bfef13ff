"""Pure values: what a page refers to, and what a lease on it holds.

Nothing here knows memcache, a clock or randomness. Wire forms are lists and dicts for the codec.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from gaesignals.errors import DecodeError
from gaesignals.values import replace, value

from .entries import Record, is_count, is_due
from .inline import NOTHING, Inline

MAX_SEGMENTS_A_CLAIM = 64
MAX_HOLDER_CHARACTERS = 20


Position: TypeAlias = tuple[int, int, int]
"""Where a message stands in a lease: segment index, entry in it, message inside that entry.

A lease's own entries come after its segments and stand under the index that follows the last one, so positions are
ordered as the messages are run, and an evicted segment shifts none of them.
"""


@value
class Holding:
    """What one claim took from a page: the segments `first` to `next - 1`, then `entries`.

    `sealed_count` is about how many messages the segments hold: exact as long as none of them was claimed by halves.
    """

    first: int
    next: int
    entries: Inline = NOTHING
    sealed_count: int = 0
    weight: int = 0

    @property
    def segments(self) -> range:
        return range(self.first, self.next)

    @property
    def count(self) -> int:
        return self.sealed_count + self.entries.count


@value
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


@value
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
            "m": holding.entries.to_wire(),
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
                "m": entries,
                "s": int(sealed_count),
                "h": int(heaviest),
                **rest,
            } if _are_segments(first, next_) and is_count(sealed_count) and is_count(heaviest):
                holding = Holding(first, next_, Inline.from_wire(entries), sealed_count, heaviest)
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


GRACE_MS = 10_000


def is_expired(lease: Lease, now_ms: int) -> bool:
    """Whether others may take `lease` over."""
    return is_due(lease.expires_ms + GRACE_MS, now_ms)
