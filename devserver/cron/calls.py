"""Calls the jobs of `cron.yaml` when they are due, as App Engine's cron does.

Each job has a thread, so none is ever run twice at once; a job that is still running when it is due again runs when it
has ended.
"""

from __future__ import annotations

import datetime
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from gaesignals.appyaml.jobs import CronJob, load_cron

from ..processes.console import print_line
from ..processes.outgoing import APP_ENGINE_AGENT, Answer, OutgoingRequest, Resolve, send
from ..processes.service_option import service
from ..processes.serving import command_line, serve

logger = logging.getLogger(__name__)

HEADERS = {"X-Appengine-Cron": "true", "User-Agent": APP_ENGINE_AGENT}


@dataclass(frozen=True, slots=True)
class CronRun:
    """One run of a job that ended, and in how many seconds it is tried again, if it failed and is."""

    job: CronJob
    answer: Answer
    took_seconds: float
    again_in_seconds: float | None = None


class Cron:
    """Runs `jobs` until `close`, telling `report` of each run; it is a context manager.

    `resolve` gives the base URL of a service by its name. `every_seconds` is for the impatient: all jobs run that
    often, whatever their schedules say. A `clock` (seconds since the epoch) set by hand needs a `wake()` after each
    change.
    """

    def __init__(
        self,
        jobs: Sequence[CronJob],
        resolve: Resolve,
        *,
        clock: Callable[[], float] = time.time,
        report: Callable[[CronRun], None] = lambda run: None,
        every_seconds: float | None = None,
    ) -> None:
        self._resolve = resolve
        self._clock = clock
        self._report = report
        self._every_seconds = every_seconds
        self._changed = threading.Condition()
        self._is_closed = False
        self.job_count = len(jobs)
        now = clock()
        for job in jobs:
            threading.Thread(target=self._keep, args=(job, now), name=f"cron {job.url}", daemon=True).start()

    def wake(self) -> None:
        """Look again at what is due."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Start no more runs; what runs is not waited for."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __enter__(self) -> Cron:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, job: CronJob, started_at: float) -> None:
        ended_at = started_at
        while self._wait_until(self._next_after(job, ended_at)):
            self._run_with_retries(job)
            ended_at = self._clock()

    def _next_after(self, job: CronJob, ended_at: float) -> float:
        if self._every_seconds is not None:
            return ended_at + self._every_seconds
        moment = datetime.datetime.fromtimestamp(ended_at, datetime.timezone.utc)
        return job.next_after(moment).timestamp()

    def _wait_until(self, due_at: float) -> bool:
        with self._changed:
            while not self._is_closed and (left := due_at - self._clock()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            return not self._is_closed

    def _run_with_retries(self, job: CronJob) -> None:
        first_at, attempts = self._clock(), 0
        while True:
            answer, took_seconds = self._attempt(job)
            attempts += 1
            age_seconds = self._clock() - first_at
            if answer.is_success or job.retry_policy.gives_up(attempts=attempts, age_seconds=age_seconds):
                self._report(CronRun(job, answer, took_seconds))
                return
            again_in_seconds = job.retry_policy.backoff_seconds(attempts=attempts)
            self._report(CronRun(job, answer, took_seconds, again_in_seconds))
            if not self._wait_until(self._clock() + again_in_seconds):
                return

    def _attempt(self, job: CronJob) -> tuple[Answer, float]:
        base_url = self._resolve(job.service)
        url = None if base_url is None else base_url.rstrip("/") + job.url
        request = OutgoingRequest("GET", url, job.service + job.url, HEADERS, deadline_seconds=job.deadline_seconds)
        started_at = self._clock()
        return send(request), self._clock() - started_at


def run_line(run: CronRun) -> str:
    """Write one run for a person to read."""
    line = f"{run.job.service}{run.job.url} {run.answer} in {run.took_seconds * 1000:.0f} ms"
    return line if run.again_in_seconds is None else f"{line}; again in {run.again_in_seconds:.1f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the jobs until SIGTERM or Ctrl-C."""
    parser = command_line(f"{__package__}.calls", __doc__)
    parser.add_argument("--file", type=Path, default=Path("cron.yaml"), help="the cron.yaml to read")
    parser.add_argument("--service", type=service, action="append", default=[], metavar="NAME=URL", dest="services")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="run all jobs this often instead")
    options = parser.parse_args(arguments)
    return serve(
        lambda: _cron(options.file, dict(options.services), options.every),
        lambda cron: f"cron with {cron.job_count} job{'' if cron.job_count == 1 else 's'}",
        supervised=options.supervised,
    )


def _cron(file: Path, services: Mapping[str, str], every_seconds: float | None) -> Cron:
    return Cron(
        load_cron(file.read_text("utf-8")),
        services.get,
        report=lambda run: print_line(run_line(run)),
        every_seconds=every_seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
