"""cron.yaml: every schedule, and the job that asks the worker to hand out what waits."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytz  # type: ignore[import-untyped]  # it ships no types; the SDK brings it along

from gaesignals.appyaml.schedule import Schedule, ScheduleError, parse_schedule
from gaesignals.cli.entries import DRAIN_PATH

from .problem import Problem
from .project import CRON, Project
from .service import DEFAULT_SERVICE, Service

MAX_RETRIES = 5
# The worker calls a fan-out late after this long.
_LATE = datetime.timedelta(minutes=3)


def check_cron(project: Project) -> Iterator[Problem]:
    """What App Engine refuses, and what leaves a worker without its fan-out."""
    for job in project.jobs or ():
        yield from _check_job(job)
    if project.jobs is None and project.has(CRON):
        return
    for service in project.workers:
        yield from _check_drain(service, project.jobs)


def _check_job(job: Any) -> Iterator[Problem]:
    try:
        parse_schedule(job.schedule)
    except ScheduleError as error:
        what = f"job {job.url}: {job.schedule!r:.100} is not a schedule"
        yield Problem(CRON, "schedule", what, str(error).partition(" is not a schedule: ")[2])
    retries = job.retry_parameters
    if retries is not None and (retries.job_retry_limit or 0) > MAX_RETRIES:
        what = f"job {job.url}: a job_retry_limit of {retries.job_retry_limit} is more than App Engine takes"
        yield Problem(CRON, "job-retries", what, f"use {MAX_RETRIES} at most")


def _check_drain(service: Service, jobs: tuple[Any, ...] | None) -> Iterator[Problem]:
    add = f"add {_in_one_line(service.name)}"
    if jobs is None:
        what = f"there is no {CRON} here: nothing would ask the worker to hand out what waits"
        yield Problem(CRON, "cron-missing", what, f"{add}; deploying it replaces every job of the project")
        return
    drains = [job for job in jobs if job.url.partition("?")[0] == DRAIN_PATH]
    if not drains:
        what = f"no job calls {DRAIN_PATH}: nothing would ask the worker to hand out what waits"
        yield Problem(CRON, "cron-drain", what, add)
        return
    ours = [job for job in drains if _target(job) == service.name]
    if not ours:
        what = f"the job {DRAIN_PATH} goes to the service {_target(drains[0])}, and the worker is {service.name}"
        yield Problem(CRON, "cron-target", what, f"set `target: {service.name}`")
    for job in ours:
        yield from _check_often(job)


def _check_often(job: Any) -> Iterator[Problem]:
    try:
        schedule = parse_schedule(job.schedule)
    except ScheduleError:
        return
    if _longest_gap(schedule, pytz.timezone(job.timezone) if job.timezone else pytz.utc) > _LATE:
        what = f"the job {DRAIN_PATH} runs {job.schedule!r}, and signals wait for that long"
        yield Problem(CRON, "cron-rare", what, "set `schedule: every 1 minutes`")


def _longest_gap(schedule: Schedule, zone: pytz.BaseTzInfo) -> datetime.timedelta:
    """The longest time to the next run, looked at from each hour of a day."""
    midnight = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    moments = [midnight + datetime.timedelta(hours=hour) for hour in range(24)]
    return max(schedule.next_after(moment, zone) - moment for moment in moments)


def _target(job: Any) -> str:
    # "service" or "service:version".
    return job.target.partition(":")[0] if job.target else DEFAULT_SERVICE


def _in_one_line(service: str) -> str:
    return f"`- {{url: {DRAIN_PATH}, schedule: every 1 minutes, target: {service}}}`"
