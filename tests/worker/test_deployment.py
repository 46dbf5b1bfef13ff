"""The files that App Engine reads, through the SDK's own loaders and the checks that those leave out."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytz
from google.appengine.api import appinfo, croninfo, queueinfo

from gaesignals import Receivers
from gaesignals.appyaml.schedule import parse_schedule
from gaesignals.testing import MemoryStore
from worker.app import create_app
from worker.config import Settings
from worker.loading import load_receivers
from worker.queue import DELIVER_PATH

from .recording_queue import RecordingQueue

ROOT = Path(__file__).parents[2]


def text(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.fixture
def app_info() -> Any:
    return appinfo.LoadSingleAppInfo(text("app.yaml"))


@pytest.fixture
def job() -> Any:
    (job,) = croninfo.LoadSingleCron(text("cron.yaml")).cron
    return job


@pytest.fixture
def queues() -> dict[str, Any]:
    return {queue.name: queue for queue in queueinfo.LoadSingleQueue(text("queue.yaml")).queue}


@pytest.fixture
def queue(queues: dict[str, Any]) -> Any:
    return queues["signals"]


def test_app_yaml_describes_a_worker_with_bundled_services_and_basic_scaling(app_info: Any) -> None:
    assert app_info.service == "worker"
    assert app_info.app_engine_apis is True
    assert int(app_info.basic_scaling.max_instances) >= 1
    assert re.fullmatch(r"python3\d+", app_info.runtime)


def test_app_yaml_starts_gunicorn_without_a_timeout_that_would_kill_long_tasks(app_info: Any) -> None:
    words = app_info.entrypoint.removeprefix("exec ").split()
    assert words[0] == "gunicorn"
    assert words[-1] == "worker.main:app"
    assert words[words.index("--timeout") + 1] == "0"
    assert words[words.index("--bind") + 1] == ":$PORT"


def test_no_handler_asks_for_a_login_that_would_turn_scripts_away(app_info: Any) -> None:
    assert app_info.handlers
    assert {handler.login for handler in app_info.handlers} == {"optional"}


def test_the_admin_page_is_served_over_https_only(app_info: Any) -> None:
    assert (app_info.handlers[0].url, app_info.handlers[0].secure) == ("/admin/.*", "always")
    assert (app_info.handlers[1].url, app_info.handlers[1].secure) == ("/metrics", "always")


def threads_of(app_info: Any) -> int:
    words = app_info.entrypoint.split()
    return int(words[words.index("--threads") + 1])


def test_threads_and_instances_suffice_for_what_the_queues_run_at_once(app_info: Any, queues: dict[str, Any]) -> None:
    at_once = sum(queue.max_concurrent_requests for queue in queues.values())
    assert threads_of(app_info) * int(app_info.basic_scaling.max_instances) >= at_once


@pytest.mark.parametrize("name", ["signals-safety", "signals-later"])
def test_no_message_is_given_up_and_rescues_leave_an_instance_threads(
    app_info: Any, queues: dict[str, Any], name: str
) -> None:
    retries = queues[name].retry_parameters
    assert retries.task_retry_limit is None
    assert retries.task_age_limit is None
    assert queues[name].max_concurrent_requests < threads_of(app_info)
    assert float(queues[name].rate[:-2]) == 100


def test_a_safety_task_is_looked_at_again_after_ten_minutes_to_an_hour(queues: dict[str, Any]) -> None:
    retries = queues["signals-safety"].retry_parameters
    assert (retries.min_backoff_seconds, retries.max_backoff_seconds) == (600, 3600)


def test_what_is_for_later_is_tried_again_soon(queues: dict[str, Any]) -> None:
    retries = queues["signals-later"].retry_parameters
    assert (retries.min_backoff_seconds, retries.max_backoff_seconds) == (1, 300)


def test_the_cron_job_calls_the_worker_every_minute(app_info: Any, job: Any) -> None:
    assert job.target == app_info.service
    assert job.url == "/cron/drain"
    now = datetime(2026, 1, 1, 12, 30, 15, tzinfo=timezone.utc)
    assert parse_schedule(job.schedule).next_after(now, pytz.utc) - now <= timedelta(minutes=1)


def test_the_cron_job_and_the_tasks_call_routes_of_the_worker(job: Any) -> None:
    app = create_app(Settings(), receivers=Receivers(), store=MemoryStore(), queue=RecordingQueue())
    methods = {rule.rule: rule.methods or set() for rule in app.url_map.iter_rules()}
    assert "GET" in methods[job.url]
    assert "POST" in methods[DELIVER_PATH]


def test_the_queue_and_the_service_are_those_that_the_worker_uses_by_itself(app_info: Any, queue: Any) -> None:
    assert (queue.name, app_info.service) == (Settings().queue, Settings().service)


def test_the_settings_in_app_yaml_are_enough_on_app_engine(app_info: Any) -> None:
    environ = {**app_info.env_variables, "GAE_ENV": "standard", "GOOGLE_CLOUD_PROJECT": "shop-1234"}
    assert len(load_receivers(Settings.from_env(environ).receivers)) > 0


def test_the_queue_has_the_rate_that_its_loader_does_not_insist_on(queue: Any) -> None:
    assert queue.name == "signals"
    assert re.fullmatch(r"\d+/s", queue.rate)
    assert 1 <= int(queue.rate[:-2]) <= 500
    assert queue.bucket_size >= 1
    assert queue.max_concurrent_requests >= 1


def test_retries_of_a_task_end(queue: Any) -> None:
    retries = queue.retry_parameters
    assert retries.task_retry_limit
    assert retries.task_age_limit
    assert 0 < retries.min_backoff_seconds < retries.max_backoff_seconds


@pytest.mark.parametrize(("name", "effect"), [("cron.yaml", "replaces every cron job"), ("queue.yaml", "pauses every")])
def test_project_wide_files_say_in_their_first_line_what_deploying_them_does(name: str, effect: str) -> None:
    first = text(name).splitlines()[0]
    assert first.startswith("# PROJECT-WIDE")
    assert effect in first


def requirement_lines(source: str) -> set[str]:
    return {line for line in source.splitlines() if line and not line.startswith("#")}


def test_requirements_are_those_of_the_package_and_its_worker_extra() -> None:
    tables = re.findall(r"^(?:dependencies|worker) = \[(.*?)\]", text("pyproject.toml"), re.MULTILINE | re.DOTALL)
    declared = {found for table in tables for found in re.findall(r'"([^"]+)"', table)}
    assert requirement_lines(text("requirements.txt")) == declared


def is_deployed(path: str) -> bool:
    """As git reads the patterns, whose syntax .gcloudignore has."""
    command = ["git", "-c", f"core.excludesFile={ROOT / '.gcloudignore'}", "check-ignore", "--no-index", "-q", path]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 1


@pytest.mark.parametrize(
    "path",
    [
        "app.yaml",
        "requirements.txt",
        "gaesignals/page.py",
        "worker/main.py",
        "worker/static/admin.css",
        "examples/x.py",
    ],
)
def test_what_the_worker_needs_is_uploaded(path: str) -> None:
    assert is_deployed(path)


@pytest.mark.parametrize("path", ["tests/x.py", "devserver/x.py", ".venv/x", ".git/config", "worker/__pycache__/x.pyc"])
def test_what_it_does_not_need_stays_behind(path: str) -> None:
    assert not is_deployed(path)
