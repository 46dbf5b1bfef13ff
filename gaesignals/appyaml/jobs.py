"""The jobs of cron.yaml: what each calls and when, and what App Engine would not take.

The SDK's parser does not look at the schedules; `schedule` does.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytz  # type: ignore[import-untyped]  # it ships no types; the SDK brings it along

from .errors import ConfigError
from .problem import Problem
from .retry_policy import RetryPolicy
from .schedule import Schedule, ScheduleError, parse_schedule
from .sdk import parse_cron
from .service import DEFAULT_SERVICE

CRON = "cron.yaml"
MAX_RETRIES = 5
# Unlike a task, a job that failed is not tried again unless its file has retry_parameters.
NO_RETRIES = RetryPolicy(max_retries=0)
# What those leave out: the limit is App Engine's, the times are Cloud Scheduler's, which runs the jobs.
_DEFAULT_RETRIES = RetryPolicy(max_retries=MAX_RETRIES, min_backoff_seconds=5.0, max_doublings=5)


@dataclass(frozen=True, slots=True)
class CronJob:
    """One job: `url` is a path of the service `service`, called when `schedule` says so in `zone`."""

    url: str
    schedule: Schedule
    schedule_text: str = field(default="", compare=False)
    description: str = ""
    service: str = DEFAULT_SERVICE
    zone: pytz.BaseTzInfo = pytz.utc
    deadline_seconds: float = 600.0
    retry_policy: RetryPolicy = field(default=NO_RETRIES)

    def next_after(self, moment: datetime.datetime) -> datetime.datetime:
        """Return the first time after `moment` (aware), when the job ended last."""
        return self.schedule.next_after(moment, self.zone)


@dataclass(frozen=True, slots=True)
class Jobs:
    """What a cron.yaml has: the jobs that App Engine would take, and what is wrong with the others.

    `targets` has the path and the service of all of them.
    """

    usable: tuple[CronJob, ...]
    problems: tuple[Problem, ...] = ()
    targets: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str, *, file: str = CRON) -> Jobs:
        """Read the text of a cron.yaml; ConfigError if it cannot be read at all."""
        usable: list[CronJob] = []
        problems: list[Problem] = []
        entries = parse_cron(text, file=file)
        for entry in entries:
            found = list(_problems(entry, file))
            problems += found
            if not found:
                usable.append(_job(entry))
        targets = tuple((entry.url.partition("?")[0], _service(entry)) for entry in entries)
        return cls(tuple(usable), tuple(problems), targets)


def load_cron(text: str) -> list[CronJob]:
    """Read the text of a cron.yaml; ConfigError in one line if App Engine would not take all of it."""
    jobs = Jobs.parse(text)
    if jobs.problems:
        raise ConfigError(str(jobs.problems[0]))
    return list(jobs.usable)


def _problems(entry: Any, file: str) -> Iterator[Problem]:
    where = f"job {entry.url}" + (f" ({entry.description})" if entry.description else "")
    try:
        parse_schedule(entry.schedule)
    except ScheduleError as error:
        yield Problem(file, "schedule", f"{where}: {error.schedule!r:.100} is not a schedule", error.reason)
    limit = entry.retry_parameters.job_retry_limit if entry.retry_parameters else None
    if limit is not None and limit > MAX_RETRIES:
        what = f"{where}: a job_retry_limit of {limit} is more than App Engine takes"
        yield Problem(file, "job-retries", what, f"use {MAX_RETRIES} at most")


def _job(entry: Any) -> CronJob:
    deadline = entry.attempt_deadline
    return CronJob(
        url=entry.url,
        schedule=parse_schedule(entry.schedule),
        schedule_text=entry.schedule,
        description=entry.description or "",
        service=_service(entry),
        zone=pytz.timezone(entry.timezone) if entry.timezone else pytz.utc,
        retry_policy=_retry_policy(entry.retry_parameters),
        **({"deadline_seconds": deadline.total_seconds()} if deadline else {}),
    )


def _service(entry: Any) -> str:
    # "service" or "service:version": versions are not told apart here.
    return entry.target.partition(":")[0] if entry.target else DEFAULT_SERVICE


def _retry_policy(parameters: Any) -> RetryPolicy:
    if parameters is None:
        return NO_RETRIES
    given = {
        "max_retries": parameters.job_retry_limit,
        "max_age_seconds": _seconds(parameters.job_age_limit),
        "min_backoff_seconds": parameters.min_backoff_seconds,
        "max_backoff_seconds": parameters.max_backoff_seconds,
        "max_doublings": parameters.max_doublings,
    }
    return replace(_DEFAULT_RETRIES, **{name: value for name, value in given.items() if value is not None})


def _seconds(duration: str | None) -> float | None:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return None if duration is None else float(duration[:-1]) * units[duration[-1]]
