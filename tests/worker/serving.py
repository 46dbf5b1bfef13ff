"""The worker as it is deployed, for tests: gunicorn on a free port, with what it needs to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECEIVERS = """
from gaesignals import Receivers
receivers = Receivers()
receivers.connect("a", print)
"""
GOOD = {
    "SIGNALS_RECEIVERS": "team_receivers:receivers",
    "GAE_ENV": "localdev",
    "GOOGLE_CLOUD_PROJECT": "localdev",
    "SIGNALS_LOCATION": "local",
    "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:1",
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: Message
    reason: str


class Server:
    """gunicorn with `directory` on the path and `environ` beside what is not the worker's."""

    def __init__(
        self, directory: Path, *, options: tuple[str, ...] = (), app: str = "worker.main:app", **environ: str
    ) -> None:
        self.port = free_port()
        self.log = directory / "log"
        command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}"]
        command += ["--workers", "1", "--threads", "4", "--timeout", "0", *options, app]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("SIGNALS_", "GAE_", "GOOGLE_"))}
        path = f"{directory}{os.pathsep}{ROOT}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, stdout=log, stderr=log, env={**clean, "PYTHONPATH": path, **environ}
            )

    def call(self, path: str, headers: dict[str, str] | None = None, *, body: bytes | None = None) -> Answer:
        """Answer of a GET, or of a POST of `body`."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers or {}, data=body)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return Answer(answer.status, answer.read().decode(), answer.headers, answer.reason)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(), error.headers, str(error.reason))

    def wait_until_up(self) -> None:
        for _ in range(200):
            assert self.process.poll() is None, self.log.read_text()
            try:
                self.call("/healthz")
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
