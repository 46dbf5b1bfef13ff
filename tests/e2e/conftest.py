"""The local cloud as `make run` starts it, and ways to look at its processes from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.appengine.api import memcache

from devserver.appengine.client import connected

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 120.0


def wait_until(condition: Callable[[], object], *, within_seconds: float = DEADLINE_SECONDS) -> None:
    """Return once `condition()` is true; fail after two minutes, or as many seconds as are given."""
    give_up_at = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.02)


class Cloud:
    """`python -m devserver` with `arguments`, in a process group of its own, as a terminal makes one."""

    def __init__(self, *arguments: str, program: Sequence[str] = ("devserver",), **environ: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", *program, "--frontend-port", "0", "--worker-port", "0", *arguments],
            cwd=ROOT,
            env=os.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.has_printed("Ready.") or self.process.poll() is not None)
        assert self.has_printed("Ready."), self.output

    def has_printed(self, text: str) -> bool:
        return any(text in line for line in tuple(self.lines))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def port(self, name: str) -> int:
        """The port in the line that begins with `name`."""
        found = re.search(rf"^  {name} .*?:(\d+)", self.output, re.MULTILINE)
        assert found, self.output
        return int(found[1])

    @property
    def ports(self) -> list[int]:
        return [self.port(name) for name in ("Frontend", "Worker", "App Engine", "Cloud Tasks")]

    def get(self, service: str, path: str) -> Any:
        return json.loads(self.request(service, "GET", path))

    def post(self, service: str, path: str, **fields: Any) -> Any:
        body = urllib.parse.urlencode(fields, doseq=True)
        return json.loads(self.request(service, "POST", path, body, "application/x-www-form-urlencoded"))

    def post_json(self, service: str, path: str, body: object) -> Any:
        return json.loads(self.request(service, "POST", path, json.dumps(body), "application/json"))

    def send(self, name: str, *, count: int = 1, data: str = "") -> None:
        assert self.post("Frontend", "/send", name=name, count=count, data=data)["sent"] == count

    def handled(self) -> Mapping[str, int]:
        counts: Mapping[str, int] = self.get("Frontend", "/handled.json")["counts"]
        return counts

    def wait_until_handled(self, counts: Mapping[str, int]) -> None:
        wait_until(lambda: self.handled() == counts or self.process.poll() is not None)

    def flush(self) -> None:
        """Forget everything in memcache."""
        with connected(self.port("App Engine")):
            assert memcache.flush_all()

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal tells the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end, and for that of all it has started: they hold its output open."""
        code = self.process.wait(DEADLINE_SECONDS)
        self._reader.join(DEADLINE_SECONDS)
        assert not self._reader.is_alive(), "something that it started still runs"
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()

    def members(self) -> list[int]:
        """The ids of the processes in its group."""
        listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True)
        rows = [line.split() for line in listed.stdout.splitlines()]
        return [int(pid) for pid, group, state in rows if int(group) == self.process.pid and not state.startswith("Z")]

    def request(
        self, service: str, method: str, path: str, body: str | None = None, content_type: str | None = None
    ) -> str:
        """The text of an answer, which has to be a 200."""
        headers = {"Content-Type": content_type} if content_type else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port(service), timeout=DEADLINE_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200, (response.status, text)
            return text
        finally:
            connection.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))


@pytest.fixture
def start() -> Iterator[Callable[..., Cloud]]:
    clouds: list[Cloud] = []

    def start(*arguments: str, program: Sequence[str] = ("devserver",), **environ: str) -> Cloud:
        clouds.append(Cloud(*arguments, program=program, **environ))
        return clouds[-1]

    yield start
    for cloud in clouds:
        cloud.kill()
