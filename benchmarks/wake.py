"""How soon a signal that wakes is handled on the local cloud, and what that costs: `python -m benchmarks.wake`.

It starts the whole local cloud with a project of one frontend and one receiver. Cron is as good as off, so what is
handled was woken. At each rate the frontend sends at random times; the handler notes how long each message took. Each
lane of a name is woken for itself, so the table has how many there were when the last message was sent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from devserver.processes.ports import choose_ports

ROOT = Path(__file__).parent.parent
RATES = (0.1, 1.0, 10.0, 100.0)
START_SECONDS = 60.0
HEADINGS = (
    "signals a second",
    "handled",
    "median ms",
    "95th ms",
    "tasks a second",
    "lanes",
    "memcache calls a send",
)

FILES = {
    "main.py": '''
import collections, random, time
from flask import Flask, jsonify, request
from google.appengine.api import apiproxy_stub_map, wrap_wsgi_app
from gaesignals import Signal
from gaesignals.mailbox.current import current_mailbox
from gaesignals.mailbox.look import look
from signals import latencies

app = Flask(__name__)
calls = collections.Counter()

@app.get("/healthz")
def healthz():
    return "ok"

@app.post("/run")
def run():
    """Send at a rate, at random times, for so many seconds."""
    rate, seconds = float(request.form["rate"]), float(request.form["seconds"])
    latencies.clear()
    hooks = apiproxy_stub_map.apiproxy.GetPostCallHooks()
    hooks.Append("count", lambda service, call, request, response: calls.update([service]))
    calls.clear()
    signal, sent, started = Signal("wakes", wake=True), 0, time.time()
    at = started
    while True:
        at += random.expovariate(rate)
        if at > started + seconds:
            break
        time.sleep(max(0, at - time.time()))
        signal.send(time.time())
        sent += 1
    counted = dict(calls)
    hooks.Clear()
    lanes = look(current_mailbox(), [signal.name])[signal.name].width
    time.sleep(2)
    return jsonify(sent=sent, calls=counted, lanes=lanes, latencies=latencies.all())

app.wsgi_app = wrap_wsgi_app(app.wsgi_app)
''',
    "signals.py": '''
import json, time
from google.appengine.api import memcache
from gaesignals import Receivers

class Latencies:
    """What the handler noted, in memcache, where both services see it."""

    def clear(self):
        memcache.delete("latencies", namespace="bench")
        memcache.set("count", "0", namespace="bench")

    def note(self, seconds):
        number = memcache.incr("count", namespace="bench")
        memcache.set(f"latency:{number}", json.dumps(seconds), namespace="bench")

    def all(self):
        count = int(memcache.get("count", namespace="bench") or 0)
        keys = [f"latency:{number}" for number in range(1, count + 1)]
        found = memcache.get_multi(keys, namespace="bench") if keys else {}
        return [json.loads(value) for value in found.values()]

latencies = Latencies()
receivers = Receivers()

@receivers.receiver("wakes", reliable=True)
def note(sent):
    latencies.note(time.time() - sent)
''',
    "app.yaml": "runtime: python312\napp_engine_apis: true\nentrypoint: gunicorn --threads 8 main:app\n",
    "worker.yaml": (
        "service: worker\nruntime: python312\napp_engine_apis: true\n"
        "entrypoint: gunicorn --threads 8 gaesignals_worker.main:app\n"
        "env_variables:\n  SIGNALS_RECEIVERS: signals:receivers\n  SIGNALS_LOCATION: us-central1\n"
    ),
    "cron.yaml": "cron:\n- url: /cron/drain\n  schedule: every 24 hours\n  target: worker\n",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one rate: latencies in seconds, calls, and how many lanes the name had when the last was sent."""

    rate: float
    seconds: float
    sent: int
    latencies: list[float]
    task_adds: int
    memcache_calls: int
    lanes: int

    def line(self) -> str:
        ordered = sorted(self.latencies) or [float("nan")]
        middle, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
        return (
            f"| {self.rate:g} | {len(self.latencies)}/{self.sent} | {middle * 1000:.0f} | {late * 1000:.0f} "
            f"| {self.task_adds / self.seconds:.2f} | {self.lanes} | {self.memcache_calls / max(1, self.sent):.1f} |"
        )


@contextlib.contextmanager
def cloud(root: Path, log: Path) -> Iterator[int]:
    """The local cloud with the project in `root`; gives the frontend's port."""
    ports = choose_ports({"--frontend-port": 0, "--worker-port": 0})
    command = [sys.executable, "-m", "devserver", str(root)]
    command += [word for option, port in ports.items() for word in (option, str(port))]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        try:
            _wait(log, process)
            yield ports["--frontend-port"]
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()


def _wait(log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Ready." not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the local cloud did not start:\n{log.read_text()}")
        time.sleep(0.2)


def measure(port: int, rate: float, seconds: float) -> Result:
    """Send at `rate` for so long; return what came of it."""
    body = f"rate={rate}&seconds={seconds}".encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/run", body, timeout=seconds + 60) as answer:
        found = json.load(answer)
    calls = found["calls"]
    return Result(
        rate=rate,
        seconds=seconds,
        sent=found["sent"],
        latencies=found["latencies"],
        task_adds=calls.get("taskqueue", 0),
        memcache_calls=calls.get("memcache", 0),
        lanes=found["lanes"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="for each rate (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "project"
        root.mkdir()
        for name, text in FILES.items():
            (root / name).write_text(text)
        (root / "queue.yaml").write_text((ROOT / "queue.yaml").read_text())
        with cloud(root, Path(directory) / "log") as port:
            print("| " + " | ".join(HEADINGS) + " |")
            print("|---" * len(HEADINGS) + "|")
            for rate in RATES:
                print(measure(port, rate, max(options.seconds, 3 / rate)).line(), flush=True)


if __name__ == "__main__":
    main()
