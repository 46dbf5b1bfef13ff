"""Schedules of App Engine's cron: when a job runs next.

The SDK does not ship the grammar of the `schedule:` line, so `parse_schedule` is written after its documentation. Not
known here: anything undocumented. Times of day are those of the job's time zone; where a clock is put forward over one,
the job runs at what that time would have been, where it is put back, once.
"""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pytz  # type: ignore[import-untyped]  # it ships no types; the SDK brings it along

MINUTES_A_DAY = 24 * 60
# The 29th of February comes back after eight years at the latest, and on a given weekday after forty.
_DAYS_TO_SEARCH = 366 * 40 + 2


class Schedule(Protocol):
    """When a job runs."""

    def next_after(self, moment: datetime.datetime, zone: pytz.BaseTzInfo) -> datetime.datetime:
        """Return the first time after `moment`, which is aware; in UTC.

        `moment` is when the job ended last: a plain interval is counted from there. `zone` is the job's.
        """


@dataclass(frozen=True, slots=True)
class Every:
    """`every 5 minutes`: that long after the job ended last."""

    minutes: int

    def next_after(self, moment: datetime.datetime, zone: pytz.BaseTzInfo) -> datetime.datetime:
        return moment.astimezone(datetime.timezone.utc) + datetime.timedelta(minutes=self.minutes)


@dataclass(frozen=True, slots=True)
class EveryWithin:
    """`every 5 minutes from 10:00 to 14:00`: at fixed times of the day, in minutes; the range may go over midnight.

    `synchronized` is the range of the whole day.
    """

    minutes: int
    start: int
    end: int

    def next_after(self, moment: datetime.datetime, zone: pytz.BaseTzInfo) -> datetime.datetime:
        length = (self.end - self.start) % MINUTES_A_DAY
        times = range(self.start, self.start + length + 1, self.minutes)
        # A range that began yesterday may still last.
        days = _days_from(moment.astimezone(zone).date() - datetime.timedelta(days=1), count=4)
        return _first_after(moment, (_instant(day, minute, zone) for day in days for minute in times))


@dataclass(frozen=True, slots=True)
class OnDays:
    """`1st,third monday of sep,oct 17:00`, `1,15 of month 03:00`: once on each of the days that match.

    Weekdays count from Monday as 0; `ordinals` say which of a month's. Where `month_days` is given, they decide.
    """

    minute: int
    months: frozenset[int]
    ordinals: frozenset[int] = frozenset(range(1, 6))
    weekdays: frozenset[int] = frozenset(range(7))
    month_days: frozenset[int] | None = None

    def next_after(self, moment: datetime.datetime, zone: pytz.BaseTzInfo) -> datetime.datetime:
        days = _days_from(moment.astimezone(zone).date(), count=_DAYS_TO_SEARCH)
        return _first_after(moment, (_instant(day, self.minute, zone) for day in days if self._has(day)))

    def is_possible(self) -> bool:
        """Whether there is such a day in any year."""
        if self.month_days is None:
            return True
        return any(day <= calendar.monthrange(2024, month)[1] for month in self.months for day in self.month_days)

    def _has(self, day: datetime.date) -> bool:
        if day.month not in self.months:
            return False
        if self.month_days is not None:
            return day.day in self.month_days
        return day.weekday() in self.weekdays and (day.day + 6) // 7 in self.ordinals


def _days_from(day: datetime.date, *, count: int) -> Iterator[datetime.date]:
    return (day + datetime.timedelta(days=offset) for offset in range(count))


def _instant(day: datetime.date, minute: int, zone: pytz.BaseTzInfo) -> datetime.datetime:
    # The minute may lie on the next day; the wall clock decides, not the time that has passed since midnight.
    local = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(minutes=minute)
    aware: datetime.datetime = zone.localize(local)
    return aware.astimezone(datetime.timezone.utc)


def _first_after(moment: datetime.datetime, instants: Iterator[datetime.datetime]) -> datetime.datetime:
    return next(instant for instant in instants if instant > moment)
