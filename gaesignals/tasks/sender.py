"""Who adds a sender's tasks. It is imported when a task is added for the first time: most senders never add one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from gaesignals.errors import InvalidOptionError

from .queue import Task, Tasks

TASKS_VARIABLE: Final = "SIGNALS_TASKS"
APP_ENGINE, CLOUD_TASKS = "app_engine", "cloud_tasks"


class SenderTasks:
    """The tasks of a sender as `environ` describes it, made on first use. Safe in threads.

    Raises `InvalidOptionError` from then on if a variable cannot be used.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._made: Tasks | None = None

    def add(self, tasks: Sequence[Task], *, transactional: bool = False) -> list[str | None]:
        return self._tasks().add(tasks, transactional=transactional)

    def delete(self, queue: str, names: Collection[str]) -> bool:
        return self._tasks().delete(queue, names)

    def _tasks(self) -> Tasks:
        with self._lock:
            if self._made is None:
                self._made = _makers(self._environ)()
            return self._made


def _makers(environ: Mapping[str, str]) -> Callable[[], Tasks]:
    wanted = environ.get(TASKS_VARIABLE, "").strip() or APP_ENGINE
    makers = {APP_ENGINE: lambda: _app_engine(environ), CLOUD_TASKS: lambda: _cloud_tasks(environ)}
    if wanted not in makers:
        raise InvalidOptionError(f"{TASKS_VARIABLE}={wanted!r:.80}: use {APP_ENGINE} or {CLOUD_TASKS}")
    return makers[wanted]


def _service(environ: Mapping[str, str]) -> str:
    return environ.get("SIGNALS_SERVICE", "").strip() or "worker"


def _app_engine(environ: Mapping[str, str]) -> Tasks:
    from .app_engine import AppEngineTasks

    return AppEngineTasks(service=_service(environ))


def _cloud_tasks(environ: Mapping[str, str]) -> Tasks:
    try:
        from .cloud_tasks import CloudTasks
    except ImportError as error:
        raise InvalidOptionError(f"{TASKS_VARIABLE}={CLOUD_TASKS} needs google-cloud-tasks: {error}") from error

    project, location = environ.get("GOOGLE_CLOUD_PROJECT", ""), environ.get("SIGNALS_LOCATION", "")
    if not (project and location):
        raise InvalidOptionError(
            f"{TASKS_VARIABLE}={CLOUD_TASKS} needs GOOGLE_CLOUD_PROJECT, and SIGNALS_LOCATION, the region of the queues"
        )
    return CloudTasks(
        project=project,
        location=location,
        service=_service(environ),
        emulator_host=environ.get("CLOUD_TASKS_EMULATOR_HOST", ""),
    )
