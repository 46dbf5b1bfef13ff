"""A process that ends, whatever ends it: handlers stop after the current message, and what was not begun goes back.

With the real gunicorn, whose ways to end a process differ: a signal that it keeps for itself, and none at all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devserver.appengine.server import ApiServer

from .serving import GOOD, Server

# Each line is written by one call, so that lines of several processes do not mix.
RECEIVERS = """
import os, time
from gaesignals import Receivers
receivers = Receivers()
out = os.open(os.environ["OUT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def handle(data):
    from gaesignals import current_message
    os.write(out, f"begun {current_message().id}\\n".encode())
    time.sleep(0.3)
    os.write(out, f"ended {current_message().id}\\n".encode())
receivers.connect("weak", handle, id="weak")
receivers.connect("reliable", handle, id="reliable", reliable=True)
"""
TICKET = {"X-Appengine-Api-Ticket": "a test's"}
SENT = 12


class Team:
    """A team's receivers, and what they wrote."""

    def __init__(self, directory: Path, api: ApiServer) -> None:
        self.directory = directory
        self.out = directory / "out"
        self._api = api
        self._servers: list[Server] = []
        (directory / "team_receivers.py").write_text(RECEIVERS)

    def serve(self, *options: str) -> Server:
        environ = {**GOOD, "OUT": str(self.out), "API_HOST": "127.0.0.1", "API_PORT": str(self._api.port)}
        server = Server(self.directory, options=options, SIGNALS_LEASE_SECONDS="8", **environ)
        self._servers.append(server)
        server.wait_until_up()
        return server

    def written(self, verb: str) -> Counter[str]:
        """How often each message was begun, or ended."""
        lines = self.out.read_text().splitlines() if self.out.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(verb))

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        for _ in range(300):
            if is_so():
                return
            time.sleep(0.05)
        raise AssertionError(self._servers[-1].log.read_text())

    def stop(self) -> None:
        for server in self._servers:
            server.stop()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with ApiServer() as api:
        team = Team(tmp_path, api)
        yield team
        team.stop()


def send(server: Server, name: str) -> None:
    body = urllib.parse.urlencode({"name": name, "count": SENT}).encode()
    assert server.call("/admin/send", TICKET, body=body).status == 200


def drain(server: Server, name: str) -> None:
    try:
        server.call("/admin/drain", TICKET, body=f"names={name}&wait=1".encode())
    except (urllib.error.URLError, ConnectionError):
        return  # the server may end before it has answered


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preloaded"])
def test_a_signal_ends_a_weak_delivery_after_its_message_and_loses_none(team: Team, options: tuple[str, ...]) -> None:
    """With --preload the app is loaded before gunicorn takes the signals of its processes for itself."""
    server = team.serve(*options)
    send(server, "weak")
    draining = threading.Thread(target=drain, args=(server, "weak"))
    draining.start()
    team.wait_for(lambda: len(team.written("begun")) >= 2)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=40) == 0
    draining.join()
    assert team.written("begun") == team.written("ended")
    assert len(team.written("ended")) < SENT, "it ended before all were handled"
    drain(team.serve(), "weak")
    assert sorted(team.written("ended").values()) == [1] * SENT, "none lost, none repeated"


def test_the_last_request_of_a_process_ends_its_deliveries_and_repeats_none(team: Team) -> None:
    """With --max-requests no signal is sent: the server only marks itself."""
    server = team.serve("--max-requests", "8", "--graceful-timeout", "3")
    send(server, "reliable")
    draining = threading.Thread(target=drain, args=(server, "reliable"))
    draining.start()
    team.wait_for(lambda: len(team.written("begun")) >= 2)
    for _ in range(8):
        server.call("/healthz")
    draining.join()
    assert team.written("begun") == team.written("ended")
    left = SENT - len(team.written("ended"))
    assert left > 0, "it ended before all were handled"
    for _ in range(3):
        drain(server, "reliable")
    team.wait_for(lambda: len(team.written("ended")) == SENT)
    assert set(team.written("ended").values()) == {1}


ORPHAN = """
import os, sys, types
base = types.ModuleType("gunicorn.workers.base")
class Worker:
    alive = True
    ppid = os.getppid()
    def run(self, ending):
        return ending.is_set()
base.Worker = Worker
sys.modules["gunicorn.workers.base"] = base
from worker.ending import Ending
serving, orphan, marked = Worker(), Worker(), Worker()
orphan.ppid = 0
marked.alive = False
print(Ending().is_set(), *(each.run(Ending()) for each in (serving, orphan, marked)))
"""


def test_a_process_whose_parent_is_gone_is_about_to_end_too() -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", ORPHAN], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "False False True True\n"
