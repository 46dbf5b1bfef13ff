"""Cron: which jobs cron.yaml has, and that they are called when they are due."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytz

from devserver.cron.calls import Cron, CronRun, run_line
from devserver.processes.outgoing import Answer
from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.jobs import CronJob, load_cron
from gaesignals.appyaml.retry_policy import RetryPolicy
from gaesignals.appyaml.schedule import parse_schedule

from ..conftest import Clock, Service, wait_until

ROOT = Path(__file__).parents[3]

CRON_YAML = """
cron:
- description: "nightly"
  url: /nightly
  schedule: every day 03:00
  timezone: Europe/Berlin
  target: worker
  attempt_deadline: 30s
  retry_parameters:
    job_retry_limit: 2
    job_age_limit: 2h
    min_backoff_seconds: 5
    max_doublings: 1
- url: /often
  schedule: every 1 minutes
"""

EVERY_MINUTE = CronJob("/often", parse_schedule("every 1 minutes"))


class TestFile:
    def test_has_jobs_with_all_that_a_job_may_have(self) -> None:
        nightly, often = load_cron(CRON_YAML)
        assert nightly == CronJob(
            url="/nightly",
            schedule=parse_schedule("every day 03:00"),
            description="nightly",
            service="worker",
            zone=pytz.timezone("Europe/Berlin"),
            deadline_seconds=30,
            retry_policy=RetryPolicy(max_retries=2, max_age_seconds=7200, min_backoff_seconds=5, max_doublings=1),
        )
        assert often == EVERY_MINUTE
        assert (often.service, often.retry_policy.max_retries) == ("default", 0)

    def test_retries_as_app_engine_does_what_its_parameters_leave_out(self) -> None:
        (job,) = load_cron("cron:\n- url: /a\n  schedule: every 1 hours\n  retry_parameters:\n    max_doublings: 3\n")
        policy = job.retry_policy
        assert [policy.gives_up(attempts=attempts, age_seconds=0) for attempts in (5, 6)] == [False, True]
        assert [policy.backoff_seconds(attempts=attempts) for attempts in (1, 2, 5)] == [5, 10, 80]

    def test_may_have_no_jobs(self) -> None:
        assert load_cron("cron:\n") == []

    def test_of_this_project_is_one(self) -> None:
        assert [job.url for job in load_cron((ROOT / "cron.yaml").read_text("utf-8"))] == ["/cron/drain"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "cron.yaml: Empty cron configuration"),
            ("cron: [", "cron.yaml: line 1: "),
            ("- url: /a\n  schedule: every 1 minutes\n", "cron.yaml: it has to be a mapping that begins with `cron:`"),
            ("cron", "cron.yaml: it has to be a mapping"),
            ("cron:\n  url: /a\n  schedule: every 1 minutes\n", "cron.yaml: `cron:` has to be a list"),
            ("cron:\n- url: /a\n", "Missing required value [schedule]"),
            ("cron:\n- url: a\n  schedule: every 1 minutes\n", "line 2: "),
            ("cron:\n- url: /a\n  schedule: every 1 minutes\n  timezone: Mars\n", "timezone 'Mars' is unknown"),
            ("cron:\n- url: /a\n  description: mine\n  schedule: daily\n", "job /a (mine): 'daily' is not a schedule"),
            (
                "cron:\n- url: /a\n  schedule: every 1 minutes\n  retry_parameters:\n    job_retry_limit: 6\n",
                "job /a: a job_retry_limit of 6 is more than App Engine takes; use 5 at most",
            ),
        ],
    )
    def test_that_app_engine_would_refuse_is_refused_in_one_line(self, text: str, message: str) -> None:
        with pytest.raises(ConfigError) as raised:
            load_cron(text)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


class Running:
    """A cron over one service, under a clock set by hand."""

    def __init__(self, service: Service, clock: Clock, jobs: list[CronJob], every_seconds: float | None) -> None:
        self.service, self.clock, self.runs = service, clock, list[CronRun]()
        services = {"default": service.url}
        self.cron = Cron(jobs, services.get, clock=clock, report=self.runs.append, every_seconds=every_seconds)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.cron.wake()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.service.requests]


@pytest.fixture
def run(service: Service, clock: Clock) -> Iterator[Callable[..., Running]]:
    crons: list[Running] = []

    def run(*jobs: CronJob, every_seconds: float | None = None) -> Running:
        crons.append(Running(service, clock, list(jobs), every_seconds))
        return crons[-1]

    yield run
    for running in crons:
        running.cron.close()


class TestCron:
    def test_calls_a_job_with_app_engines_header_when_it_is_due(self, run: Callable[..., Running]) -> None:
        cron = run(EVERY_MINUTE)
        cron.pass_time(59)
        assert cron.paths == []
        cron.pass_time(1)
        wait_until(lambda: cron.runs)
        (request,) = cron.service.requests
        assert (request.method, request.path, request.headers["x-appengine-cron"]) == ("GET", "/often", "true")
        assert cron.runs[0].answer == Answer(200)

    def test_counts_an_interval_from_the_end_of_the_run(self, run: Callable[..., Running]) -> None:
        cron = run(EVERY_MINUTE)
        cron.service.gate.clear()
        cron.pass_time(60)
        wait_until(lambda: cron.paths)
        cron.pass_time(600)
        cron.service.gate.set()
        wait_until(lambda: cron.runs)
        assert len(cron.paths) == 1, "a job is never run twice at once"
        cron.pass_time(60)
        wait_until(lambda: len(cron.runs) == 2)

    def test_a_job_that_hangs_holds_up_no_other(self, run: Callable[..., Running]) -> None:
        cron = run(EVERY_MINUTE, CronJob("/other", parse_schedule("every 2 minutes")))
        cron.service.gate.clear()
        cron.pass_time(120)
        wait_until(lambda: sorted(cron.paths) == ["/often", "/other"])

    def test_a_failed_run_is_not_repeated_by_default(self, run: Callable[..., Running]) -> None:
        cron = run(EVERY_MINUTE)
        cron.service.statuses += [500]
        cron.pass_time(60)
        wait_until(lambda: cron.runs)
        assert (cron.runs[0].answer, cron.runs[0].again_in_seconds) == (Answer(500), None)

    def test_a_failed_run_is_repeated_where_the_file_says_so(self, run: Callable[..., Running]) -> None:
        policy = RetryPolicy(max_retries=1, min_backoff_seconds=5)
        cron = run(CronJob("/often", parse_schedule("every 1 hours"), retry_policy=policy))
        cron.service.statuses += [500, 500]
        cron.pass_time(3600)
        wait_until(lambda: len(cron.runs) == 1)
        cron.pass_time(5)
        wait_until(lambda: len(cron.runs) == 2)
        assert [each.again_in_seconds for each in cron.runs] == [5, None]

    def test_ticks_may_be_made_faster(self, run: Callable[..., Running]) -> None:
        cron = run(CronJob("/rare", parse_schedule("every day 03:00")), every_seconds=2)
        cron.pass_time(2)
        wait_until(lambda: cron.runs)

    def test_a_service_that_does_not_run_here_is_said_so(self, run: Callable[..., Running]) -> None:
        cron = run(CronJob("/a", parse_schedule("every 1 minutes"), service="elsewhere"))
        cron.pass_time(60)
        wait_until(lambda: cron.runs)
        assert run_line(cron.runs[0]) == "elsewhere/a no such service runs here in 0 ms"

    def test_nothing_is_started_after_it_was_closed(self, run: Callable[..., Running]) -> None:
        cron = run(EVERY_MINUTE)
        cron.cron.close()
        cron.pass_time(60)
        wait_until(lambda: not any(thread.name == "cron /often" for thread in threading.enumerate()))
        assert cron.paths == []

    def test_a_run_is_one_line(self) -> None:
        assert run_line(CronRun(EVERY_MINUTE, Answer(200), 0.0123)) == "default/often 200 in 12 ms"
        assert run_line(CronRun(EVERY_MINUTE, Answer(500), 1, 5)) == "default/often 500 in 1000 ms; again in 5.0 s"


class TestProcess:
    def test_runs_jobs_until_it_is_terminated(self, service: Service, tmp_path: Path) -> None:
        (tmp_path / "cron.yaml").write_text(CRON_YAML)
        command = [sys.executable, "-W", "ignore", "-m", "devserver.cron.calls", "--file", str(tmp_path / "cron.yaml")]
        command += ["--every", "0.01", "--service", f"worker={service.url}", "--service", f"default={service.url}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process, process.stdout:
            # A run of so frequent a job may be told before.
            assert "cron with 2 jobs\n" in itertools.islice(process.stdout, 10)
            wait_until(lambda: {"/nightly", "/often"} <= {request.path for request in service.requests})
            process.terminate()
            assert process.wait() == 0

    @pytest.mark.parametrize("text", [None, "cron:\n- url: /a\n  schedule: sometimes\n"])
    def test_a_missing_or_broken_file_is_one_clear_line(self, tmp_path: Path, text: str | None) -> None:
        path = tmp_path / "cron.yaml"
        if text is not None:
            path.write_text(text)
        command = [sys.executable, "-W", "ignore", "-m", "devserver.cron.calls", "--file", str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert "cron.yaml" in ended.stderr
