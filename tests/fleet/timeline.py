"""Virtual time: processes sleep, and the clock jumps to whoever wakes first.

Nothing here waits for a real clock: an hour of twenty workers costs what they compute, and no more.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from greenlet import GreenletExit, getcurrent, greenlet

from tests.one_thread import left_as_new


class Killed(GreenletExit):
    """The process died. Not an Exception, so no handler of the library's can swallow it."""


class Process:
    """What runs beside others until it comes to its end or is killed."""

    def __init__(self, run: Callable[[], object], hub: greenlet) -> None:
        self.is_killed = False
        self._thread = greenlet(run, parent=hub)

    def resume(self) -> None:
        """Let it run until it sleeps or ends. What it raises is raised here."""
        if self._thread.dead:
            return
        if self.is_killed:
            self._thread.throw(Killed)
        else:
            self._thread.switch()


class Timeline:
    """A clock in seconds since the epoch, and the processes that live by it. Called, it tells the time."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.current: Process | None = None
        self._hub = getcurrent()
        self._asleep: list[tuple[float, int, Process]] = []
        self._order = itertools.count()

    def __call__(self) -> float:
        return self.now

    def spawn(self, run: Callable[[], object], *, after: float = 0.0) -> Process:
        """Start a process in `after` seconds."""
        process = Process(run, self._hub)
        self._wake(process, after)
        return process

    def sleep(self, seconds: float) -> None:
        """Let the others go on for `seconds`. Outside all processes, as in a test itself, this is what runs them."""
        if self.current is None:
            self.run(until=self.now + seconds)
            return
        if self.current.is_killed:
            raise Killed  # A dead process's clean-up code does nothing.
        if seconds > 0:
            self._wake(self.current, seconds)
            with left_as_new():
                self._hub.switch()

    def kill(self, process: Process) -> None:
        """End a process where it sleeps. Its clean-up code can neither sleep nor call a store."""
        process.is_killed = True
        self._wake(process, 0.0)

    def run(self, *, until: float, unless: Callable[[], bool] = lambda: False) -> None:
        """Run everybody up to `until`, or until `unless` holds, which is asked whenever a process sleeps or ends."""
        while not unless():
            if not self._asleep or self._asleep[0][0] > until:
                self.now = max(self.now, until)
                return
            at, _, process = heapq.heappop(self._asleep)
            self.now = max(self.now, at)
            self.current = process
            try:
                process.resume()
            finally:
                self.current = None

    def _wake(self, process: Process, after: float) -> None:
        heapq.heappush(self._asleep, (self.now + after, next(self._order), process))
