"""The past as it is shown: counts over the last hour, day or fortnight, of everything, of a receiver or of a name.

What nobody counted, or memcache forgot, is None. That is not zero. While memcache does not answer, one instance knows
what it read last and what it has counted itself since: a count of that time is the least there was, and none is None.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from gaesignals.format.counts import (
    DURATION_BOUNDS,
    DURATIONS,
    WAIT_BOUNDS,
    WAITS,
    Cell,
    Field,
    added,
    percentile,
)
from gaesignals.format.fleet import Fleet
from gaesignals.format.history import EVERYTHING, HOURS, MINUTES, Grain, SpanKey
from gaesignals.mailbox.history import Remembered

DAY_SLOTS = 24
# What the report of a delivery says.
REPORTED = (
    Field.DELIVERED,
    Field.FAILED,
    Field.RETRIED,
    Field.DEAD,
    Field.LOST,
    Field.EXPIRED,
    Field.OVERTAKEN,
)
# Of what was counted by receiver and by name, this is one handler's run with a message, not a message.
COUNTED = (Field.SENT, Field.REPLACED, *REPORTED, Field.BROUGHT)


class Window(enum.Enum):
    """How far back a picture goes: so many columns of so many slots of a grain."""

    HOUR = ("hour", MINUTES, 1, 60)
    DAY = ("day", MINUTES, 15, 96)
    FORTNIGHT = ("fortnight", HOURS, 3, 112)

    def __init__(self, label: str, grain: Grain, slots: int, columns: int) -> None:
        self.label = label
        self.grain = grain
        self.slots = slots
        self.columns = columns

    @property
    def step_ms(self) -> int:
        return self.grain.slot_ms * self.slots

    def starts_ms(self, now_ms: int) -> range:
        """When each column begins; the last one is that of now."""
        last = now_ms // self.step_ms * self.step_ms
        return range(last - (self.columns - 1) * self.step_ms, last + 1, self.step_ms)


WINDOWS = {window.label: window for window in Window}


@dataclass(frozen=True, slots=True)
class Point:
    """What was counted in the time that begins `at`. All is None where it is not known.

    Where it `is_whole`, what was not counted there did not happen; else others may have counted more.
    """

    at: datetime
    cell: Cell | None = None
    is_whole: bool = True

    def count(self, field: Field) -> int | None:
        return None if self.cell is None else self.cell.get(field, 0 if self.is_whole else None)

    def mean(self, field: Field) -> float | None:
        """Of the looks at the mailboxes, how many messages each saw."""
        samples = self.count(Field.SAMPLES)
        return None if not samples or self.cell is None else self.cell.get(field, 0) / samples

    def wait_seconds(self, percent: float) -> float | None:
        """About what so many of a hundred messages waited no longer than; None as well where none was delivered."""
        return None if self.cell is None else percentile(self.cell, WAITS, WAIT_BOUNDS, percent)

    def handler_seconds(self, percent: float) -> float | None:
        return None if self.cell is None else percentile(self.cell, DURATIONS, DURATION_BOUNDS, percent)

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(timespec="seconds"),
            **{field.name.lower(): self.count(field) for field in COUNTED},
            "handler_seconds": None if (us := self.count(Field.HANDLER_US)) is None else rounded(us / 1_000_000),
            "wait_median_seconds": rounded(self.wait_seconds(50)),
            "wait_p95_seconds": rounded(self.wait_seconds(95)),
            "waiting": rounded(self.mean(Field.WAITING)),
            "retrying": rounded(self.mean(Field.RETRYING)),
        }


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one window, the oldest first."""

    window: Window = Window.HOUR
    points: tuple[Point, ...] = ()

    @property
    def is_known(self) -> bool:
        return any(point.cell is not None for point in self.points)

    @property
    def total(self) -> Point | None:
        """All of it together, as far as it is known."""
        return together(self.points) if self.is_known else None

    def to_json(self) -> dict[str, Any]:
        return {
            "window": self.window.label,
            "step_seconds": self.window.step_ms // 1000,
            "points": [point.to_json() for point in self.points],
        }


@dataclass(frozen=True, slots=True)
class Past:
    """What was remembered when somebody looked, at `now_ms`.

    `whole_until_ms`: of the time from then on, only some of what was counted is there. None: all is there.
    """

    remembered: Remembered = field(default_factory=Remembered)
    now_ms: int = 0
    whole_until_ms: int | None = None

    @property
    def fleet(self) -> Fleet:
        return self.remembered.fleet or Fleet()

    def series(self, window: Window, label: bytes = EVERYTHING) -> Series:
        steps = (range(start, start + window.step_ms, window.grain.slot_ms) for start in window.starts_ms(self.now_ms))
        return Series(window, tuple(self._point(window.grain, slots_ms, label) for slots_ms in steps))

    def day(self, label: bytes) -> Point:
        """The counts of the last day, by the hour."""
        return self._point(HOURS, _hours_of_day(self.now_ms), label)

    def _point(self, grain: Grain, slots_ms: range, label: bytes) -> Point:
        return together([self._slot(grain, start, label) for start in slots_ms])

    def _slot(self, grain: Grain, at_ms: int, label: bytes) -> Point:
        period, slot = grain.of(at_ms)
        span = self.remembered.spans.get(SpanKey.of(grain, period, label))
        cell = None if span is None else span.cell(label, slot)
        is_whole = self.whole_until_ms is None or at_ms + grain.slot_ms <= self.whole_until_ms
        return Point(at(at_ms), cell if is_whole else cell or None, is_whole)


def together(points: Sequence[Point]) -> Point:
    """Several points, the oldest first, as one: as far as they are known, and whole where each of them is."""
    known = [point.cell for point in points if point.cell is not None]
    return Point(points[0].at, added(known) if known else None, all(point.is_whole for point in points))


def places(windows: Mapping[bytes, Window], days: Iterable[bytes], now_ms: int) -> set[SpanKey]:
    """Where to read the series of labels, and what others counted in the last day."""
    found = {
        SpanKey.of(window.grain, period, label)
        for label, window in windows.items()
        for period in window.grain.periods(window.starts_ms(now_ms)[0], now_ms)
    }
    hours = _hours_of_day(now_ms)
    return found | {SpanKey.of(HOURS, period, label) for label in days for period in HOURS.periods(hours[0], now_ms)}


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, timezone.utc)


def rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)


def _hours_of_day(now_ms: int) -> range:
    last = now_ms // HOURS.slot_ms * HOURS.slot_ms
    return range(last - (DAY_SLOTS - 1) * HOURS.slot_ms, last + 1, HOURS.slot_ms)
