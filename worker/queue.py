"""The queue of the worker's tasks: names that are to be delivered go into it, and it says whether it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from gaesignals.tasks.cloud_tasks import CloudTasks, QueueState
from gaesignals.tasks.names import MAX_NAMES_A_TASK, MAX_SIBLINGS, tasks_for
from gaesignals.tasks.names import NamesTask as Task
from gaesignals.tasks.queue import DELIVER_PATH, MAX_BODY_BYTES, MAX_TASKS_A_CALL, RESCUE_PATH, TaskError

from .config import Settings, SettingsError

logger = logging.getLogger("gaesignals.worker")

__all__ = [
    "DELIVER_PATH",
    "MAX_BODY_BYTES",
    "MAX_NAMES_A_TASK",
    "MAX_SIBLINGS",
    "RESCUE_PATH",
    "CloudTasksQueue",
    "QueueState",
    "Task",
    "TaskQueue",
    "cloud_tasks",
    "tasks_for",
]


class TaskQueue(Protocol):
    """Where tasks go."""

    def create(self, tasks: Sequence[Task]) -> list[bool]:
        """Ask for all `tasks`; one answer for each: was it certainly accepted?

        Never raises because the service fails: the tasks concerned are answered False, and the cause is in the log.
        """

    def state(self) -> QueueState:
        """Ask whether the queue runs, within about two seconds. Never raises because the service fails."""


def cloud_tasks(settings: Settings) -> CloudTasks:
    """Make the client of the queues of the project and region that the settings name; nothing is connected yet."""
    if not (settings.project and settings.location):
        raise SettingsError("set GOOGLE_CLOUD_PROJECT and SIGNALS_LOCATION: Cloud Tasks needs both")
    return CloudTasks(
        project=settings.project,
        location=settings.location,
        service=settings.service,
        emulator_host=settings.tasks_emulator_host,
    )


class CloudTasksQueue:
    """The queue that the settings name, up to 100 tasks a call. One object serves all threads, and forked processes.

    A task of a queue that does not exist goes into that of the settings instead, to be delivered there.
    """

    def __init__(self, settings: Settings, tasks: CloudTasks | None = None) -> None:
        self._name = settings.queue
        self._tasks = tasks or cloud_tasks(settings)
        self._missing: set[str] = set()

    def create(self, tasks: Sequence[Task]) -> list[bool]:
        accepted = [False] * len(tasks)
        queues: dict[str, list[int]] = {}
        for place, task in enumerate(tasks):
            queues.setdefault(task.queue, []).append(place)
        for places in queues.values():
            for place, is_accepted in zip(places, self._create([tasks[place] for place in places]), strict=False):
                accepted[place] = is_accepted
        return accepted

    def _create(self, tasks: Sequence[Task]) -> list[bool]:
        accepted: list[bool] = []
        for start in range(0, len(tasks), MAX_TASKS_A_CALL):
            batch = self._add(tasks[start : start + MAX_TASKS_A_CALL])
            accepted += batch
            if not any(batch):
                break  # the rest would fare no better, and may take long over it
        return accepted

    def _add(self, tasks: Sequence[Task]) -> list[bool]:
        try:
            self._tasks.add([task.task(queue=self._name) for task in tasks])
        except TaskError as error:
            if error.is_missing and tasks[0].queue:
                self._tell_once(tasks[0].queue)
                return self._add([replace(task, queue="", is_handed_over=True) for task in tasks])
            # What the failed call did is unknown. Asking again later may duplicate tasks, which is harmless.
            return [place in error.added for place in range(len(tasks))]
        return [True] * len(tasks)

    def _tell_once(self, queue: str) -> None:
        if queue not in self._missing:
            self._missing.add(queue)
            logger.error(
                "a receiver's queue does not exist, so its names are delivered by the worker's own",
                extra={"queue": queue, "remedy": "add it to queue.yaml and deploy that, or correct connect(queue=)"},
            )

    def state(self) -> QueueState:
        return self._tasks.state(self._name)

    def close(self) -> None:
        """Close the connection of this process; the next call opens another."""
        self._tasks.close()
