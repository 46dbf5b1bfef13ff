"""What is counted of deliveries: numbered counts that add up, over time and over instances. Values in, values out.

A cell maps the numbers of fields to counts. Adding two cells is all that is ever done with them, so it does not matter
who counted what in which order, and a field that this version does not know is carried along.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from gaesignals.errors import DecodeError

from .entries import is_count

Cell: TypeAlias = Mapping[int, int]

MAX_FIELDS: Final = 64
WAITS: Final = 32
"""The first field of the histogram of how long messages waited for their first attempt."""
DURATIONS: Final = 48
"""The first field of the histogram of how long calls of handlers took."""
# In seconds: what the buckets go up to. One more each is for what took longer.
WAIT_BOUNDS: Final = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 21_600.0)
DURATION_BOUNDS: Final = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0)


class Field(enum.IntEnum):
    """The counts that are not in a histogram.

    `CALLS` are calls of handlers, which took `HANDLER_US` microseconds together. `WAITED_MS` is how long the messages
    of the histogram waited together. In `SAMPLES` looks at the mailboxes, `WAITING` and `RETRYING` messages were seen.
    `BROUGHT` are durable messages that memcache forgot and that their tasks brought back.
    """

    SENT = 0
    DELIVERED = 1
    FAILED = 2
    RETRIED = 3
    DEAD = 4
    LOST = 5
    EXPIRED = 6
    OVERTAKEN = 7
    CALLS = 8
    HANDLER_US = 9
    WAITED_MS = 10
    SAMPLES = 11
    WAITING = 12
    RETRYING = 13
    REPLACED = 14
    BROUGHT = 15


def wait_field(seconds: float) -> int:
    """The field of the bucket that a wait falls into."""
    return WAITS + bisect_left(WAIT_BOUNDS, seconds)


def duration_field(seconds: float) -> int:
    return DURATIONS + bisect_left(DURATION_BOUNDS, seconds)


def added(cells: Iterable[Cell]) -> dict[int, int]:
    """All of them together."""
    total: dict[int, int] = {}
    for cell in cells:
        for field, count in cell.items():
            total[field] = total.get(field, 0) + count
    return total


def buckets(cell: Cell, first: int, bounds: Sequence[float]) -> list[int]:
    """The counts of a histogram's buckets, the one for what took longer last."""
    return [cell.get(first + number, 0) for number in range(len(bounds) + 1)]


def percentile(cell: Cell, first: int, bounds: Sequence[float], percent: float) -> float | None:
    """About what so many of a hundred did not exceed, in seconds; None of nothing.

    Inside a bucket they are taken to be spread evenly; what is beyond the last bound counts as that.
    """
    counts = buckets(cell, first, bounds)
    wanted = sum(counts) * percent / 100
    below, seen = 0.0, 0
    for count, bound in zip(counts, bounds, strict=False):
        if count and seen + count >= wanted:
            return below + (bound - below) * max(0.0, wanted - seen) / count
        seen += count
        below = bound
    return below if seen < sum(counts) else None


def cell_to_wire(cell: Cell) -> list[int]:
    return [number for pair in cell.items() for number in pair]


def cell_from_wire(wire: object) -> Cell:
    """Raises `DecodeError`."""
    if not isinstance(wire, list) or len(wire) % 2 or len(wire) > 2 * MAX_FIELDS:
        raise DecodeError("not a cell of counts")
    return dict(zip(wire[::2], checked_counts(wire)[1::2], strict=True))


def checked_counts(wire: object) -> list[int]:
    """A list of counts as it was stored. Raises `DecodeError`."""
    if not isinstance(wire, list) or not all(type(number) is int and is_count(number) for number in wire):
        raise DecodeError("not a list of counts")
    checked: list[Any] = wire
    return checked
