"""The command line against the local cloud, each command a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Cloud, wait_until

APP = """
from gaesignals import Receivers

receivers = Receivers()

@receivers.receiver("poison", reliable=True, max_attempts=1)
def fail(data):
    raise ValueError(data)

@receivers.receiver("mine")
def handle(data):
    print("handled", data)

def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]
"""


class Commands:
    """`python -m gaesignals` with a local cloud's worker; a command has to end with `code`."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._url = f"http://localhost:{cloud.port('Worker')}"

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gaesignals", *arguments, "--url", self._url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)


@pytest.fixture
def gaesignals(start: Callable[..., Cloud], tmp_path: Path) -> Commands:
    for name in ("cron.yaml", "queue.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "mine.py").write_text(APP)
    cloud = start("--root", str(tmp_path), "--frontend", "mine:app", "--receivers", "mine:receivers")
    cloud.wait_until_ready()
    return Commands(cloud)


def test_signals_are_sent_paused_drained_and_discarded(gaesignals: Commands) -> None:
    # Paused, so that cron is not first.
    gaesignals("pause", "mine")
    assert gaesignals("send", "mine", "--data", '{"number": 7}').stdout.startswith("sent 1 message to mine: ")
    assert gaesignals("send", "mine", "--count", "250").stdout == "sent 250 messages to mine\n"
    assert gaesignals.json("status")["totals"]["waiting"] == 251
    assert "mine (paused)" in gaesignals("status", "--search", "MINE").stdout
    assert "paused: mine;" in gaesignals("drain", "mine", "--wait", code=1).stderr
    gaesignals("resume", "mine")
    gaesignals("drain", "--wait")
    wait_until(lambda: gaesignals.cloud.has_printed("handled {'number': 7}"))
    wait_until(lambda: gaesignals.json("status")["totals"]["waiting"] == 0)
    gaesignals("pause", "mine")
    gaesignals("send", "mine", "--count", "3")
    assert "give --yes" in gaesignals("discard", "mine", code=2).stderr
    assert gaesignals("discard", "mine", "--yes").stdout == "discarded 3 messages\n"


def test_what_is_handed_to_the_queue_is_delivered_by_a_task(gaesignals: Commands) -> None:
    gaesignals("send", "mine", "--data", '"by task"')
    gaesignals("drain", "mine")
    wait_until(lambda: gaesignals.cloud.has_printed("handled by task"))


def test_dead_letters_are_listed_requeued_and_dropped(gaesignals: Commands) -> None:
    gaesignals("send", "poison", "--data", '"no good"')
    gaesignals("drain", "poison")
    wait_until(lambda: gaesignals.json("dead", "list")["names"] == {"poison": 1})
    assert "ValueError: no good" in gaesignals("dead", "list", "poison").stdout
    (letter,) = gaesignals.json("dead", "list", "poison")["letters"]
    assert gaesignals("dead", "requeue", "poison", letter["id"]).stdout == "requeued 1 dead letter of poison\n"
    gaesignals("drain", "poison")
    wait_until(lambda: gaesignals.json("dead", "list")["names"] == {"poison": 1})
    assert gaesignals("dead", "drop", "poison", "--yes").stdout == "dropped 1 dead letter of poison\n"
    assert gaesignals("dead", "list").stdout == "no dead letters\n"


def test_a_stopped_cloud_is_unreachable(gaesignals: Commands) -> None:
    gaesignals.cloud.interrupt()
    gaesignals.cloud.wait()
    assert "nothing listens there" in gaesignals("status", code=3).stderr
