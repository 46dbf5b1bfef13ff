"""At once: which sends add a task that wakes the worker."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator

import pytest

from gaesignals import Signal, StoreError, deliver, send_many
from gaesignals.errors import InvalidOptionError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox_everywhere
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.tasks.queue import TaskError
from gaesignals.testing import ManualClock, MemoryStore

page_viewed = Signal("page_viewed", wake=True)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tasks(clock: ManualClock) -> MemoryTasks:
    return MemoryTasks(clock=clock)


@pytest.fixture(autouse=True)
def mailbox(clock: ManualClock, tasks: MemoryTasks) -> Iterator[Mailbox]:
    mailbox = Mailbox(MemoryStore(clock=clock), clock=clock, tasks=tasks, random=random.Random(1))
    with use_mailbox_everywhere(mailbox):
        yield mailbox


def woken(tasks: MemoryTasks) -> list[tuple[list[str], float | None]]:
    """The names of each task, and when it is due."""
    return [(json.loads(task.body)["names"], task.due) for task in tasks.added if task.queue == "signals"]


def handle(name: str = "page_viewed") -> int:
    return deliver([(name, lambda data: None)]).delivered


def test_a_name_at_rest_wakes_the_worker_at_once(tasks: MemoryTasks) -> None:
    page_viewed.send(1)
    assert woken(tasks) == [(["page_viewed"], None)]


def test_a_signal_that_does_not_wake_adds_no_task(tasks: MemoryTasks) -> None:
    Signal("a").send(1)
    send_many([("a", 1), (Signal("b", wake=False), 2)])
    assert tasks.calls["add"] == 0


def test_the_second_message_asks_for_a_task_a_second_later_and_no_other_does(
    tasks: MemoryTasks, clock: ManualClock
) -> None:
    first = clock()
    for _ in range(5):
        page_viewed.send(1)
        clock.advance(0.1)
    assert woken(tasks) == [(["page_viewed"], None), (["page_viewed"], first + 1)]


def test_a_busy_name_wakes_once_a_second(tasks: MemoryTasks, clock: ManualClock) -> None:
    for _ in range(300):
        page_viewed.send(1)
        clock.advance(0.0625)
        due = [task.due for task in tasks.added]
        if any(at is None or at <= clock() for at in due[-2:]):
            handle()
    assert len(tasks.added) <= 300 * 0.0625 + 3


def test_a_number_gathers_for_that_long(tasks: MemoryTasks, clock: ManualClock) -> None:
    signal = Signal("a", wake=2.5)
    due = clock() + 2.5
    for _ in range(5):
        signal.send(1)
        clock.advance(0.4)
    assert woken(tasks) == [(["a"], due)]


def test_send_many_adds_in_one_call_a_task_for_each_hundred_names(tasks: MemoryTasks) -> None:
    names = [Signal(f"name_{number}", wake=True) for number in range(250)]
    send_many([(name, 1) for name in names])
    assert tasks.calls["add"] == 1
    assert [len(names) for names, _ in woken(tasks)] == [100, 100, 50]


def test_names_that_do_not_wake_are_left_to_the_fan_out(tasks: MemoryTasks) -> None:
    send_many([(page_viewed, 1), ("quiet", 2)])
    assert woken(tasks) == [(["page_viewed"], None)]


def test_a_template_wakes_the_names_it_makes(tasks: MemoryTasks) -> None:
    Signal("user_{id}_changed", wake=True)(id=7).send()
    assert woken(tasks) == [(["user_7_changed"], None)]


def test_a_queue_that_fails_costs_a_warning_and_nothing_else(
    tasks: MemoryTasks, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(kind: str) -> None:
        raise TaskError("down")

    tasks.before = fail
    assert page_viewed.send(1)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert handle() == 1


@pytest.mark.parametrize("verb", ["gets", "write"])
def test_a_message_that_was_not_stored_wakes_nobody(tasks: MemoryTasks, mailbox: Mailbox, verb: str) -> None:
    assert isinstance(mailbox.store, MemoryStore)
    mailbox.store.before = lambda call: call.keys if call.verb == verb else None
    with pytest.raises(StoreError):
        page_viewed.send(1)
    assert tasks.calls["add"] == 0


def test_the_next_send_makes_up_for_a_sender_that_died_before_its_task(tasks: MemoryTasks, clock: ManualClock) -> None:
    class Killed(BaseException):
        pass

    def kill(kind: str) -> None:
        raise Killed

    tasks.before = kill
    with pytest.raises(Killed):
        page_viewed.send(1)
    tasks.before = None
    died = clock()
    clock.advance(0.5)
    page_viewed.send(2)
    assert woken(tasks) == [(["page_viewed"], died + 1)]


def test_where_promises_were_not_kept_for_a_minute_the_next_send_wakes_again(
    tasks: MemoryTasks, clock: ManualClock
) -> None:
    page_viewed.send(1)
    clock.advance(59)
    page_viewed.send(2)
    assert len(tasks.added) == 1
    clock.advance(10)
    page_viewed.send(3)
    assert len(tasks.added) == 2


def test_a_send_makes_no_call_to_memcache_more(mailbox: Mailbox) -> None:
    assert isinstance(mailbox.store, MemoryStore)
    page_viewed.send(1)
    woke = len(mailbox.store.calls)
    Signal("other").send(1)
    assert len(mailbox.store.calls) == 2 * woke


@pytest.mark.parametrize("wake", [-1, 61, pytest.param(10**400, id="no float"), "1", None, float("nan")])
def test_what_wake_cannot_be_is_an_error(wake: object) -> None:
    with pytest.raises(InvalidOptionError, match="wake="):
        Signal("a", wake=wake)  # type: ignore[call-overload]  # what is tested


def test_what_is_for_later_wakes_when_it_is_brought(tasks: MemoryTasks, mailbox: Mailbox) -> None:
    from gaesignals.mailbox.rescue import rescue

    page_viewed.send(1, delay_seconds=0)
    (queued,) = tasks.due("signals-later")
    assert woken(tasks) == []
    rescue(mailbox, queued.task.body, task=queued.name)
    assert woken(tasks) == [(["page_viewed"], None)]
