"""The history: counts by minute for a day, by hour for a fortnight, and of all time. Values in, values out.

A *span* is the value of one key. One of minutes has an hour of them, one of hours a day. The counts of all receivers
and names together are in one row of spans, those of each receiver and name in eight more, told apart by the hash of
what they are called. So a picture of a day takes twenty-five keys whatever there is, and what an instance has counted
in a minute goes into some twenty.

A span says for which of its slots somebody has counted. What nobody has, or what memcache forgot, is not known, and not
zero.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gaesignals.data import codec
from gaesignals.errors import DecodeError

from .counts import Cell, added, cell_from_wire, cell_to_wire, checked_counts
from .entries import is_count

VERSION = 1
MAX_LABELS: Final = 32
"""Of one span. A receiver or a name that comes later has no history of its own."""
MAX_BYTES: Final = 400_000
"""No span of ours is larger: what is, is planted, and is not even looked into."""
USUAL_BYTES: Final = 40_000
MAX_MARKS: Final = 32
_LABEL_BYTES: Final = 8

EVERYTHING: Final = b""
"""The label of the counts of all receivers and names together."""
SHARDS: Final = 8
_EVERYTHING_SHARD: Final = 0


@dataclass(frozen=True, slots=True)
class Grain:
    """How finely is counted: spans of so many slots of so many milliseconds, kept for so many seconds."""

    letter: str
    slot_ms: int
    slots: int
    ttl_seconds: int

    def of(self, at_ms: int) -> tuple[int, int]:
        """The period and the slot in it of a time."""
        return divmod(at_ms // self.slot_ms, self.slots)

    def periods(self, first_ms: int, last_ms: int) -> range:
        """The periods that a stretch of time touches."""
        return range(self.of(first_ms)[0], self.of(last_ms)[0] + 1)


MINUTES: Final = Grain("m", 60_000, 60, 26 * 3600)
HOURS: Final = Grain("h", 3_600_000, 24, 16 * 86_400)
EVER: Final = Grain("e", 2**47, 1, 0)
GRAINS: Final = (MINUTES, HOURS, EVER)


@dataclass(frozen=True, slots=True)
class SpanKey:
    """Where a span is stored."""

    grain: Grain
    period: int
    shard: int

    @classmethod
    def of(cls, grain: Grain, period: int, label: bytes) -> SpanKey:
        return cls(grain, period, shard_of(label))

    @property
    def key(self) -> bytes:
        return f"gs:h:{self.grain.letter}:{self.period}:{self.shard}".encode()


def label_of(kind: str, text: str) -> bytes:
    """What the counts of a receiver or a name are found by, however long it is."""
    return hashlib.sha256(f"{kind}:{text}".encode(errors="surrogatepass")).digest()[:_LABEL_BYTES]


def shard_of(label: bytes) -> int:
    return _EVERYTHING_SHARD if label == EVERYTHING else 1 + zlib.crc32(label) % SHARDS


@dataclass(slots=True)
class Delta:
    """What is to be added to a span: cells by label and slot, and the slots that were counted for."""

    heard: set[int] = field(default_factory=set)
    cells: dict[bytes, dict[int, Cell]] = field(default_factory=dict)

    def add(self, label: bytes, slot: int, cell: Cell) -> None:
        self.heard.add(slot)
        mine = self.cells.setdefault(label, {})
        mine[slot] = added([mine.get(slot, {}), cell])

    def update(self, other: Delta) -> None:
        self.heard |= other.heard
        for label, cells in other.cells.items():
            for slot, cell in cells.items():
                self.add(label, slot, cell)


@dataclass(frozen=True, slots=True)
class Span:
    """What was counted in one period of a grain, since `since_ms`, in the slots of `heard`.

    `marks` are those of the last writes, by which a writer whose answer was lost finds its own.
    """

    period: int
    since_ms: int
    heard: frozenset[int] = frozenset()
    cells: Mapping[bytes, Mapping[int, Cell]] = field(default_factory=dict)
    marks: tuple[int, ...] = ()

    def cell(self, label: bytes, slot: int) -> Cell | None:
        """The counts of a slot; None where nobody knows."""
        return self.cells.get(label, {}).get(slot, {}) if slot in self.heard else None

    def with_added(self, delta: Delta, mark: int) -> Span:
        """This and `delta`. Labels for which there is no room are left out."""
        cells = {label: dict(slots) for label, slots in self.cells.items()}
        for label, slots in delta.cells.items():
            if label not in cells and len(cells) >= MAX_LABELS:
                continue
            mine = cells.setdefault(label, {})
            for slot, cell in slots.items():
                mine[slot] = added([mine.get(slot, {}), cell])
        marks = (*self.marks, mark)[-MAX_MARKS:]
        return Span(self.period, self.since_ms, self.heard | delta.heard, cells, marks)

    def to_bytes(self) -> bytes:
        cells = [
            [label, [[slot, cell_to_wire(cell)] for slot, cell in sorted(slots.items())]]
            for label, slots in self.cells.items()
        ]
        return codec.seal(VERSION, [self.period, self.since_ms, sorted(self.heard), cells, list(self.marks)])


def span_from_bytes(grain: Grain, period: int, value: bytes) -> Span:
    """Read a stored span, which has to be of that grain and period. Raises `DecodeError` or `NewerFormatError`."""
    if len(value) > MAX_BYTES:
        raise DecodeError("far too large for a span of the history")
    match codec.unseal(value, version=VERSION):
        case [int(stored), int(since_ms), heard, list(cells), marks] if (
            stored == period and is_count(since_ms) and len(cells) <= MAX_LABELS
        ):
            slots = frozenset(_slot(each, grain) for each in _few(heard, grain.slots))
            return Span(
                period,
                since_ms,
                slots,
                dict(_row_from_wire(row, grain) for row in cells),
                tuple(checked_counts(_few(marks, MAX_MARKS))),
            )
    raise DecodeError("not a span of the history, or one of another time")


def _row_from_wire(wire: object, grain: Grain) -> tuple[bytes, Mapping[int, Cell]]:
    match wire:
        case [bytes(label), list(slots)] if len(label) in (0, _LABEL_BYTES) and len(slots) <= grain.slots:
            return label, dict(_slot_from_wire(each, grain) for each in slots)
    raise DecodeError("not the counts of a receiver or a name")


def _slot_from_wire(wire: object, grain: Grain) -> tuple[int, Cell]:
    match wire:
        case [slot, cell]:
            return _slot(slot, grain), cell_from_wire(cell)
    raise DecodeError("not the counts of a slot")


def _slot(number: object, grain: Grain) -> int:
    if type(number) is not int or not 0 <= number < grain.slots:
        raise DecodeError("not a slot of a span")
    return number


def _few(wire: object, most: int) -> list[Any]:
    if not isinstance(wire, list) or len(wire) > most:
        raise DecodeError("not a short list")
    return wire


def deltas(at_ms: int, cells: Mapping[bytes, Cell], shards: Iterable[int]) -> dict[SpanKey, Delta]:
    """What was counted in the minute of `at_ms` by label, as it is to be added to the spans of all grains.

    The minute counts as known in all `shards`, whether or not anything was counted there.
    """
    found: dict[SpanKey, Delta] = {}
    for grain in GRAINS:
        period, slot = grain.of(at_ms)
        for shard in shards if grain is not EVER else ():
            found.setdefault(SpanKey(grain, period, shard), Delta()).heard.add(slot)
        for label, cell in cells.items():
            found.setdefault(SpanKey.of(grain, period, label), Delta()).add(label, slot, cell)
    return found
