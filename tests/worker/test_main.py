"""The worker as it is deployed: gunicorn, the SDK's middleware, signals of the operating system."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLOW_RECEIVERS = """
import threading
from gaesignals import Receivers
receivers = Receivers()
receivers.connect("a", print)
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """gunicorn with the entrypoint of app.yaml, on a free port."""

    def __init__(self, directory: Path, **environ: str) -> None:
        self.port = free_port()
        self.log = directory / "log"
        command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}"]
        command += ["--workers", "1", "--threads", "4", "--timeout", "0", "worker.main:app"]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("SIGNALS_", "GAE_", "GOOGLE_"))}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env={**clean, "PYTHONPATH": str(directory), **environ}
            )

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=named)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_until_up(self) -> None:
        for _ in range(200):
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.get("/healthz")
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(self.log.read_text())

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=40)
        finally:
            self.process.kill()


GOOD = {
    "SIGNALS_RECEIVERS": "team_receivers:receivers",
    "GAE_ENV": "localdev",
    "GOOGLE_CLOUD_PROJECT": "localdev",
    "SIGNALS_LOCATION": "local",
    "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:1",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "team_receivers.py").write_text(SLOW_RECEIVERS)
    return tmp_path


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    server = Server(directory, **GOOD)
    server.wait_until_up()
    yield server
    server.stop()


def test_the_worker_runs_under_gunicorn_as_deployed(server: Server) -> None:
    assert server.get("/healthz") == (200, '{"status":"ok"}\n')
    assert server.get("/_ah/start")[0] == 200
    # Forged to look local or like App Engine, through the SDK's own middleware.
    assert server.get("/cron/drain")[0] == 403
    assert server.get("/admin/", Host="evil.example")[0] == 403
    assert server.get("/admin/status", X_Appengine_User_Ip="203.0.113.9")[0] != 403
    # There is no memcache behind this one: the error is an answer, and in the log with its fields.
    assert server.get("/cron/drain", X_Appengine_Cron="true")[0] == 503
    log = server.log.read_text()
    assert "gaesignals.worker: request refused door='cron'" in log
    assert "memcache failed" in log
    assert server.stop() == 0


def test_settings_that_make_no_sense_end_the_start_with_all_problems(directory: Path) -> None:
    server = Server(directory, **{**GOOD, "SIGNALS_QUEUE": "a b", "SIGNALS_RECEIVERS": "team"})
    assert server.process.wait(timeout=40) != 0
    log = server.log.read_text()
    assert "- SIGNALS_QUEUE='a b'" in log
    assert "- SIGNALS_RECEIVERS='team'" in log


STOP = """
import os, signal, threading
from worker import main
from worker.main import app, stop_with_the_process
assert not app.stopping.is_set()
earlier = []
signal.signal(signal.SIGTERM, lambda number, frame: earlier.append(number))
stop_with_the_process(app)
signal.raise_signal(signal.SIGTERM)
assert app.stopping.is_set() and earlier == [signal.SIGTERM], earlier
app.stopping.clear()
# Elsewhere than in the main thread there are no signals to be had, and it does not matter.
thread = threading.Thread(target=stop_with_the_process, args=(app,))
thread.start(); thread.join()
from google.appengine.api import runtime
def start_response(status, headers): assert status.startswith("200"), status
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/_ah/stop", "SERVER_NAME": "x", "SERVER_PORT": "80",
           "wsgi.url_scheme": "http", "HTTP_X_APPENGINE_USER_IP": "0.1.0.3", "REMOTE_ADDR": "169.254.1.1"}
list(app(environ, start_response))
assert app.stopping.is_set()
app.stopping.clear()
signal.signal(signal.SIGTERM, signal.SIG_DFL)
stop_with_the_process(app)
signal.raise_signal(signal.SIGTERM)
print("not reached")
"""


def test_deliveries_end_when_app_engine_stops_the_instance_or_the_system_the_process(directory: Path) -> None:
    environ = {**os.environ, **GOOD, "GAE_ENV": "standard", "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"}
    del environ["CLOUD_TASKS_EMULATOR_HOST"]
    command = [sys.executable, "-W", "ignore", "-c", STOP]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, ""), done.stderr


LOG = """
import logging
from worker.auth import Door, door
from worker.main import app
@app.get("/log")
@door(Door.ANYONE)
def log():
    logging.info("here")
    return ""
app.test_client().get("/log", headers={"X-Cloud-Trace-Context": "0af7651916cd43dd8448eb211c80319c/1;o=1"})
"""


def test_on_app_engine_a_line_is_json_and_names_its_request(directory: Path) -> None:
    environ = {**os.environ, **GOOD, "GAE_ENV": "standard", "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"}
    del environ["CLOUD_TASKS_EMULATOR_HOST"]
    command = [sys.executable, "-W", "ignore", "-c", LOG]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    (entry,) = [json.loads(line) for line in done.stderr.splitlines() if '"here"' in line]
    assert entry["logging.googleapis.com/trace"] == "projects/localdev/traces/0af7651916cd43dd8448eb211c80319c"
