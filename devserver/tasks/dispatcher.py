"""Dispatches the tasks of several queues: one thread that waits for the next, and one for each that runs.

A task whose answer is lost runs again: delivery is at least once. Nothing is kept when the process ends.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ..processes.outgoing import Answer
from .queue import QueuedTask, TaskQueue

logger = logging.getLogger(__name__)

# Threads, on one laptop; queues of App Engine may allow more.
MAX_RUNNING = 100

Send = Callable[[QueuedTask, TaskQueue], "tuple[str, Answer]"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One dispatch that ended: where it went, what came of it, and in how many seconds it is tried again, if it is."""

    queue: str
    task_id: str
    number: int
    target: str
    answer: Answer
    took_seconds: float
    again_in_seconds: float | None


class Dispatcher:
    """Runs what is due in `queues` through `send`, telling `report` of each attempt, from `start` to `close`.

    `send` gives the target's name and the answer, and is called in several threads. Whoever touches a queue does it
    inside `changing()`. A `clock` that is set by hand needs a `wake()` after each change.
    """

    def __init__(
        self,
        queues: Mapping[str, TaskQueue],
        send: Send,
        *,
        clock: Callable[[], float],
        report: Callable[[Attempt], None],
    ) -> None:
        self._queues = queues
        self._send = send
        self._clock = clock
        self._report = report
        self._changed = threading.Condition()
        self._is_closed = False
        self._running = 0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Dispatch from now on."""
        self._thread.start()

    def close(self) -> None:
        """Dispatch nothing more; what runs is not waited for."""
        with self.changing():
            self._is_closed = True
        self._thread.join()

    def wake(self) -> None:
        """Look again at what is due."""
        with self.changing():
            pass

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the queues; look again at what is due on leaving."""
        with self._changed:
            yield
            self._changed.notify_all()

    def _run(self) -> None:
        with self._changed:
            while not self._is_closed:
                if not self._start_all_ready():
                    self._changed.wait(self._seconds_to_wait())

    def _start_all_ready(self) -> bool:
        has_started = False
        for queue in self._queues.values():
            while self._running < MAX_RUNNING and (task := queue.take(self._clock())) is not None:
                self._running += 1
                has_started = True
                threading.Thread(target=self._attempt, args=(task, queue), name=task.task_id, daemon=True).start()
        return has_started

    def _seconds_to_wait(self) -> float | None:
        if self._running >= MAX_RUNNING:
            return None
        now = self._clock()
        times = [at for queue in self._queues.values() if (at := queue.ready_at(now)) is not None]
        # A queue that is ready after all must not make this a busy loop.
        return max(0.001, min(times) - now) if times else None

    def _attempt(self, task: QueuedTask, queue: TaskQueue) -> None:
        started_at = self._clock()
        number = task.dispatches
        try:
            target, answer = self._send(task, queue)
        except Exception as error:
            logger.exception("A task could not be sent")
            target, answer = "", Answer(None, f"{type(error).__name__}: {error}")
        with self.changing():
            now = self._clock()
            self._running -= 1
            again_at = queue.finish(task, answer, now=now)
        self._report(
            Attempt(
                queue.settings.name,
                task.task_id,
                number,
                target,
                answer,
                took_seconds=now - started_at,
                again_in_seconds=None if again_at is None else again_at - now,
            )
        )
