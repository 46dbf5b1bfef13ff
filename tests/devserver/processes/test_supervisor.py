"""Processes that are kept running, and ended; here they are small scripts."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from devserver.processes.child import Child, Command
from devserver.processes.console import Console, print_line
from devserver.processes.supervisor import StartError, StoppedError, Supervisor

from ..conftest import wait_until

ROOT = Path(__file__).parents[3]

WAIT = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"
WITH_LIFELINE = f"from devserver.processes.lifeline import end_with_starter; end_with_starter(); {WAIT}"


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def supervisor(told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr("devserver.processes.supervisor.GRACE_SECONDS", 0.3)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield Supervisor(lambda name, line: told.append((name, line)))
    for number, handler in before.items():
        signal.signal(number, handler)


def script(text: str, name: str = "it") -> Command:
    return Command(name, [sys.executable, "-c", text], dict(os.environ), ROOT)


def test_what_a_process_prints_is_told_line_by_line(supervisor: Supervisor, told: list[tuple[str, str]]) -> None:
    text = "import sys; sys.stdout.buffer.write(b'a\\xff\\n'); print('b', file=sys.stderr, flush=True); input()"
    with supervisor:
        supervisor.start(script(text))
        wait_until(lambda: len(told) == 2)
    assert sorted(told) == [("it", "a\ufffd"), ("it", "b")]


def test_processes_are_ended_the_last_one_first(supervisor: Supervisor, told: list[tuple[str, str]]) -> None:
    text = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit('bye')); print('up', flush=True); "
    with supervisor:
        supervisor.start(script(f"{text} signal.pause()", "first"), script(f"{text} signal.pause()", "second"))
        wait_until(lambda: len(told) == 2)
    assert told[2:] == [("second", "bye"), ("first", "bye")]


def test_a_process_that_ignores_being_asked_is_killed(supervisor: Supervisor, told: list[tuple[str, str]]) -> None:
    with supervisor:
        supervisor.start(script(STUBBORN))
        wait_until(lambda: told)
    assert told[-1] == ("cloud", "it did not end within 0 s and was killed")


def test_a_process_that_ends_is_reported_and_started_again(
    supervisor: Supervisor, told: list[tuple[str, str]], tmp_path: Path
) -> None:
    text = f"""
import pathlib, time
mark = pathlib.Path({str(tmp_path / "mark")!r})
if mark.exists():
    print("again", flush=True)
    time.sleep(600)
mark.touch()
raise SystemExit(7)
"""
    stopper = threading.Thread(target=lambda: (wait_until(lambda: ("it", "again") in told), terminate_this_process()))
    with supervisor:
        supervisor.start(script(text))
        stopper.start()
        supervisor.keep_running()
    stopper.join()
    assert told == [("cloud", "it ended unexpectedly: exit code 7; starting it again in 1 s"), ("it", "again")]


def terminate_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_process_that_ends_before_it_is_ready_stops_the_start(supervisor: Supervisor) -> None:
    with supervisor:
        supervisor.start(script("raise SystemExit(3)"))
        with pytest.raises(StartError, match="it ended before it was ready: exit code 3"):
            supervisor.wait_until(lambda: False, name="it", within_seconds=60)


def test_a_process_that_is_never_ready_stops_the_start(supervisor: Supervisor) -> None:
    with supervisor:
        supervisor.start(script(WAIT))
        with pytest.raises(StartError, match="it takes more than 0 s"):
            supervisor.wait_until(lambda: False, name="it", within_seconds=0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_start(supervisor: Supervisor, number: signal.Signals) -> None:
    with supervisor:
        supervisor.start(script(WAIT))
        os.kill(os.getpid(), number)
        with pytest.raises(StoppedError):
            supervisor.wait_until(lambda: False, name="it", within_seconds=60)


def test_a_process_says_how_it_ended() -> None:
    ended: list[Child] = []
    for text in (WAIT, "raise SystemExit(7)"):
        child = Child(script(text), tell=lambda name, line: None, ended=ended.append)
        if text == WAIT:
            assert child.outcome == "it runs"
            child.terminate()
        assert child.end(within_seconds=30)
    wait_until(lambda: len(ended) == 2)
    assert [child.outcome for child in ended] == ["killed by signal 15", "exit code 7"]


def test_a_process_with_a_lifeline_ends_with_its_starter() -> None:
    starter = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {WITH_LIFELINE!r}], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    with process, process.stdout as output:
        int(output.readline())
        assert output.readline() == "up\n"
        process.kill()
        # The child has the same output: it ends when both have.
        assert output.read() == ""


class TestConsole:
    def test_shows_what_applications_say_so_that_it_acts_on_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        out = io.StringIO()
        console = Console(out, {})
        console.tell("worker", "a\x1b[2Jb\tc\rd\u202ee\x85f")
        console.say("g\nh")
        assert out.getvalue() == "worker   | a\\x1b[2Jb  c\\rd\\u202ee\\x85f\ng\\nh\n"
        print_line("i\x1bj")
        assert capsys.readouterr().out == "i\\x1bj\n"

    def test_puts_the_name_in_front(self) -> None:
        out = io.StringIO()
        Console(out, {}).tell("cron", "a line")
        assert out.getvalue() == "cron     | a line\n"

    def test_has_colours_on_a_terminal_unless_they_are_not_wanted(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        plain, coloured = Terminal(), Terminal()
        Console(plain, {"NO_COLOR": "1"}).tell("cron", "a line")
        Console(coloured, {}).tell("cron", "a line")
        assert "\x1b" not in plain.getvalue()
        assert coloured.getvalue() == "\x1b[35mcron    \x1b[0m | a line\n"

    def test_goes_on_when_nobody_reads(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w", encoding="utf-8") as out:
            console = Console(out, {})
            console.say("a")
            console.say("b")
