"""A Django project under the local cloud: its tasks go through memcache and are run by the worker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from .conftest import ROOT, Cloud, wait_until

PROJECT = ROOT / "tests" / "django_project"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    cloud = Cloud(str(PROJECT), "--cron-every", "86400", program=("gaesignals", "local"))
    cloud.wait_until_ready()
    yield cloud
    cloud.kill()


def test_check_finds_no_problem_with_it() -> None:
    command = [sys.executable, "-m", "gaesignals", "check"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout == "no problem found (worker.yaml, app.yaml, cron.yaml, queue.yaml)\n", done.stdout + done.stderr


def test_the_worker_runs_what_a_request_enqueues(cloud: Cloud) -> None:
    ids = cloud.get("Frontend", "/orders/7")
    assert len(set(ids)) == 4
    for text in (
        "shipping 7 at once",
        "mailing ada@example.com",
        f"paying 7, attempt 1 of {ids[1]}",
        f"paying 7, attempt 2 of {ids[1]}",
        "invoice 7",
        "mailing later@example.com",
        "delivered 1 × task:default:default:mysite.tasks.ship to task:default:default",
    ):
        wait_until(lambda text=text: cloud.has_printed(f"worker   | {text}"))


def test_a_coroutine_enqueues_a_coroutine(cloud: Cloud) -> None:
    cloud.get("Frontend", "/texts/tea")
    wait_until(lambda: cloud.has_printed("worker   | translating tea"))


def test_a_task_that_is_a_coroutine_enqueues_another(cloud: Cloud) -> None:
    cloud.get("Frontend", "/mails/cake")
    wait_until(lambda: cloud.has_printed("worker   | mailing cake@example.com"))


def test_so_does_one_on_an_asgi_server(cloud: Cloud) -> None:
    # Listening here, so that the request waits until uvicorn has started.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "uvicorn", "--fd", str(listener.fileno()), "--log-level", "warning"]
        local = {"API_HOST": "127.0.0.1", "API_PORT": str(cloud.port("App Engine")), "GAE_ENV": "localdev"}
        with subprocess.Popen(
            [*command, "mysite.asgi:application"],
            cwd=PROJECT,
            env=os.environ | local | {"DEFAULT_VERSION_HOSTNAME": "localhost"},
            pass_fds=[listener.fileno()],
        ) as process:
            try:
                address = f"http://127.0.0.1:{listener.getsockname()[1]}/texts/coffee"
                with urllib.request.urlopen(address, timeout=60) as answer:
                    assert len(json.load(answer)) == 1
            finally:
                process.terminate()
    wait_until(lambda: cloud.has_printed("worker   | translating coffee"))
