"""A queue's own decisions: what runs when, and what becomes of it. Times are plain numbers."""

from __future__ import annotations

import dataclasses

import pytest

from devserver.processes.outgoing import Answer
from devserver.tasks.queue import QueuedTask, TaskExistsError, TaskQueue
from gaesignals.appyaml.queues import QueueSettings
from gaesignals.appyaml.retry_policy import RetryPolicy

NOW = 1_000_000.0
DAY = 86400.0

SETTINGS = QueueSettings(
    name="q",
    rate_per_second=10,
    bucket_size=10,
    max_concurrent_requests=3,
    retry_policy=RetryPolicy(max_retries=2, min_backoff_seconds=10),
)


def make_queue(**changes: object) -> TaskQueue:
    return TaskQueue(dataclasses.replace(SETTINGS, **changes))  # type: ignore[arg-type]


def add(queue: TaskQueue, name: str = "a", *, due_at: float = NOW, now: float = NOW) -> QueuedTask:
    return queue.create(None, name=name, due_at=due_at, now=now)


def taken(queue: TaskQueue, now: float = NOW) -> list[str]:
    names = []
    while (task := queue.take(now)) is not None:
        names.append(task.name)
    return names


def run(queue: TaskQueue, status: int | None, now: float) -> float | None:
    task = queue.take(now)
    assert task is not None
    return queue.finish(task, Answer(status), now=now)


def test_tasks_run_when_they_are_due_and_the_earliest_first() -> None:
    queue = make_queue()
    add(queue, "late", due_at=NOW + 60)
    add(queue, "soon", due_at=NOW + 30)
    assert taken(queue) == []
    assert queue.ready_at(NOW) == NOW + 30
    assert taken(queue, NOW + 60) == ["soon", "late"]


def test_no_more_run_at_once_than_the_queue_allows() -> None:
    queue = make_queue()
    for name in "abcde":
        add(queue, name)
    first = [queue.take(NOW) for _ in range(4)]
    assert first[3] is None
    assert queue.ready_at(NOW) is None
    assert first[0] is not None
    queue.finish(first[0], Answer(200), now=NOW)
    assert taken(queue) == ["d"]


def test_no_more_start_in_a_time_than_the_rate_allows() -> None:
    queue = make_queue(rate_per_second=1, bucket_size=1)
    add(queue, "a")
    add(queue, "b")
    assert taken(queue) == ["a"]
    assert queue.ready_at(NOW) == NOW + 1
    assert taken(queue, NOW + 1) == ["b"]


def test_a_task_that_succeeds_is_gone() -> None:
    queue = make_queue()
    add(queue)
    assert run(queue, 204, NOW) is None
    assert queue.get("a") is None
    assert queue.ready_at(NOW) is None


@pytest.mark.parametrize("status", [None, 199, 301, 404, 429, 500, 503])
def test_a_task_that_fails_runs_again_after_its_backoff(status: int | None) -> None:
    queue = make_queue()
    add(queue)
    assert run(queue, status, NOW) == NOW + 10
    assert taken(queue, NOW + 9.9) == []
    assert run(queue, status, NOW + 10) == NOW + 30


def test_a_task_is_given_up_after_its_retries() -> None:
    queue = make_queue()
    add(queue)
    assert [run(queue, 500, NOW + at) for at in (0, 100, 200)] == [NOW + 10, NOW + 120, None]
    assert len(queue) == 0


def test_age_is_counted_from_the_first_attempt() -> None:
    queue = make_queue(retry_policy=RetryPolicy(max_age_seconds=50, min_backoff_seconds=10))
    add(queue, due_at=NOW + 1000)
    assert run(queue, 500, NOW + 1000) is not None
    assert run(queue, 500, NOW + 1049) is not None
    assert run(queue, 500, NOW + 1090) is None


def test_a_503_slows_the_whole_queue_and_a_429_does_not() -> None:
    for status, waits in ((429, 0.0), (503, 0.2)):
        queue = make_queue()
        add(queue, "a")
        add(queue, "b")
        run(queue, status, NOW)
        assert queue.ready_at(NOW) == pytest.approx(NOW + waits)


def test_a_name_cannot_be_used_twice_not_even_when_the_task_is_done_or_deleted() -> None:
    queue = make_queue()
    add(queue, "done")
    run(queue, 200, NOW)
    add(queue, "deleted")
    queue.delete("deleted", now=NOW)
    add(queue, "waiting")
    for name in ("done", "deleted", "waiting"):
        with pytest.raises(TaskExistsError):
            add(queue, name, now=NOW + 8 * DAY)
    add(queue, "done", now=NOW + 9 * DAY)


def test_a_paused_queue_takes_tasks_in_and_runs_none() -> None:
    queue = make_queue()
    queue.is_paused = True
    add(queue)
    assert taken(queue) == []
    assert queue.ready_at(NOW) is None
    queue.is_paused = False
    assert taken(queue) == ["a"]


def test_a_queue_with_a_rate_of_zero_starts_paused() -> None:
    assert make_queue(rate_per_second=0).is_paused


def test_a_forced_task_runs_before_its_time_beyond_the_rate_and_in_a_paused_queue() -> None:
    queue = make_queue(rate_per_second=0)
    add(queue, due_at=NOW + 1000)
    queue.force("a")
    queue.force("a")
    assert queue.ready_at(NOW) == NOW
    assert taken(queue) == ["a"]


def test_a_forced_task_that_fails_is_scheduled_once() -> None:
    queue = make_queue()
    add(queue, due_at=NOW + 15)
    queue.force("a")
    assert run(queue, 500, NOW) == NOW + 10
    assert taken(queue, NOW + 20) == ["a"]


def test_forcing_a_task_that_is_gone_or_deleted_meanwhile_runs_nothing() -> None:
    queue = make_queue()
    assert queue.force("a") is None
    add(queue)
    queue.force("a")
    queue.delete("a", now=NOW)
    assert taken(queue) == []


def test_a_task_deleted_while_it_runs_does_not_come_back() -> None:
    queue = make_queue()
    add(queue)
    task = queue.take(NOW)
    assert task is not None
    assert queue.delete("a", now=NOW)
    assert queue.finish(task, Answer(500), now=NOW) is None
    assert (len(queue), queue.running, queue.ready_at(NOW)) == (0, 0, None)


def test_purging_takes_out_everything() -> None:
    queue = make_queue()
    for name in "abc":
        add(queue, name)
    assert queue.purge(now=NOW) == 3
    assert taken(queue) == []
    assert queue.purged_at == NOW


def test_names_come_in_order_page_by_page() -> None:
    queue = make_queue()
    for name in "dbac":
        add(queue, name)
    assert list(queue.names_after("", limit=2)) == ["a", "b"]
    assert list(queue.names_after("b", limit=9)) == ["c", "d"]
