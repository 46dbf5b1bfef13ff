"""The example is a project like a team's own: its files are accepted by the SDK, and made by the documented steps."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from google.appengine.api import appinfo, croninfo, queueinfo

from gaesignals.appyaml.schedule import parse_schedule
from worker.config import Settings
from worker.loading import load_receivers

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop"


def service(name: str) -> Any:
    return appinfo.LoadSingleAppInfo((SHOP / name).read_text())


def settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]


def test_the_default_service_may_call_memcache() -> None:
    info = service("app.yaml")
    assert (info.service or "default", info.app_engine_apis) == ("default", True)
    assert info.entrypoint.split()[-1] == "main:app"


def test_the_worker_is_the_one_of_the_wheel_with_the_shops_receivers() -> None:
    info = service("worker.yaml")
    assert (info.service, info.entrypoint.split()[-1]) == ("worker", "gaesignals_worker.main:app")
    environ = {**info.env_variables, "GAE_ENV": "standard", "GOOGLE_CLOUD_PROJECT": "shop-1234"}
    assert len(load_receivers(Settings.from_env(environ).receivers)) == 5


def test_worker_yaml_differs_from_the_one_to_start_from_in_two_lines_alone() -> None:
    """What the documentation says to change: where the worker's package is, and whose receivers there are."""
    start, made = (settings(path.read_text()) for path in (ROOT / "app.yaml", SHOP / "worker.yaml"))
    changed = [new for old, new in zip(start, made, strict=True) if old != new]
    assert [line.split()[0] for line in changed] == ["entrypoint:", "SIGNALS_RECEIVERS:"]


def test_cron_and_queue_have_what_the_worker_needs() -> None:
    (job,) = croninfo.LoadSingleCron((SHOP / "cron.yaml").read_text()).cron
    assert (job.url, job.target) == ("/cron/drain", "worker")
    parse_schedule(job.schedule)
    queues = queueinfo.LoadSingleQueue((SHOP / "queue.yaml").read_text()).queue
    settings = Settings()
    assert [queue.name for queue in queues] == [settings.queue, settings.safety_queue, settings.later_queue]


@pytest.mark.parametrize("name", ["cron.yaml", "queue.yaml"])
def test_project_wide_files_are_those_of_the_repository(name: str) -> None:
    assert (SHOP / name).read_text() == (ROOT / name).read_text()


def test_its_modules_know_nothing_of_the_repository() -> None:
    for path in [SHOP / "main.py", SHOP / "receivers.py", *(SHOP / "shop").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                top = (node.module or "").split(".")[0]
                assert top not in ("examples", "worker", "devserver", "tests"), path


def test_its_requirements_are_the_package_with_the_workers_extra_and_its_own() -> None:
    names = [line.split(">")[0] for line in settings((SHOP / "requirements.txt").read_text())]
    assert names == ["gaesignals[worker]", "flask", "gunicorn"]
