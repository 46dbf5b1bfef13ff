"""Keeps the processes of the local cloud running, and ends them all.

A process that ends by itself is reported and started again, like an instance on App Engine. They are one process group
with this process, so a terminal's Ctrl-C reaches all; this process alone acts on it and ends the others in order, the
last one started first. If it is killed, they end by themselves, see `lifeline`.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .child import Child, Command

GRACE_SECONDS = 8.0
# A process that ran this long was all right; one that did not is started again ever later.
STEADY_SECONDS = 60.0
MAX_DELAY_SECONDS = 30.0


class StartError(Exception):
    """A process ended or said nothing before it was ready."""


class StoppedError(Exception):
    """A person or the system asked for the end."""


@dataclass(slots=True)
class _Kept:
    command: Command
    child: Child
    started_at: float
    delay_seconds: float = 1.0
    restart_at: float | None = None


class Supervisor:
    """Starts processes, and ends all of them on leaving its `with` block, whose thread has to be the main one.

    `tell` is given a name and a line for each event.
    """

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._kept: list[_Kept] = []
        self._ended: queue.SimpleQueue[Child | None] = queue.SimpleQueue()
        self._stopping = threading.Event()

    def __enter__(self) -> Supervisor:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for kept in reversed(self._kept):
            self._end(kept)

    def start(self, *commands: Command) -> None:
        """Start processes, to be kept running from now on."""
        for command in commands:
            self._kept.append(_Kept(command, self._child(command), time.monotonic()))

    def wait_until(self, is_ready: Callable[[], bool], *, name: str, within_seconds: float) -> None:
        """Wait for a process to be ready; StartError if it ends or the time does, StoppedError on Ctrl-C."""
        give_up_at = time.monotonic() + within_seconds
        while not is_ready():
            self._check_running()
            if time.monotonic() > give_up_at:
                raise StartError(f"{name} takes more than {within_seconds:.0f} s")
            self._stopping.wait(0.05)
        # What it waited for may have ended by the same Ctrl-C.
        if self._stopping.is_set():
            raise StoppedError

    def keep_running(self, poll: Callable[[], None] = lambda: None, *, poll_seconds: float | None = None) -> None:
        """Start again what ends, until Ctrl-C or a signal; call `poll` every `poll_seconds` meanwhile."""
        while not self._stopping.is_set():
            try:
                ended = self._ended.get(timeout=self._seconds_to_restart(at_most=poll_seconds))
            except queue.Empty:
                ended = None
            if self._stopping.is_set():
                return
            if ended is not None:
                self._plan_restart(ended)
            self._restart_due()
            poll()

    def runs(self, command: Command) -> bool:
        """Whether exactly this is among what is kept running."""
        return any(kept.command == command for kept in self._kept)

    def load_again(self, command: Command) -> None:
        """Let the process of that name, a gunicorn, load its app again: it keeps its port and answers all requests.

        Where the command is another than before, or there was none, a process is started instead.
        """
        if self.runs(command):
            self._named(command.name).child.hang_up()
        elif any(kept.command.name == command.name for kept in self._kept):
            self.start_again(command)
        else:
            self.start(command)

    def start_again(self, command: Command) -> None:
        """End the process of that name and start this one in its place."""
        kept = self._named(command.name)
        self._end(kept)
        kept.command = command
        self._restart(kept)

    def drop(self, name: str) -> None:
        """End the process of that name for good."""
        kept = self._named(name)
        self._kept.remove(kept)
        self._end(kept)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping.set()
        self._ended.put(None)

    def _child(self, command: Command) -> Child:
        return Child(command, tell=self._tell, ended=self._ended.put)

    def _named(self, name: str) -> _Kept:
        return next(kept for kept in self._kept if kept.command.name == name)

    def _end(self, kept: _Kept) -> None:
        if kept.child.is_running:
            kept.child.terminate()
        if not kept.child.end(within_seconds=GRACE_SECONDS):
            self._tell("cloud", f"{kept.child.name} did not end within {GRACE_SECONDS:.0f} s and was killed")

    def _restart(self, kept: _Kept) -> None:
        kept.child, kept.started_at, kept.restart_at = self._child(kept.command), time.monotonic(), None

    def _check_running(self) -> None:
        if self._stopping.is_set():
            raise StoppedError
        for kept in self._kept:
            if not kept.child.is_running:
                raise StartError(f"{kept.child.name} ended before it was ready: {kept.child.outcome}")

    def _plan_restart(self, ended: Child) -> None:
        now = time.monotonic()
        for kept in self._kept:
            if kept.child is ended:
                if now - kept.started_at >= STEADY_SECONDS:
                    kept.delay_seconds = 1.0
                kept.restart_at = now + kept.delay_seconds
                again = f"starting it again in {kept.delay_seconds:.0f} s"
                self._tell("cloud", f"{ended.name} ended unexpectedly: {ended.outcome}; {again}")
                kept.delay_seconds = min(kept.delay_seconds * 2, MAX_DELAY_SECONDS)

    def _seconds_to_restart(self, *, at_most: float | None) -> float | None:
        now = time.monotonic()
        seconds = [max(0.0, kept.restart_at - now) for kept in self._kept if kept.restart_at is not None]
        return min([*seconds, *([] if at_most is None else [at_most])], default=None)

    def _restart_due(self) -> None:
        for kept in self._kept:
            if kept.restart_at is not None and kept.restart_at <= time.monotonic() and not self._stopping.is_set():
                # What it may have started has to be gone first, or it would still hold the port.
                kept.child.end(within_seconds=GRACE_SECONDS)
                self._restart(kept)
