"""The schedule lines of cron.yaml: what they mean, and what is no schedule."""

from __future__ import annotations

import datetime
import itertools

import pytest
import pytz
from hypothesis import given
from hypothesis import strategies as st

from gaesignals.appyaml.schedule import ScheduleError, parse_schedule
from gaesignals.errors import SignalsError

# A Wednesday.
START = datetime.datetime(2025, 1, 1, 12, 0, tzinfo=datetime.timezone.utc)


def times(text: str, count: int = 4, *, start: datetime.datetime = START, zone: str = "UTC") -> list[str]:
    """The first times after `start`, as the clocks of the zone show them."""
    schedule, place = parse_schedule(text), pytz.timezone(zone)
    moments = itertools.accumulate(range(count), lambda at, _: schedule.next_after(at, place), initial=start)
    return [moment.astimezone(place).strftime("%y-%m-%d %H:%M") for moment in itertools.islice(moments, 1, None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every 1 minutes", ["25-01-01 12:01", "25-01-01 12:02"]),
        ("every 90 mins", ["25-01-01 13:30", "25-01-01 15:00"]),
        ("every 36 hours", ["25-01-03 00:00", "25-01-04 12:00"]),
        ("every 6 hours synchronized", ["25-01-01 18:00", "25-01-02 00:00", "25-01-02 06:00"]),
        ("every 24 hours synchronized", ["25-01-02 00:00", "25-01-03 00:00"]),
        ("every 45 minutes synchronized", ["25-01-01 12:45", "25-01-01 13:30"]),
        ("every 2 hours from 10:00 to 14:00", ["25-01-01 14:00", "25-01-02 10:00", "25-01-02 12:00"]),
        ("every 50 minutes from 9:30 to 11:00", ["25-01-02 09:30", "25-01-02 10:20", "25-01-03 09:30"]),
        ("every 3 hours from 20:00 to 04:00", ["25-01-01 20:00", "25-01-01 23:00", "25-01-02 02:00", "25-01-02 20:00"]),
        ("every 5 minutes from 10:00 to 10:00", ["25-01-02 10:00", "25-01-03 10:00"]),
        ("every day 13:00", ["25-01-01 13:00", "25-01-02 13:00"]),
        ("every day 12:00", ["25-01-02 12:00"]),
        ("every monday 09:00", ["25-01-06 09:00", "25-01-13 09:00"]),
        ("Every  Mon , thu 9:00", ["25-01-02 09:00", "25-01-06 09:00"]),
        ("every sunday of march 05:00", ["25-03-02 05:00", "25-03-09 05:00"]),
        ("every day of month 00:00", ["25-01-02 00:00"]),
        ("1st,third monday of sep,oct 17:00", ["25-09-01 17:00", "25-09-15 17:00", "25-10-06 17:00", "25-10-20 17:00"]),
        ("fifth friday of month 23:59", ["25-01-31 23:59", "25-05-30 23:59"]),
        ("second tuesday 10:00", ["25-01-14 10:00", "25-02-11 10:00"]),
        ("1 of month 03:00", ["25-02-01 03:00", "25-03-01 03:00"]),
        ("1,15,31 of feb,march 03:00", ["25-02-01 03:00", "25-02-15 03:00", "25-03-01 03:00", "25-03-15 03:00"]),
        ("29 of february 12:00", ["28-02-29 12:00", "32-02-29 12:00"]),
        # Forty years apart, as 2100 has no such day.
        ("5th monday of february 12:00", ["44-02-29 12:00", "72-02-29 12:00", "12-02-29 12:00"]),
        ("1 of jan,april,july,oct 00:00", ["25-04-01 00:00", "25-07-01 00:00"]),
        ("1st mon of second month of quarter 08:00", ["25-02-03 08:00", "25-05-05 08:00"]),
        ("first sunday of quarter 00:00", ["25-01-05 00:00", "25-04-06 00:00", "25-07-06 00:00", "25-10-05 00:00"]),
        ("1 of quarter 06:00", ["25-04-01 06:00", "25-07-01 06:00"]),
        ("1st day of month 03:00", ["25-02-01 03:00", "25-03-01 03:00"]),
        ("2nd,fourth day of quarter 03:00", ["25-01-02 03:00", "25-01-04 03:00", "25-04-02 03:00"]),
        ("3rd day 03:00", ["25-01-03 03:00", "25-02-03 03:00"]),
        ("every 12hours", ["25-01-02 00:00"]),
        ("every5minsfrom10:00to10:05", ["25-01-02 10:00", "25-01-02 10:05"]),
        ("1st,3rdmondayofjan,march 7:00", ["25-01-06 07:00", "25-01-20 07:00", "25-03-03 07:00"]),
        ("everyday 13:00", ["25-01-01 13:00"]),
        ("every 8 hours from 00:00 to 23:59 on sat,sunday", ["25-01-04 00:00", "25-01-04 08:00", "25-01-04 16:00"]),
        ("every 12 hours synchronized on fri", ["25-01-03 00:00", "25-01-03 12:00", "25-01-10 00:00"]),
        ("every 24 hours on monday", ["25-01-06 12:00", "25-01-13 12:00"]),
        ("10 of 1st,3rd month of quarter 08:00", ["25-01-10 08:00", "25-03-10 08:00", "25-04-10 08:00"]),
    ],
)
def test_a_schedule_says_when_a_job_runs(text: str, expected: list[str]) -> None:
    assert times(text, len(expected)) == expected


