"""What a fleet lives on, in virtual time: a memcache whose calls take time, and Cloud Tasks."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from devserver.processes.outgoing import Answer
from devserver.tasks.queue import QueuedTask
from devserver.tasks.queue import TaskQueue as EmulatedQueue
from gaesignals.appyaml.queues import QueueSettings
from gaesignals.stores.memory import MemoryStore
from gaesignals.stores.store import Outcome, Read, Write
from worker.queue import QueueState, Task

from .timeline import Timeline

AnswerT = TypeVar("AnswerT")


class SlowStore:
    """One process's way to memcache. Half of `call_seconds` passes before a call takes effect, and half after.

    With `random`, each half takes from 0.6 to 1.4 times as long. `calls` counts them.
    """

    def __init__(
        self, memory: MemoryStore, timeline: Timeline, call_seconds: float, random: random.Random | None = None
    ) -> None:
        self._memory = memory
        self._timeline = timeline
        self._half = call_seconds / 2
        self._random = random
        self.limits = memory.limits
        self.calls = 0

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        return self._call(lambda: self._memory.gets(keys))

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        return self._call(lambda: self._memory.write(writes))

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        return self._call(lambda: self._memory.delete(keys))

    def _call(self, call: Callable[[], AnswerT]) -> AnswerT:
        self.calls += 1
        self._pass_half()
        answer = call()
        # Each has the pages that it moved: those of an hour are too many to keep.
        self._memory.calls.clear()
        self._pass_half()
        return answer

    def _pass_half(self) -> None:
        self._timeline.sleep(self._half * (self._random.uniform(0.6, 1.4) if self._random else 1))


class Queue:
    """Cloud Tasks in virtual time, with the emulator's own rate, concurrency and retries.

    `run` is given each task, with how long it waited for its place, and returns an HTTP status; a process that dies
    under it answers 500.
    """

    def __init__(self, timeline: Timeline, settings: QueueSettings, run: Callable[[Task, float], int]) -> None:
        self.created = 0
        self._timeline = timeline
        self._run = run
        self._queue = EmulatedQueue(settings)
        self._next_look: float | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def create(self, tasks: Sequence[Task]) -> list[bool]:
        now = self._timeline()
        for task in tasks:
            self._queue.create(task, name=f"task {self.created}", due_at=now, now=now)
            self.created += 1
        self._dispatch()
        return [True] * len(tasks)

    def state(self) -> QueueState:
        return QueueState.RUNNING

    def _dispatch(self) -> None:
        now = self._timeline()
        while (task := self._queue.take(now)) is not None:
            self._timeline.spawn(lambda task=task: self._attempt(task))
        ready_at = self._queue.ready_at(now)
        if ready_at is not None and (self._next_look is None or ready_at < self._next_look):
            self._next_look = ready_at
            self._timeline.spawn(self._look, after=ready_at - now)

    def _look(self) -> None:
        self._next_look = None
        self._dispatch()

    def _attempt(self, task: QueuedTask) -> None:
        status = 500
        try:
            status = self._run(task.message, self._timeline() - task.last_due_at)
        finally:
            self._queue.finish(task, Answer(status), now=self._timeline())
            self._dispatch()
