"""Both services of the shop under Google's own dev_appserver, with its memcache: as App Engine's developers run them.

Its queues are not Cloud Tasks, so the project's emulator stands beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devserver.processes.ports import choose_ports
from tests.e2e.conftest import wait_until

from .installed import ROOT, Installed

PROGRAM = shutil.which("dev_appserver.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Google's dev_appserver.py is not installed"),
]

# What the shop does not show: signals of every kind, whose tasks dev_appserver's own queues hold.
WAYS = """

@app.post("/ways")
def ways() -> dict[str, str]:
    from gaesignals import Signal

    order_paid = Signal("order_paid", wake=True, durable=True)
    return {"now": order_paid.send(), "later": order_paid.send(delay_seconds=1)}
"""


@dataclass(frozen=True)
class Team:
    """The addresses of the two services, and where their output is."""

    default: str
    worker: str
    log: Path

    def request(self, url: str, body: bytes | None = None, **headers: str) -> Any:
        request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.request(f"{self.worker}/healthz") is not None
        return False


@pytest.fixture(scope="module")
def team(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    directory = tmp_path_factory.mktemp("team")
    root = checkout(directory / "project")
    ports = choose_ports(dict.fromkeys(["default", "worker", "tasks"], 0))
    services = {name: f"http://127.0.0.1:{ports[name]}" for name in ("default", "worker")}
    with contextlib.ExitStack() as stack, (directory / "log").open("w") as log:
        emulator = [sys.executable, "-m", "devserver.tasks.emulator", "--port", str(ports["tasks"])]
        emulator += ["--queues", str(root / "queue.yaml")]
        emulator += [word for name, url in services.items() for word in ("--service", f"{name}={url}")]
        stack.enter_context(running(emulator, cwd=ROOT, environ={}, log=log))
        variables = {
            "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{ports['tasks']}",
            "GOOGLE_CLOUD_PROJECT": "localdev",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [str(PROGRAM), "--application", "localdev", "--host", "127.0.0.1", "--admin_port", "0"]
        command += ["--api_port", "0", "--specified_service_ports"]
        command += [",".join(f"{name}:{ports[name]}" for name in services)]
        command += ["--runtime_python_path", str(installed.python), "--storage_path", str(directory / "storage")]
        command += [word for name, value in variables.items() for word in ("--env_var", f"{name}={value}")]
        command += ["app.yaml", "worker.yaml"]
        process = stack.enter_context(running(command, cwd=root, environ=google_environ(installed), log=log))
        team = Team(services["default"], services["worker"], directory / "log")
        wait_until(lambda: team.answers() or process.poll() is not None)
        assert process.poll() is None, team.log.read_text()
        yield team


def checkout(target: Path) -> Path:
    """The shop alone. The wheel and the rest of its requirements are installed already, so pip gets none to fetch."""
    shutil.copytree(ROOT / "examples" / "shop", target, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "__init__.py").unlink()
    (target / "requirements.txt").write_text("")
    with (target / "main.py").open("a") as main:
        main.write(WAYS)
    return target


def google_environ(installed: Installed) -> dict[str, str]:
    """What the SDK's launcher needs: its own Python, and the services' gunicorn on the path."""
    environ = installed.environ() | {"PIP_NO_INDEX": "1", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    environ["PATH"] = os.pathsep.join([str(installed.python.parent), environ["PATH"]])
    bundled = Path(str(PROGRAM)).resolve().parents[1] / "platform" / "bundledpythonunix" / "bin" / "python3"
    return environ | ({"CLOUDSDK_PYTHON": str(bundled)} if bundled.exists() else {})


@contextlib.contextmanager
def running(
    command: Sequence[str], *, cwd: Path, environ: dict[str, str], log: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is gone afterwards with all that it started."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environ or None,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_what_the_frontend_sends_is_handled_by_the_worker_after_cron(team: Team) -> None:
    assert team.request(f"{team.default}/send", b"name=order_paid&count=3")["sent"] == 3
    fan_out = team.request(f"{team.worker}/cron/drain", X_Appengine_Cron="true")
    assert (fan_out["names"], fan_out["tasks"]) == (1, 1)
    wait_until(lambda: team.request(f"{team.default}/handled.json")["counts"] == {"order_paid": 3})


def test_a_manual_drain_delivers_names_made_at_run_time(team: Team) -> None:
    assert team.request(f"{team.default}/send", b"name=user_54274_password_change")["sent"] == 1
    assert team.request(f"{team.worker}/admin/drain", b"wait=1")["delivered"] == 1


def test_a_failure_is_retried_and_shown(team: Team) -> None:
    team.request(f"{team.default}/send", b'name=order_paid&data={"declined": true}')
    assert team.request(f"{team.worker}/admin/drain", b"wait=1")["retried"] == 1
    status = team.request(f"{team.worker}/admin/status")
    assert {each["name"]: each["retrying"] for each in status["names"]}["order_paid"] == 1
    assert status["health"]["memcache"] == "ok"


def test_the_doors_are_closed_where_app_engine_does_not_vouch_for_the_caller(team: Team) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        team.request(f"{team.worker}/cron/drain")


def handled(team: Team) -> dict[str, int]:
    counts: dict[str, int] = team.request(f"{team.default}/handled.json")["counts"]
    return counts


def test_messages_that_wake_and_are_durable_or_for_later_need_no_cron(team: Team) -> None:
    before = handled(team).get("order_paid", 0)
    sent = team.request(f"{team.default}/ways", b"")
    assert set(sent) == {"now", "later"}
    wait_until(lambda: handled(team).get("order_paid", 0) == before + 2)


def test_an_order_and_its_signal_are_one_transaction(team: Team) -> None:
    before = handled(team).get("order_placed", 0)
    assert team.request(f"{team.default}/order", b"item=shoes")["order"]
    wait_until(lambda: handled(team).get("order_placed", 0) == before + 1)


def test_cron_sends_a_signal(team: Team) -> None:
    before = handled(team).get("page_viewed", 0)
    team.request(f"{team.worker}/cron/send/page_viewed?path=a", X_Appengine_Cron="true")
    wait_until(lambda: handled(team).get("page_viewed", 0) == before + 1)
