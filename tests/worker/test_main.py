"""The worker as it is deployed: gunicorn, the SDK's middleware, signals of the operating system."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers

from .serving import GOOD, RECEIVERS, ROOT, Server


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "team_receivers.py").write_text(RECEIVERS)
    return tmp_path


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    server = Server(directory, **GOOD)
    server.wait_until_up()
    yield server
    server.stop()


def test_the_worker_runs_under_gunicorn_as_deployed(server: Server) -> None:
    health = server.call("/healthz")
    assert (health.status, health.text) == (200, '{"status":"ok"}\n')
    assert server.call("/_ah/start").status == 200
    # Forged to look local or like App Engine, through the SDK's own middleware.
    assert server.call("/cron/drain").status == 403
    assert server.call("/admin/", {"Host": "evil.example"}).status == 403
    assert server.call("/admin/status", {"X-Appengine-User-Ip": "203.0.113.9"}).status != 403
    # There is no memcache behind this one: the error is an answer, and in the log with its fields.
    assert server.call("/cron/drain", {"X-Appengine-Cron": "true"}).status == 503
    log = server.log.read_text()
    assert "gaesignals.worker: request refused door='cron'" in log
    assert "the store failed" in log
    assert server.stop() == 0


def test_settings_that_make_no_sense_end_the_start_with_all_problems(directory: Path) -> None:
    server = Server(directory, **{**GOOD, "SIGNALS_QUEUE": "a b", "SIGNALS_RECEIVERS": "team"})
    assert server.process.wait(timeout=40) != 0
    log = server.log.read_text()
    assert "- SIGNALS_QUEUE='a b'" in log
    assert "- SIGNALS_RECEIVERS='team'" in log


def test_a_process_that_is_ended_writes_what_it_has_counted_where_the_store_takes_it(directory: Path) -> None:
    with servers.Server(*servers.NO_FILES) as store:
        server = Server(directory, **{**GOOD, "SIGNALS_STORE": store.url})
        server.wait_until_up()
        assert server.call("/cron/drain", {"X-Appengine-Cron": "true"}).status == 200
        assert not store.command("KEYS", "*gs:fleet*"), "a minute has not passed"
        assert server.stop() == 0
        assert store.command("KEYS", "*gs:fleet*"), server.log.read_text()
        assert store.command("KEYS", "*gs:h:*")


AT_EXIT = """
import atexit
registered = []
atexit.register = lambda function, *arguments, **options: registered.append(function)
from worker.main import app
print(app.stop in registered)
"""


@pytest.mark.parametrize(("store", "is_told"), [(" memcache ", "False"), ("valkey://127.0.0.1:1", "True")])
def test_memcache_is_not_called_when_a_process_ends_which_is_outside_of_requests(
    directory: Path, store: str, is_told: str
) -> None:
    environ = {**os.environ, **GOOD, "SIGNALS_STORE": store, "PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-W", "ignore", "-c", AT_EXIT]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == [is_told], done.stderr


STOP = """
import os, signal, threading
from worker import main
from worker.main import app
assert not app.stopping.is_set()
earlier = []
signal.signal(signal.SIGTERM, lambda number, frame: earlier.append(number))
app.stopping.on_signal()
signal.raise_signal(signal.SIGTERM)
assert app.stopping.is_set() and earlier == [signal.SIGTERM], earlier
app.stopping.clear()
# Elsewhere than in the main thread there are no signals to be had, and it does not matter.
thread = threading.Thread(target=app.stopping.on_signal)
thread.start(); thread.join()
from google.appengine.api import runtime
def start_response(status, headers): assert status.startswith("200"), status
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/_ah/stop", "SERVER_NAME": "x", "SERVER_PORT": "80",
           "wsgi.url_scheme": "http", "HTTP_X_APPENGINE_USER_IP": "0.1.0.3", "REMOTE_ADDR": "169.254.1.1"}
list(app(environ, start_response))
assert app.stopping.is_set()
app.stopping.clear()
signal.signal(signal.SIGTERM, signal.SIG_DFL)
app.stopping.on_signal()
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
from worker.access.doors import Door, door
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
