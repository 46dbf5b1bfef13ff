"""How the local cloud starts, keeps running and ends."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, Cloud, wait_until

Start = Callable[..., Cloud]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture
def cloud(start: Start) -> Cloud:
    cloud = start()
    cloud.wait_until_ready()
    return cloud


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory of somebody's own."""
    for name in ("cron.yaml", "queue.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def pids_of(text: str, cloud: Cloud) -> list[int]:
    listed = subprocess.run(["ps", "-ww", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 1) for line in listed.splitlines()]
    members = cloud.members()
    return [int(pid) for pid, arguments in rows if text in arguments and int(pid) in members]


class TestEnd:
    @pytest.mark.parametrize("end", [Cloud.interrupt, lambda cloud: cloud.process.terminate()], ids=["ctrl-c", "term"])
    def test_every_process_ends(self, cloud: Cloud, end: Callable[[Cloud], None]) -> None:
        assert len(cloud.members()) >= 6, "they are one process group"
        ports = cloud.ports
        end(cloud)
        assert cloud.wait() == 0
        assert cloud.members() == []
        assert all(is_free(port) for port in ports)
        assert "Traceback" not in cloud.output

    def test_ctrl_c_before_it_is_ready_ends_every_process(self, start: Start) -> None:
        cloud = start()
        wait_until(lambda: len(cloud.members()) > 2)
        cloud.interrupt()
        assert cloud.wait() == 0
        assert cloud.members() == []
        assert "Traceback" not in cloud.output

    def test_every_process_ends_when_the_supervisor_is_killed(self, cloud: Cloud) -> None:
        cloud.process.kill()
        cloud.wait()
        wait_until(lambda: cloud.members() == [])

    def test_an_app_that_does_not_want_to_end_ends_as_well(self, start: Start, root: Path) -> None:
        (root / "stubborn.py").write_text(
            "import signal, threading, time\n"
            "def sleep(environ, start_response):\n"
            "    start_response('200 OK', [])\n"
            "    if environ['PATH_INFO'] == '/sleep':\n"
            "        print('asleep', flush=True)\n"
            "        time.sleep(600)\n"
            "    return [b'']\n"
            "app = sleep\n"
        )
        cloud = start("--root", str(root), "--frontend", "stubborn:app")
        cloud.wait_until_ready()
        connection = http.client.HTTPConnection("127.0.0.1", cloud.port("Frontend"))
        connection.request("GET", "/sleep")
        wait_until(lambda: cloud.has_printed("asleep"))
        cloud.interrupt()
        assert cloud.wait() == 0
        assert cloud.members() == []
        connection.close()


class TestRestart:
    @pytest.mark.parametrize(
        ("name", "text"), [("worker", "devserver.processes.worker:app"), ("api", "devserver.appengine.server")]
    )
    def test_a_process_that_ends_is_reported_and_started_again(self, cloud: Cloud, name: str, text: str) -> None:
        before = pids_of(text, cloud)
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: cloud.has_printed(f"{name} ended unexpectedly: killed by signal 9"))
        wait_until(lambda: set(pids_of(text, cloud)) - set(before))

        def works() -> bool:
            try:
                cloud.send("order_paid")
                return bool(cloud.post("Worker", "/admin/drain", wait="1")["delivered"])
            except (OSError, AssertionError):
                return False

        wait_until(works)


def said_after_the_first(cloud: Cloud) -> list[str]:
    """What it says besides what it is about to do."""
    assert cloud.lines[0].startswith("Starting the local cloud of ")
    return [line for line in cloud.lines[1:] if not line.startswith("cloud    | ")]


class TestStart:
    def test_a_busy_port_is_one_clear_line(self, start: Start) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            cloud = start("--worker-port", str(port))
            assert cloud.wait() == 2
        (line,) = said_after_the_first(cloud)
        assert f"port {port} is taken" in line
        assert "--worker-port" in line

    def test_a_broken_cron_yaml_is_one_clear_line(self, start: Start, root: Path) -> None:
        (root / "cron.yaml").write_text("cron:\n- url: /a\n  schedule: now and then\n")
        cloud = start("--root", str(root))
        assert cloud.wait() == 2
        (line,) = said_after_the_first(cloud)
        assert "cron.yaml: job /a: 'now and then' is not a schedule" in line

    def test_a_missing_receiver_module_is_one_clear_line(self, start: Start) -> None:
        cloud = start("--receivers", "nowhere.to:be")
        assert cloud.wait() == 2
        (line,) = said_after_the_first(cloud)
        assert "there is no module nowhere" in line
        assert "--receivers nowhere.to:be" in line

    def test_an_app_of_the_users_own_is_served(self, start: Start, root: Path) -> None:
        (root / "mine.py").write_text(
            "from flask import Flask\n"
            "from google.appengine.api import wrap_wsgi_app\n"
            "from gaesignals import Receivers, Signal\n"
            "receivers = Receivers()\n"
            "receivers.connect('mine', lambda data: print('handled', data), id='mine')\n"
            "app = Flask(__name__)\n"
            "@app.post('/send')\n"
            "def send():\n"
            "    Signal('mine').send('my data')\n"
            "    return {'sent': 1}\n"
            "app.wsgi_app = wrap_wsgi_app(app.wsgi_app)\n"
        )
        cloud = start("--root", str(root), "--frontend", "mine:app", "--receivers", "mine:receivers")
        cloud.wait_until_ready()
        assert cloud.post("Frontend", "/send") == {"sent": 1}
        assert cloud.post("Worker", "/admin/drain", wait="1")["delivered"] == 1
        wait_until(lambda: cloud.has_printed("worker   | handled my data"))


def test_everything_listens_on_this_machine_alone(cloud: Cloud) -> None:
    for port in cloud.ports:
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))