def test_times_of_day_are_those_of_the_zone() -> None:
    assert times("every day 09:00", 1, zone="Asia/Tokyo") == ["25-01-02 09:00"]
    schedule = parse_schedule("every day 09:00")
    at_midnight_utc = schedule.next_after(START, pytz.timezone("Asia/Tokyo"))
    assert at_midnight_utc == datetime.datetime(2025, 1, 2, 0, 0, tzinfo=datetime.timezone.utc)


def test_days_are_those_of_the_zone() -> None:
    # 20:00 of the last of January in New York is February in UTC.
    start = datetime.datetime(2025, 2, 1, 1, 0, tzinfo=datetime.timezone.utc)
    assert times("31 of january 21:00", 1, start=start, zone="America/New_York") == ["25-01-31 21:00"]


def test_a_time_that_a_clock_skips_is_made_up_for_and_one_that_comes_twice_is_run_once() -> None:
    spring = datetime.datetime(2025, 3, 29, 12, 0, tzinfo=datetime.timezone.utc)
    assert times("every day 02:30", 2, start=spring, zone="Europe/Berlin") == ["25-03-30 03:30", "25-03-31 02:30"]
    autumn = datetime.datetime(2025, 10, 25, 12, 0, tzinfo=datetime.timezone.utc)
    assert times("every day 02:30", 2, start=autumn, zone="Europe/Berlin") == ["25-10-26 02:30", "25-10-27 02:30"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has to look like"),
        ("every banana", "it has to look like"),
        ("every minute", "it has to look like"),
        ("every 5 minutes at 10:00", "it has to look like"),
        ("every 5 minutes from 10:00", "it has to look like"),
        ("every day 25:00", "it has to look like"),
        ("every day 9:60", "it has to look like"),
        ("*/5 * * * *", "it has to look like"),
        ("every 1234567 minutes", "it has to look like"),
        ("every 0 minutes", "the shortest interval is 1 minutes"),
        ("every 7 hours synchronized", "divide the 24 hours"),
        ("every 24 hours from 10:00 to 11:00", "shorter than the day"),
        ("every banana 09:00", "'banana' is not a day of the week"),
        ("6th monday of month 09:00", "'6th' is not which of the month's days"),
        ("every monday of smarch 09:00", "'smarch' is not a month"),
        ("every 5 minutes on 5th", "'5th' is not a day of the week"),
        ("1st day of day 09:00", "'day' is not a month"),
        ("32 of month 09:00", "the days of a month are 1 to 31"),
        ("30,31 of feb 09:00", "no such day in any year"),
        ("1st mon of fourth month of quarter 09:00", "a quarter has three months"),
    ],
)
def test_what_is_no_schedule_says_why_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        parse_schedule(text)
    assert reason in str(raised.value)
    assert str(raised.value).startswith(repr(text))
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, SignalsError)
    assert isinstance(raised.value, ValueError)


@given(st.text())
def test_any_other_text_is_a_schedule_error(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse_schedule(f"{text}!")


@given(
    st.sampled_from(
        [
            "every 7 minutes",
            "every 30 minutes from 22:00 to 03:00",
            "every 1 hours synchronized",
            "every mon,fri 02:30",
            "31 of month 00:00",
        ]
    ),
    st.datetimes(min_value=datetime.datetime(2000, 1, 1), max_value=datetime.datetime(2050, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]),
)
def test_the_next_time_is_always_later(text: str, moment: datetime.datetime, zone: str) -> None:
    start = moment.replace(tzinfo=datetime.timezone.utc)
    assert parse_schedule(text).next_after(start, pytz.timezone(zone)) > start
