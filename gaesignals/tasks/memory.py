"""Queues in memory, for tests, with the exact semantics of the real ones.

This includes what makes them hard: a call may fail before it took effect or after, a name may not come back, and a task
of a transaction exists only once that is committed.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from .queue import (
    MAX_AHEAD_SECONDS,
    MAX_TASKS_A_TRANSACTION,
    NoTransactionError,
    Task,
    TaskError,
    check_names,
    check_tasks,
)


@dataclass(frozen=True, slots=True)
class QueuedTask:
    """A task in its queue. `tries` counts how often it was tried before."""

    name: str
    task: Task
    tries: int = 0


class MemoryTasks:
    """`queues` in this process's memory, or queues of any name. Safe in threads; a transaction is its thread's.

    `added` lists every task that was ever added, `calls` counts calls of each kind. `before` runs before a call takes
    effect and `after` when it took effect, with its kind, `add` or `delete`: what they raise stands for a service that
    fails, and an exception other than `TaskError` for a process that dies there. Where `hides_names` is True, no name
    comes back. `transaction` opens a transaction; `on_commit` is for those of others: it has a function called by the
    commit of the one that is open here, and says whether there is one.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        queues: Collection[str] | None = None,
        on_commit: Callable[[Callable[[], None]], bool] = lambda add: False,
    ) -> None:
        self.added: list[Task] = []
        self.calls: dict[str, int] = {"add": 0, "delete": 0}
        self.before: Callable[[str], None] | None = None
        self.after: Callable[[str], None] | None = None
        self.hides_names = False
        self._clock = clock
        self._known = queues
        self._on_commit = on_commit
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._queues: dict[str, dict[str, QueuedTask]] = {}
        self._transactions = threading.local()

    def add(self, tasks: Sequence[Task], *, transactional: bool = False) -> list[str | None]:
        check_tasks(tasks)
        for task in tasks:
            if task.due is not None and task.due > self._clock() + MAX_AHEAD_SECONDS + 86400:
                raise TaskError("a task is due more than thirty days ahead")
            if self._known is not None and task.queue not in self._known:
                raise TaskError(f"there is no queue {task.queue!r}", is_missing=True)
        if not tasks:
            return []
        places = range(len(tasks))
        self._call(self.before, "add")
        if transactional:
            self._add_with_transaction(tasks)
            return [None for _ in places]
        names = self._add(tasks)
        try:
            self._call(self.after, "add", counts=False)
        except TaskError as error:
            raise TaskError(str(error), unsure=places) from error
        return [None if self.hides_names else name for name in names]

    def delete(self, queue: str, names: Collection[str]) -> bool:
        wanted = check_names(names)
        if not wanted:
            return True
        try:
            self._call(self.before, "delete")
            with self._lock:
                for name in wanted:
                    self._queues.get(queue, {}).pop(name, None)
            self._call(self.after, "delete", counts=False)
        except TaskError:
            return False
        return True

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Add what is added with a transaction at the end of the block, or nothing of it if the block raises."""
        before, staged = self._staged(), list[Task]()
        self._transactions.staged = staged
        try:
            yield
        finally:
            self._transactions.staged = before
        self._add(staged)

    def waiting(self, queue: str) -> list[QueuedTask]:
        """The tasks of a queue, those that are due first in front."""
        with self._lock:
            return sorted(self._queues.get(queue, {}).values(), key=lambda each: each.task.due or 0.0)

    def count(self, queue: str) -> int | None:
        """How many tasks a queue has."""
        return len(self.waiting(queue))

    def due(self, queue: str) -> list[QueuedTask]:
        """The tasks of a queue whose time has come."""
        now = self._clock()
        return [each for each in self.waiting(queue) if each.task.due is None or each.task.due <= now]

    def finish(self, queued: QueuedTask) -> None:
        """Take a task out that was done."""
        with self._lock:
            self._queues.get(queued.task.queue, {}).pop(queued.name, None)

    def try_again(self, queued: QueuedTask, *, due: float) -> None:
        """Note that a task was tried in vain and is due again then, unless it was deleted meanwhile."""
        with self._lock:
            queue = self._queues.get(queued.task.queue, {})
            if queued.name in queue:
                queue[queued.name] = QueuedTask(queued.name, replace(queued.task, due=due), queued.tries + 1)

    def _call(self, hook: Callable[[str], None] | None, kind: str, *, counts: bool = True) -> None:
        if counts:
            self.calls[kind] += 1
        if hook is not None:
            hook(kind)

    def _add(self, tasks: Sequence[Task]) -> list[str]:
        names = []
        with self._lock:
            for task in tasks:
                name = f"task{next(self._numbers)}"
                self._queues.setdefault(task.queue, {})[name] = QueuedTask(name, task)
                self.added.append(task)
                names.append(name)
        self.on_added(tasks)
        return names

    def on_added(self, tasks: Sequence[Task]) -> None:
        """Called when tasks are in their queues; does nothing here."""

    def _staged(self) -> list[Task] | None:
        return getattr(self._transactions, "staged", None)

    def _add_with_transaction(self, tasks: Sequence[Task]) -> None:
        staged = self._staged()
        if staged is None:
            if not self._on_commit(lambda: self._commit(tasks)):
                raise NoTransactionError("no transaction is open here")
            return
        if len(staged) + len(tasks) > MAX_TASKS_A_TRANSACTION:
            raise TaskError(f"a transaction adds at most {MAX_TASKS_A_TRANSACTION} tasks")
        staged += tasks

    def _commit(self, tasks: Sequence[Task]) -> None:
        self._add(tasks)
