"""Reads `cron.yaml` with the SDK's own parser, and checks what that leaves open: the schedules."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

import pytz  # type: ignore[import-untyped]  # it ships no types; the SDK brings it along

from gaesignals.appyaml.schedule import Schedule, ScheduleError, parse_schedule
from gaesignals.appyaml.sdk import parse_cron

from ..errors import ConfigError
from ..processes.outgoing import DEFAULT_SERVICE
from ..tasks.retry_policy import RetryPolicy

DEFAULT_DEADLINE_SECONDS = 600.0
# Cron's own defaults; unlike a task, a job that failed is not tried again unless its file says so.
NO_RETRIES = RetryPolicy(max_retries=0)


@dataclass(frozen=True, slots=True)
class CronJob:
    """One job: `url` is a path of the service `service`, called when `schedule` says so in `zone`."""

    url: str
    schedule: Schedule
    schedule_text: str = field(default="", compare=False)
    description: str = ""
    service: str = DEFAULT_SERVICE
    zone: pytz.BaseTzInfo = pytz.utc
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    retry_policy: RetryPolicy = field(default=NO_RETRIES)

    def next_after(self, moment: datetime.datetime) -> datetime.datetime:
        """Return the first time after `moment` (aware), when the job ended last."""
        return self.schedule.next_after(moment, self.zone)


def load_cron(text: str) -> list[CronJob]:
    """Read the text of a `cron.yaml`; ConfigError in one line that names the job if App Engine would not take it."""
    return [_job(entry) for entry in parse_cron(text)]


def _job(entry: Any) -> CronJob:
    where = f"cron.yaml: job {entry.url}"
    if entry.description:
        where = f"{where} ({entry.description})"
    try:
        schedule = parse_schedule(entry.schedule)
    except ScheduleError as error:
        raise ConfigError(f"{where}: {error}") from error
    deadline = entry.attempt_deadline.total_seconds() if entry.attempt_deadline else DEFAULT_DEADLINE_SECONDS
    return CronJob(
        url=entry.url,
        schedule=schedule,
        schedule_text=entry.schedule,
        description=entry.description or "",
        # "service" or "service:version": versions are not told apart on a laptop.
        service=entry.target.partition(":")[0] if entry.target else DEFAULT_SERVICE,
        zone=pytz.timezone(entry.timezone) if entry.timezone else pytz.utc,
        deadline_seconds=deadline,
        retry_policy=_retry_policy(entry.retry_parameters, where),
    )


def _retry_policy(parameters: Any, where: str) -> RetryPolicy:
    if parameters is None:
        return NO_RETRIES
    if parameters.job_retry_limit is not None and parameters.job_retry_limit > 5:
        raise ConfigError(f"{where}: job_retry_limit is at most 5")
    given = {
        "max_retries": parameters.job_retry_limit,
        "max_age_seconds": _seconds(parameters.job_age_limit),
        "min_backoff_seconds": parameters.min_backoff_seconds,
        "max_backoff_seconds": parameters.max_backoff_seconds,
        "max_doublings": parameters.max_doublings,
    }
    return RetryPolicy(**{name: value for name, value in given.items() if value is not None})


def _seconds(duration: str | None) -> float | None:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return None if duration is None else float(duration[:-1]) * units[duration[-1]]
