"""cron.yaml: the job that asks the worker to hand out what waits, and those that have it send."""

from __future__ import annotations

import datetime
import urllib.parse
from collections.abc import Iterator

from gaesignals.appyaml.jobs import CRON, CronJob, Jobs
from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.service import Service
from gaesignals.cli.entries import DRAIN_PATH, SEND_PATH

# How often cron comes to a worker that does not say, and how far apart two runs may be then.
_CRON_SECONDS = "SIGNALS_CRON_SECONDS"
_LATE = datetime.timedelta(minutes=3)


def check_cron(project: Project) -> Iterator[Problem]:
    """What leaves a worker without its fan-out, and what would be sent by nobody."""
    if project.jobs is None and CRON in project.files:
        return
    for service in project.workers:
        yield from _check_drain(service, project.jobs, project.name_of(CRON))
    yield from _check_sends(project)


def cron_names(project: Project, service: Service) -> list[str]:
    """The names of the signals that jobs have `service` send, each once."""
    targets = project.jobs.targets if project.jobs else ()
    paths = [path for path, target in targets if target == service.name and path.startswith(SEND_PATH)]
    return list(dict.fromkeys(urllib.parse.unquote(path.removeprefix(SEND_PATH)) for path in paths))


def _check_drain(service: Service, jobs: Jobs | None, file: str) -> Iterator[Problem]:
    add = f"add {_in_one_line(service.name)}"
    if jobs is None:
        what = f"there is no {CRON} here: nothing would ask the worker to hand out what waits"
        yield Problem(file, "cron-missing", what, f"{add}; deploying it replaces every job of the project")
        return
    targets = [target for path, target in jobs.targets if path == DRAIN_PATH]
    if not targets:
        what = f"no job calls {DRAIN_PATH}: nothing would ask the worker to hand out what waits"
        yield Problem(file, "cron-drain", what, add)
    elif service.name not in targets:
        what = f"the job {DRAIN_PATH} goes to the service {targets[0]}, and the worker is {service.name}"
        yield Problem(file, "cron-target", what, f"set `target: {service.name}`")
    for job in jobs.usable:
        if job.url.partition("?")[0] == DRAIN_PATH and job.service == service.name:
            yield from _check_rare(service, job, file)


def _check_rare(service: Service, job: CronJob, file: str) -> Iterator[Problem]:
    """Two runs may be further apart than usual where the worker is told how far: every signal wakes it there."""
    gap = _longest_gap(job)
    told = service.environ.get(_CRON_SECONDS, "")
    if gap <= max(_LATE, datetime.timedelta(seconds=_number(told))):
        return
    seconds = f'{_CRON_SECONDS}: "{gap.total_seconds():.0f}"'
    what = f"the job {DRAIN_PATH} runs {job.schedule_text!r}, and signals that wake nobody wait for that long"
    remedy = f"set `schedule: every 1 minutes`; or, where every signal wakes the worker, `{seconds}` in {service.file}"
    if told:
        what, remedy = f"{what}; {service.file} says {_CRON_SECONDS}={told}", f"set `{seconds}`, or a schedule to match"
    yield Problem(file, "cron-rare", what, remedy)


def _number(text: str) -> float:
    """The seconds that a setting says; of one that cannot be read, another check tells."""
    try:
        seconds = float(text or 0)
    except ValueError:
        return 0.0
    return seconds if 0 <= seconds <= 86_400 else 0.0


def _check_sends(project: Project) -> Iterator[Problem]:
    """A job without a target goes to the default service, which answers 404 for it."""
    workers = [service.name for service in project.workers]
    for path, target in project.jobs.targets if project.jobs and workers else ():
        if path.startswith(SEND_PATH) and target not in workers:
            what = f"the job {path} goes to the service {target}, and the worker is {workers[0]}: nothing is sent"
            yield Problem(project.name_of(CRON), "cron-target", what, f"set `target: {workers[0]}`")


def _longest_gap(job: CronJob) -> datetime.timedelta:
    """The longest time to the next run, looked at from each hour of a day."""
    midnight = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    moments = [midnight + datetime.timedelta(hours=hour) for hour in range(24)]
    return max(job.next_after(moment) - moment for moment in moments)


def _in_one_line(service: str) -> str:
    return f"`- {{url: {DRAIN_PATH}, schedule: every 1 minutes, target: {service}}}`"
