"""What a task is, and what everybody promises who adds tasks to the queues of queue.yaml.

Senders add theirs through App Engine's bundled queue service, the worker through Cloud Tasks; both fill the same
queues, so a task that one of them added can be deleted by the other. A task's name is the last part of what Cloud Tasks
calls its name, and is chosen by the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gaesignals.errors import SignalsError

DELIVER_PATH: Final = "/tasks/deliver"
RESCUE_PATH: Final = "/tasks/rescue"

MAX_TASKS_A_CALL: Final = 100
MAX_NAMES_A_DELETION: Final = 1000
MAX_TASKS_A_TRANSACTION: Final = 5
# A queue allows a task 100 KB; what surrounds the body counts.
MAX_BODY_BYTES: Final = 100_000
# What is sent fills a body so far at most: a dead letter also says what was wrong with it.
FILLED_BODY_BYTES: Final = 90_000
# A queue takes a task up to thirty days ahead. Clocks differ.
MAX_AHEAD_SECONDS: Final = 29 * 86400.0

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A POST of `body` to `path` of the worker's service, not before `due` (seconds since the epoch; None: at once)."""

    queue: str
    path: str
    body: bytes
    content_type: str = JSON
    due: float | None = None


class TaskError(SignalsError):
    """Not every task was added for certain.

    `added` has the names of those that were, by their place among the tasks; None where the name did not come back.
    `unsure` has the places of those that may have been added. The others were not. `is_missing`: the queue does not
    exist.
    """

    def __init__(
        self,
        reason: str,
        *,
        added: Mapping[int, str | None] | None = None,
        unsure: Collection[int] = (),
        is_missing: bool = False,
    ) -> None:
        super().__init__(reason)
        self.added = dict(added or {})
        self.unsure = frozenset(unsure)
        self.is_missing = is_missing


class NoTransactionError(TaskError):
    """Tasks were to be added with a transaction, and there is none."""


class Tasks(Protocol):
    """Where tasks are added and deleted. Safe in threads."""

    def add(self, tasks: Sequence[Task], *, transactional: bool = False) -> list[str | None]:
        """Add up to 100 `tasks` to one queue in one call; return their names, None where one did not come back.

        With `transactional` they are added by the commit of the transaction of Datastore that is open here, or not at
        all, and have no names yet. Raises `TaskError` unless every one was added for certain.
        """

    def delete(self, queue: str, names: Collection[str]) -> bool:
        """Delete up to 1,000 tasks in one call; True if all of them are certainly gone, as those are that never were.

        One that runs runs to its end, and is not tried again. Never raises because the service fails.
        """


class NoTasks:
    """For a mailbox that was not told who adds its tasks."""

    def add(self, tasks: Sequence[Task], *, transactional: bool = False) -> list[str | None]:
        raise TaskError("this mailbox adds no tasks: make it with Mailbox(..., tasks=...)")

    def delete(self, queue: str, names: Collection[str]) -> bool:
        return not names


def check_tasks(tasks: Sequence[Task]) -> None:
    """Refuse what no queue takes, before a call is made."""
    if len({task.queue for task in tasks}) > 1:
        raise ValueError("tasks of several queues cannot be added in one call")
    if len(tasks) > MAX_TASKS_A_CALL:
        raise TaskError(f"{len(tasks)} tasks cannot be added in one call: {MAX_TASKS_A_CALL} is the most")
    for task in tasks:
        if len(task.body) > MAX_BODY_BYTES:
            raise TaskError(f"a task's body has {len(task.body):,} bytes: {MAX_BODY_BYTES:,} is the most")


def check_names(names: Collection[str]) -> list[str]:
    """The names, each once; refuse more than one call may delete."""
    wanted = list(dict.fromkeys(names))
    if len(wanted) > MAX_NAMES_A_DELETION:
        raise ValueError(f"{len(wanted)} tasks cannot be deleted in one call: {MAX_NAMES_A_DELETION} is the most")
    return wanted
