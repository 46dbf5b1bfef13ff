"""A queue that takes tasks as Cloud Tasks does, within its limits, and refuses what a test tells it to refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worker.queue import MAX_NAMES_A_TASK, QueueState, Task

MAX_TASK_BYTES = 100_000


class RecordingQueue:
    """`tasks` are those accepted and not yet taken out, `created` counts all that were ever accepted."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.created = 0
        self.asked = 0
        self.refuse: Callable[[Task], bool] = lambda task: False
        self.current_state = QueueState.RUNNING
        self.asked_for_state = 0

    def create(self, tasks: Sequence[Task]) -> list[bool]:
        self.asked += len(tasks)
        accepted = []
        for task in tasks:
            assert 0 < len(task.names) <= MAX_NAMES_A_TASK
            is_fine = len(task.body()) < MAX_TASK_BYTES and not self.refuse(task)
            if is_fine:
                self.tasks.append(task)
                self.created += 1
            accepted.append(is_fine)
        return accepted

    def state(self) -> QueueState:
        self.asked_for_state += 1
        return self.current_state
