"""Waking the worker: tasks that deliver names, at once or when something can be done for them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gaesignals.stores.client import Connection
from gaesignals.tasks.names import tasks_for
from gaesignals.tasks.queue import MAX_TASKS_A_CALL, Task, TaskError, Tasks
from gaesignals.tasks.queues import Queues

logger = logging.getLogger("gaesignals")


class Waker:
    """Adds tasks that deliver names. What is not added costs time alone: the names are in the index."""

    def __init__(self, connection: Connection, tasks: Tasks, queues: Queues) -> None:
        self._connection = connection
        self._tasks = tasks
        self._queues = queues

    def wake(self, due_ms: Mapping[str, int]) -> None:
        """Have each name delivered at its time, all in one call; names of one time share tasks."""
        names: dict[int, list[str]] = {}
        now_ms = self._connection.now_ms()
        for name, at_ms in due_ms.items():
            names.setdefault(max(at_ms, now_ms), []).append(name)
        made = [
            task.task(queue=self._queues.deliver, due=at_ms / 1000 if at_ms > now_ms else None)
            for at_ms, group in names.items()
            for task in tasks_for(group)
        ]
        for start in range(0, len(made), MAX_TASKS_A_CALL):
            self._add(made[start : start + MAX_TASKS_A_CALL])

    def _add(self, tasks: list[Task]) -> None:
        try:
            self._tasks.add(tasks)
        except TaskError as error:
            logger.warning(
                "no task wakes the worker, so its next fan-out delivers",
                extra={"signals_tasks": len(tasks), "signals_error": str(error)},
            )
