"""One Cloud Tasks queue: what is in it, what may be dispatched now, and what becomes of it then.

It has no thread, no network and no clock of its own: `now` is a parameter, in seconds since the epoch, and whoever
dispatches calls `take` and `finish`. It is not safe in threads.
"""

from __future__ import annotations

import bisect
import collections
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gaesignals.appyaml.queues import QueueSettings

from ..processes.outgoing import Answer
from .token_bucket import TokenBucket

NAME_IS_RESERVED_SECONDS = 9 * 86400.0
MAX_RESERVED_NAMES = 100_000


class TaskExistsError(Exception):
    """A task of that name is in the queue, or was, in the last nine days."""


@dataclass(slots=True, eq=False)
class QueuedTask:
    """A task and what happened to it; `message` is the service's own Task, as it was created."""

    name: str
    message: Any
    created_at: float
    due_at: float
    dispatches: int = 0
    responses: int = 0
    first_dispatch_at: float | None = None
    last_due_at: float = 0.0
    last_dispatch_at: float = 0.0
    last_response_at: float | None = None
    last_status: int | None = None
    is_running: bool = False
    is_forced: bool = False

    @property
    def task_id(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]


class TaskQueue:
    """The tasks of one queue under its settings.

    `is_paused` may be set at any time; `running` tells how many dispatches have not been finished.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self.settings = settings
        self.is_paused = not settings.rate_per_second
        self.purged_at: float | None = None
        self.running = 0
        self._tasks: dict[str, QueuedTask] = {}
        self._names: list[str] = []
        self._reserved: collections.OrderedDict[str, float] = collections.OrderedDict()
        self._waiting: list[tuple[float, int, QueuedTask]] = []
        self._forced: collections.deque[QueuedTask] = collections.deque()
        self._order = itertools.count()
        self._bucket: TokenBucket | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def create(self, message: Any, *, name: str, due_at: float, now: float) -> QueuedTask:
        """Add a task; TaskExistsError if the name was used before."""
        if name in self._tasks or self._reserved.get(name, 0.0) > now:
            raise TaskExistsError(name)
        task = QueuedTask(name, message, created_at=now, due_at=due_at)
        self._tasks[name] = task
        bisect.insort(self._names, name)
        self._schedule(task)
        return task

    def get(self, name: str) -> QueuedTask | None:
        """Return the task, unless it was done, given up or deleted."""
        return self._tasks.get(name)

    def names_after(self, name: str, *, limit: int) -> Sequence[str]:
        """Names in order, from the first that comes after `name`."""
        start = bisect.bisect_right(self._names, name)
        return self._names[start : start + limit]

    def delete(self, name: str, *, now: float) -> bool:
        """Take a task out, running or not; whether it was there. Its name stays reserved."""
        task = self._tasks.pop(name, None)
        if task is None:
            return False
        del self._names[bisect.bisect_left(self._names, name)]
        self._reserve(name, now)
        return True

    def purge(self, *, now: float) -> int:
        """Take all tasks out; how many."""
        count = len(self._names)
        for name in reversed(tuple(self._names)):
            self.delete(name, now=now)
        self.purged_at = now
        return count

    def force(self, name: str) -> QueuedTask | None:
        """Let a task run at once, whatever the rate, its time or a pause; None if it is not in the queue."""
        task = self._tasks.get(name)
        if task is not None and not task.is_running and not task.is_forced:
            task.is_forced = True
            self._forced.append(task)
        return task

    def take(self, now: float) -> QueuedTask | None:
        """Take the next task that may be dispatched at `now`; end it with `finish`."""
        task = self._take_forced() or self._take_due(now)
        if task is None:
            return None
        task.is_running, task.is_forced = True, False
        task.dispatches += 1
        task.last_due_at, task.last_dispatch_at = task.due_at, now
        if task.first_dispatch_at is None:
            task.first_dispatch_at = now
        self.running += 1
        return task

    def ready_at(self, now: float) -> float | None:
        """When `take` may have something if nothing else happens; None if only an event can change that."""
        if self._forced:
            return now
        due_at = self._next_due_at()
        if due_at is None or self._is_held_back:
            return None
        token_at = self._tokens(now).ready_at(now)
        return None if token_at is None else max(due_at, token_at)

    def finish(self, task: QueuedTask, answer: Answer, *, now: float) -> float | None:
        """Enter the outcome of a dispatch; return the time of the next attempt, None if there is none."""
        self.running -= 1
        task.is_running = False
        task.last_status, task.last_response_at = answer.status, now
        if answer.status is not None:
            task.responses += 1
            self._adapt_rate(answer.status, now)
        if self._tasks.get(task.name) is not task:
            return None
        first_dispatch_at = now if task.first_dispatch_at is None else task.first_dispatch_at
        policy = self.settings.retry_policy
        if answer.is_success or policy.gives_up(attempts=task.dispatches, age_seconds=now - first_dispatch_at):
            self.delete(task.name, now=now)
            return None
        task.due_at = now + policy.backoff_seconds(attempts=task.dispatches)
        self._schedule(task)
        return task.due_at

    def _adapt_rate(self, status: int, now: float) -> None:
        # 503 alone is App Engine's word for overload; a 429 of a handler is an ordinary failure.
        if status == 503:
            self._tokens(now).slow_down(now)
        else:
            self._tokens(now).speed_up(now)

    @property
    def _is_held_back(self) -> bool:
        return self.is_paused or self.running >= self.settings.max_concurrent_requests

    def _take_forced(self) -> QueuedTask | None:
        while self._forced:
            task = self._forced.popleft()
            if self._tasks.get(task.name) is task and not task.is_running:
                return task
        return None

    def _take_due(self, now: float) -> QueuedTask | None:
        due_at = self._next_due_at()
        if due_at is None or due_at > now or self._is_held_back or not self._tokens(now).take(now):
            return None
        return heapq.heappop(self._waiting)[2]

    def _next_due_at(self) -> float | None:
        while self._waiting:
            due_at, _, task = self._waiting[0]
            if self._tasks.get(task.name) is task and not task.is_running and task.due_at == due_at:
                return due_at
            # Deleted, or run by force: the heap keeps entries that no longer stand for anything.
            heapq.heappop(self._waiting)
        return None

    def _schedule(self, task: QueuedTask) -> None:
        heapq.heappush(self._waiting, (task.due_at, next(self._order), task))

    def _tokens(self, now: float) -> TokenBucket:
        if self._bucket is None:
            self._bucket = TokenBucket.full(
                rate_per_second=self.settings.rate_per_second, capacity=self.settings.bucket_size, now=now
            )
        return self._bucket

    def _reserve(self, name: str, now: float) -> None:
        self._reserved[name] = now + NAME_IS_RESERVED_SECONDS
        self._reserved.move_to_end(name)
        while len(self._reserved) > MAX_RESERVED_NAMES:
            self._reserved.popitem(last=False)
