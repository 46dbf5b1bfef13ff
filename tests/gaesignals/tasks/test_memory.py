"""Queues in memory: what a test can do to them."""

from __future__ import annotations

import contextlib

import pytest

from gaesignals.tasks.memory import MemoryTasks
from gaesignals.tasks.queue import NoTransactionError, Task, TaskError
from gaesignals.testing import ManualClock

TASK = Task(queue="q", path="/x", body=b"")


def test_what_is_added_with_a_transaction_comes_with_its_end() -> None:
    tasks = MemoryTasks()
    with tasks.transaction():
        assert tasks.add([TASK], transactional=True) == [None]
        assert tasks.waiting("q") == []
    assert len(tasks.waiting("q")) == 1


def test_a_transaction_that_fails_adds_nothing() -> None:
    tasks = MemoryTasks()
    with contextlib.suppress(ZeroDivisionError), tasks.transaction():
        tasks.add([TASK], transactional=True)
        raise ZeroDivisionError
    assert tasks.waiting("q") == []
    with pytest.raises(NoTransactionError):
        tasks.add([TASK], transactional=True)


def test_a_transaction_adds_at_most_five() -> None:
    tasks = MemoryTasks()
    with tasks.transaction():
        tasks.add([TASK] * 4, transactional=True)
        with pytest.raises(TaskError, match="at most 5"):
            tasks.add([TASK] * 2, transactional=True)
    assert len(tasks.waiting("q")) == 4


def test_a_call_may_fail_before_it_takes_effect_or_after() -> None:
    def fail(kind: str) -> None:
        raise TaskError("down")

    tasks = MemoryTasks()
    tasks.before = fail
    with pytest.raises(TaskError) as before:
        tasks.add([TASK])
    assert (tasks.waiting("q"), before.value.unsure) == ([], frozenset())
    tasks.before, tasks.after = None, fail
    with pytest.raises(TaskError) as after:
        tasks.add([TASK])
    assert (len(tasks.waiting("q")), after.value.unsure) == (1, {0})


def test_tasks_are_due_when_their_time_has_come_and_tried_again_when_told() -> None:
    clock = ManualClock()
    tasks = MemoryTasks(clock=clock)
    tasks.add([TASK, Task(queue="q", path="/later", body=b"", due=clock() + 10)])
    (first,) = tasks.due("q")
    tasks.finish(first)
    clock.advance(10)
    (later,) = tasks.due("q")
    tasks.try_again(later, due=clock() + 5)
    assert tasks.due("q") == []
    clock.advance(5)
    assert [each.tries for each in tasks.due("q")] == [1]
    tasks.delete("q", [later.name])
    tasks.try_again(later, due=clock())
    assert tasks.waiting("q") == []
