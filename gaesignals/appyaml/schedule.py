"""Schedules of App Engine's cron: when a job runs next.

The SDK does not ship the grammar of the `schedule:` line, so `parse_schedule` is written after Google's. Times of day
are those of the job's time zone; where a clock is put forward over one, the job runs at what that time would have been,
where it is put back, once.
"""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import pytz  # type: ignore[import-untyped]  # it ships no types; the SDK brings it along

from .errors import ConfigError

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
class Only:
    """`every 5 minutes on mon,tue`: of the times of a schedule, those on these days of the week."""

    schedule: Every | EveryWithin
    weekdays: frozenset[int]

    def next_after(self, moment: datetime.datetime, zone: pytz.BaseTzInfo) -> datetime.datetime:
        # A week has 10,080 minutes, and a plain interval may need seven weeks to meet a day.
        for _ in range(8 * 7 * MINUTES_A_DAY):
            moment = self.schedule.next_after(moment, zone)
            if moment.astimezone(zone).weekday() in self.weekdays:
                break
        return moment


@dataclass(frozen=True, slots=True)
class OnDays:
    """`1st,third monday of sep,oct 17:00`, `1,15 of month 03:00`: once on each of the days that match.

    Weekdays count from Monday as 0; `ordinals` say which of a month's. Where `month_days` is given, they decide, as in
    "1st day of month".
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


ACCEPTED = (
    '"every 5 minutes", "every 2 hours synchronized", "every 10 minutes from 09:00 to 17:30", "every day 03:00", '
    '"every mon,thu 09:00", "1st,third monday of sep,oct 17:00", "1,15 of month 03:00", "first sunday of quarter 00:00"'
)

_TIME = r"(?:[01]?\d|2[0-3]):[0-5]\d"
_LIST = r"[a-z0-9]+(?:,[a-z0-9]+)*"
_INTERVAL = re.compile(
    rf"every (?P<count>\d{{1,5}}) (?P<unit>minutes|mins|hours)"
    rf"(?: (?:from (?P<start>{_TIME}) to (?P<end>{_TIME})|(?P<synchronized>synchronized)))?"
    rf"(?: on (?P<weekdays>{_LIST}))?"
)
_QUARTER = rf"(?P<quarter_months>{_LIST}) month of quarter"
_MONTHS = rf" of (?:{_QUARTER}|(?P<months>{_LIST}))"
_WEEKDAYS = re.compile(rf"(?P<ordinals>{_LIST}) (?P<weekdays>[a-z]+(?:,[a-z]+)*)(?:{_MONTHS})? (?P<time>{_TIME})")
_MONTH_DAYS = re.compile(rf"(?P<days>\d{{1,2}}(?:,\d{{1,2}})*){_MONTHS} (?P<time>{_TIME})")

_ALL_MONTHS = frozenset(range(1, 13))
# Not from `calendar`: its names are those of the process's language.
_MONTH_NAMES = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_WEEKDAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ORDINAL_NAMES = ("1st first", "2nd second", "3rd third", "4th fourth", "5th fifth")

_MONTH_NUMBERS: Mapping[str, int] = {
    word: number for number, name in enumerate(_MONTH_NAMES, 1) for word in (name, name[:3])
}
_WEEKDAY_NUMBERS: Mapping[str, int] = {
    word: number for number, name in enumerate(_WEEKDAY_NAMES) for word in (name, name[:3])
}
_ORDINAL_NUMBERS: Mapping[str, int] = {
    word: number for number, words in enumerate(_ORDINAL_NAMES, 1) for word in words.split()
}
_MARKS = "every day month quarter of on from to hours minutes mins synchronized"
_KNOWN = {*_MONTH_NUMBERS, *_WEEKDAY_NUMBERS, *_ORDINAL_NUMBERS, *_MARKS.split()}
_KNOWN_WORD = "|".join(sorted((word for word in _KNOWN if word.isalpha()), key=len, reverse=True))
_TOKEN = re.compile(rf"{_TIME}(?!\d)|\d(?:st|nd|rd|th)|\d+|[a-z]+|\S")


class ScheduleError(ConfigError):
    """A schedule that App Engine would not take: `schedule` is the text, `reason` says what is accepted."""

    def __init__(self, schedule: object, reason: str) -> None:
        super().__init__(f"{schedule!r:.100} is not a schedule: {reason}")
        self.schedule = schedule
        self.reason = reason


def parse_schedule(text: str) -> Schedule:
    """Read a schedule; ScheduleError, in one line, if App Engine would not take it."""
    words = re.sub(r" ?, ?", ",", " ".join(_tokens(text.lower())))
    try:
        for pattern, read in ((_INTERVAL, _interval), (_MONTH_DAYS, _month_days), (_WEEKDAYS, _weekdays)):
            if match := pattern.fullmatch(words):
                return read(match)
    except _ReasonError as error:
        raise ScheduleError(text, str(error)) from None
    raise ScheduleError(text, f"it has to look like {ACCEPTED}")


def _tokens(text: str) -> Iterator[str]:
    """The words of a schedule, which need no space between them: "every 12hours" has three."""
    for token in _TOKEN.findall(text):
        are_several = token not in _KNOWN and re.fullmatch(f"(?:{_KNOWN_WORD})+", token)
        yield from re.findall(_KNOWN_WORD, token) if are_several else [token]


class _ReasonError(Exception):
    """Why a text that looks like a schedule is none."""


def _interval(match: re.Match[str]) -> Schedule:
    every = _every(match)
    return Only(every, _weekday_numbers(match["weekdays"])) if match["weekdays"] else every


def _every(match: re.Match[str]) -> Every | EveryWithin:
    minutes = int(match["count"]) * (60 if match["unit"] == "hours" else 1)
    if minutes < 1:
        raise _ReasonError("the shortest interval is 1 minutes")
    if match["synchronized"]:
        if MINUTES_A_DAY % minutes:
            raise _ReasonError("a synchronized interval has to divide the 24 hours of a day evenly")
        return EveryWithin(minutes, start=0, end=MINUTES_A_DAY - 1)
    if match["start"] is None:
        return Every(minutes)
    if minutes >= MINUTES_A_DAY:
        raise _ReasonError("an interval within a day has to be shorter than the day")
    return EveryWithin(minutes, start=_minute_of_day(match["start"]), end=_minute_of_day(match["end"]))


def _month_days(match: re.Match[str]) -> Schedule:
    days = frozenset(int(day) for day in match["days"].split(","))
    if not days <= frozenset(range(1, 32)):
        raise _ReasonError("the days of a month are 1 to 31")
    return _on_month_days(match, days)


def _on_month_days(match: re.Match[str], days: frozenset[int]) -> Schedule:
    schedule = OnDays(_minute_of_day(match["time"]), months=_months(match), month_days=days)
    if not schedule.is_possible():
        raise _ReasonError("there is no such day in any year")
    return schedule


def _weekdays(match: re.Match[str]) -> Schedule:
    ordinals = frozenset(range(1, 6))
    if match["ordinals"] != "every":
        ordinals = _numbers(
            match["ordinals"], _ORDINAL_NUMBERS, "which of the month's days: every, 1st or first to 5th"
        )
        if match["weekdays"] == "day":
            return _on_month_days(match, ordinals)
    weekdays = _weekday_numbers(match["weekdays"])
    return OnDays(_minute_of_day(match["time"]), months=_months(match), ordinals=ordinals, weekdays=weekdays)


def _weekday_numbers(words: str) -> frozenset[int]:
    if words == "day":
        return frozenset(range(7))
    return _numbers(words, _WEEKDAY_NUMBERS, "a day of the week: day, mon or monday to sunday")


def _months(match: re.Match[str]) -> frozenset[int]:
    if match["quarter_months"]:
        first = _numbers(match["quarter_months"], _ORDINAL_NUMBERS, "a month of the quarter: 1st or first to 3rd")
        if max(first) > 3:
            raise _ReasonError("a quarter has three months")
        return frozenset(month + offset for month in first for offset in (0, 3, 6, 9))
    if match["months"] in (None, "month"):
        return _ALL_MONTHS
    if match["months"] == "quarter":
        return frozenset({1, 4, 7, 10})
    return _numbers(match["months"], _MONTH_NUMBERS, "a month: month, quarter, jan or january to december")


def _numbers(words: str, known: Mapping[str, int], meaning: str) -> frozenset[int]:
    for word in words.split(","):
        if word not in known:
            raise _ReasonError(f"{word!r} is not {meaning}")
    return frozenset(known[word] for word in words.split(","))


def _minute_of_day(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)
