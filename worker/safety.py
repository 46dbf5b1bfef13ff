"""How many tasks stand behind messages: those that bring durable ones back, and those of messages for later."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from gaesignals.tasks.queues import Queues

SECONDS = 10.0
UNKNOWN_SECONDS = 60.0


@runtime_checkable
class CountsTasks(Protocol):
    """Queues that can say how many tasks they have."""

    def count(self, queue: str) -> int | None:
        """About how many tasks `queue` has; None if it does not say. Never raises because the service fails."""


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """The tasks of durable messages and dead letters, and those for later; None where the queue does not say."""

    tasks: int | None = None
    later: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"tasks": self.tasks, "later": self.later}


class SafetyCheck:
    """Asks two queues every ten seconds at most, every minute while they do not say. Safe in threads."""

    def __init__(self, counts: object, queues: Queues, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = counts
        self._queues = queues
        self._clock = clock
        self._known = (TaskCounts(), clock())

    def look(self) -> TaskCounts:
        safety, until = self._known
        if self._clock() < until or not isinstance(self._counts, CountsTasks):
            return safety
        tasks = self._counts.count(self._queues.safety)
        # Where one queue does not say, the other one would not, either.
        later = None if tasks is None else self._counts.count(self._queues.later)
        safety = TaskCounts(tasks, later)
        self._known = (safety, self._clock() + (UNKNOWN_SECONDS if tasks is None else SECONDS))
        return safety
