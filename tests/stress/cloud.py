"""The local cloud as the runs start it: its processes, which may be killed, and how its worker is asked."""

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
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from .records import DIRECTORY

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
WORKER = "devserver.processes.worker:app"
API_SERVER = "devserver.appengine.server"


class LocalCloud:
    """`python -m devserver` with `arguments`; its receivers write into `directory`. `environ` is for all processes."""

    def __init__(self, directory: Path, *arguments: str, **environ: str) -> None:
        self._environ = os.environ | {DIRECTORY: str(directory)} | environ
        self._lines: list[str] = []
        ports = ["--frontend-port", "0", "--worker-port", "0", "--cron-every", "2"]
        receivers = ["--receivers", "tests.stress.receivers:receivers"]
        self._process = self.start("-m", "devserver", *arguments, *ports, *receivers, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._wait_for("Ready.")

    def start(self, *arguments: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start a Python beside the cloud."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self._environ,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.append(line.rstrip())

    def _wait_for(self, text: str) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while not self.said(text):
            if time.monotonic() > give_up_at or self._process.poll() is not None:
                self.stop()
                raise SystemExit("the local cloud did not start:\n" + "\n".join(self._lines))
            time.sleep(0.05)

    def said(self, text: str) -> int:
        """How many lines of its log have `text`."""
        return sum(text in line for line in tuple(self._lines))

    def port(self, service: str) -> int:
        found = re.search(rf"^  {service} .*?:(\d+)", "\n".join(self._lines), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def kill(self, program: str, choose: Callable[[list[int]], int] = min) -> bool:
        """Send SIGKILL to one of the processes that run `program`; False if there is none."""
        pids = self._pids(program)
        with contextlib.suppress(ProcessLookupError):
            if pids:
                os.kill(choose(pids), signal.SIGKILL)
                return True
        return False

    def _pids(self, program: str) -> list[int]:
        """The processes of the cloud's group that run `program`, by what Linux says of them."""
        pids, group = [], os.getpgid(self._process.pid)
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getpgid(int(path.name)) == group and program in (path / "cmdline").read_text():
                    pids.append(int(path.name))
        return pids

    def post(self, path: str, body: object) -> object:
        """Post JSON to the worker; None if it is not there."""
        headers = {"Content-Type": "application/json", "X-AppEngine-QueueName": "signals"}
        return self._open(path, json.dumps(body).encode(), headers)

    def status(self) -> Mapping[str, int] | None:
        """What waits, is leased and is to be retried, or None if the worker did not say."""
        answer = self._open("/admin/status", None, {})
        return answer["totals"] if isinstance(answer, dict) else None

    def _open(self, path: str, body: bytes | None, headers: dict[str, str]) -> object:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port('Worker')}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return json.load(answer)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return None

    def stop(self) -> None:
        """End it as Ctrl-C does, and whatever does not end by itself."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(timeout=30)
