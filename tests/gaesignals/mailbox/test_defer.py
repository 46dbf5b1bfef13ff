"""Messages for later and of transactions: what is with tasks, and what memcache gets and when."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from gaesignals import Message, Receivers, SendError, Signal, current_message, deliver, send_many
from gaesignals.errors import InvalidDataError, InvalidOptionError
from gaesignals.format.rescue import Rescue
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox_everywhere
from gaesignals.mailbox.rescue import Answer, rescue
from gaesignals.observing import HandlerCall, Observer
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.tasks.queue import FILLED_BODY_BYTES, TaskError
from gaesignals.testing import ManualClock, MemoryStore

LATER = "signals-later"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tasks(clock: ManualClock) -> MemoryTasks:
    return MemoryTasks(clock=clock)


@pytest.fixture
def mailbox(clock: ManualClock, tasks: MemoryTasks) -> Iterator[Mailbox]:
    with use_mailbox_everywhere(Mailbox(MemoryStore(clock=clock), clock=clock, tasks=tasks)) as mailbox:
        yield mailbox


@pytest.fixture
def store(mailbox: Mailbox) -> MemoryStore:
    assert isinstance(mailbox.store, MemoryStore)
    return mailbox.store


def handled(name: str = "a") -> list[Message]:
    seen: list[Message] = []
    deliver([(name, lambda data: seen.append(current_message()))])
    return seen


def bring(mailbox: Mailbox, tasks: MemoryTasks) -> list[Answer]:
    """Run the tasks that are due."""
    answers = []
    for queued in tasks.due(LATER):
        answers.append(rescue(mailbox, queued.task.body, task=queued.name).answer)
        tasks.finish(queued)
    return answers


def send_the_largest(signal: Signal[Any], **options: Any) -> int:
    """Send as many bytes as the signal takes; return how many."""
    for size in range(FILLED_BODY_BYTES, 0, -1):
        with contextlib.suppress(InvalidDataError):
            signal.send(b"x" * size, **options)
            return size
    raise AssertionError("it takes nothing")


def failing(kind: str) -> None:
    raise TaskError("down")


class TestLater:
    def test_memcache_is_not_touched_before_it_is_due(
        self, mailbox: Mailbox, store: MemoryStore, tasks: MemoryTasks, clock: ManualClock
    ) -> None:
        id_ = Signal("a").send({"n": 1}, delay_seconds=600)
        clock.advance(599)
        assert (bring(mailbox, tasks), store.calls) == ([], [])
        clock.advance(1)
        assert bring(mailbox, tasks) == [Answer.DONE]
        (message,) = handled()
        assert (message.id, message.data) == (id_, {"n": 1})

    def test_at_says_when(self, mailbox: Mailbox, tasks: MemoryTasks, clock: ManualClock) -> None:
        Signal("a").send(at=datetime.fromtimestamp(clock() + 60, timezone.utc))
        assert [queued.task.due for queued in tasks.waiting(LATER)] == [clock() + 60]

    def test_a_time_that_cannot_be_is_an_error_before_anything_is_added(
        self, mailbox: Mailbox, tasks: MemoryTasks, clock: ManualClock
    ) -> None:
        for options in ({"delay_seconds": -1}, {"at": datetime.now(timezone.utc) + timedelta(days=9999)}):
            with pytest.raises(InvalidOptionError):
                Signal("a").send(**options)  # type: ignore[call-overload]  # what is tested
            with pytest.raises(InvalidOptionError):
                send_many([], **options)  # type: ignore[arg-type]
        assert tasks.added == []

    def test_it_was_sent_when_it_was_sent(self, mailbox: Mailbox, tasks: MemoryTasks, clock: ManualClock) -> None:
        before = clock()
        Signal("a").send(delay_seconds=60)
        clock.advance(100)
        bring(mailbox, tasks)
        assert handled()[0].sent_at.timestamp() == before

    def test_its_age_counts_from_when_it_was_due(
        self, mailbox: Mailbox, tasks: MemoryTasks, clock: ManualClock
    ) -> None:
        Signal("a").send(delay_seconds=60)
        ((_, record),) = Rescue.from_bytes(tasks.waiting(LATER)[0].task.body).messages
        assert record.age_from_ms == (clock() + 60) * 1000

    def test_its_wait_counts_from_when_it_was_due(
        self, store: MemoryStore, tasks: MemoryTasks, clock: ManualClock
    ) -> None:
        waited: list[float] = []

        class Listener(Observer):
            def handled(self, call: HandlerCall) -> None:
                waited.extend(call.handling.waited_seconds)

        with use_mailbox_everywhere(Mailbox(store, clock=clock, tasks=tasks, observer=Listener())) as mailbox:
            Signal("a").send(delay_seconds=60)
            clock.advance(63)
            bring(mailbox, tasks)
            handled()
        assert waited == [3]

    def test_many_share_tasks(self, mailbox: Mailbox, tasks: MemoryTasks, clock: ManualClock) -> None:
        ids = send_many([("a", number) for number in range(1000)], delay_seconds=5)
        assert len(tasks.waiting(LATER)) == 2
        clock.advance(5)
        bring(mailbox, tasks)
        assert sorted(message.id for message in handled()) == sorted(ids)

    def test_what_a_task_does_not_hold_is_an_error_that_says_so(self, mailbox: Mailbox, tasks: MemoryTasks) -> None:
        with pytest.raises(InvalidDataError, match=r"a task holds 90,000"):
            send_many([("a", 1), ("a", b"x" * FILLED_BODY_BYTES)], delay_seconds=1)
        assert tasks.added == []

    def test_the_largest_that_a_task_holds_comes_back(
        self, mailbox: Mailbox, tasks: MemoryTasks, clock: ManualClock
    ) -> None:
        """As a durable message it has a task that says more, which has to hold it as well."""
        size = send_the_largest(Signal("a"), delay_seconds=0)
        assert bring(mailbox, tasks) == [Answer.DONE]
        assert [len(message.data) for message in handled()] == [size]

    @pytest.mark.parametrize(("moment", "outcome"), [("before", "failed"), ("after", "unsure")])
    def test_a_queue_that_fails_is_an_error_that_says_what_became_of_it(
        self, mailbox: Mailbox, tasks: MemoryTasks, moment: str, outcome: str
    ) -> None:
        setattr(tasks, moment, failing)
        with pytest.raises(SendError) as caught:
            Signal("a").send(delay_seconds=1)
        assert len(getattr(caught.value, outcome)) == 1

    def test_of_many_those_that_were_added_count_as_stored(self, mailbox: Mailbox, tasks: MemoryTasks) -> None:
        def fail_second(kind: str) -> None:
            if tasks.calls["add"] == 2:
                raise TaskError("down")

        tasks.before = fail_second
        with pytest.raises(SendError) as caught:
            send_many([("a", bytes(80_000)) for _ in range(110)], delay_seconds=1)
        assert (len(caught.value.stored), len(caught.value.failed)) == (100, 10)

    def test_memcache_that_does_not_take_it_has_the_task_come_again(
        self, mailbox: Mailbox, store: MemoryStore, tasks: MemoryTasks
    ) -> None:
        Signal("a").send(delay_seconds=0)
        store.before = lambda call: call.keys
        assert bring(mailbox, tasks) == [Answer.AWAY]

    def test_without_tasks_a_mailbox_says_so(self) -> None:
        with use_mailbox_everywhere(Mailbox(MemoryStore())), pytest.raises(SendError, match=r"tasks=\.\.\."):
            Signal("a").send(delay_seconds=1)


class TestInATransaction:
    def test_messages_come_with_the_commit(self, mailbox: Mailbox, store: MemoryStore, tasks: MemoryTasks) -> None:
        with tasks.transaction():
            id_ = Signal("a").send(1, transactional=True)
            assert (tasks.waiting(LATER), store.calls) == ([], [])
        assert bring(mailbox, tasks) == [Answer.DONE]
        assert [message.id for message in handled()] == [id_]

    def test_a_rollback_leaves_none(self, mailbox: Mailbox, tasks: MemoryTasks) -> None:
        def place(send: Callable[[], str]) -> None:
            with tasks.transaction():
                send()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            place(lambda: Signal("a").send(1, transactional=True))
        assert tasks.added == []

    def test_outside_a_transaction_it_is_an_error(self, mailbox: Mailbox, tasks: MemoryTasks) -> None:
        with pytest.raises(SendError, match="transaction") as caught:
            Signal("a").send(1, transactional=True)
        assert (len(caught.value.failed), tasks.added) == (1, [])

    def test_the_messages_of_one_call_share_a_task(self, mailbox: Mailbox, tasks: MemoryTasks) -> None:
        with tasks.transaction():
            send_many([("a", number) for number in range(50)] + [("b", 1)], transactional=True)
        assert len(tasks.waiting(LATER)) == 1
        bring(mailbox, tasks)
        assert sorted(message.data for message in handled()) == list(range(50))
        assert len(handled("b")) == 1

    def test_large_ones_take_more_of_the_five(self, mailbox: Mailbox, tasks: MemoryTasks) -> None:
        with tasks.transaction():
            send_many([("a", bytes(80_000)) for _ in range(5)], transactional=True)
        assert len(tasks.waiting(LATER)) == 5

    def test_what_needs_more_than_five_is_an_error_before_anything_is_added(
        self, mailbox: Mailbox, tasks: MemoryTasks
    ) -> None:
        with tasks.transaction(), pytest.raises(SendError, match="6 tasks") as caught:
            send_many([("a", bytes(80_000)) for _ in range(6)], transactional=True)
        assert (len(caught.value.failed), tasks.added) == (6, [])

    def test_it_may_be_for_later_as_well(self, mailbox: Mailbox, tasks: MemoryTasks, clock: ManualClock) -> None:
        with tasks.transaction():
            Signal("a").send(1, transactional=True, delay_seconds=60)
        assert [queued.task.due for queued in tasks.waiting(LATER)] == [clock() + 60]


def test_weak_receivers_get_them_too(mailbox: Mailbox, tasks: MemoryTasks) -> None:
    Signal("a").send(1, delay_seconds=0)
    bring(mailbox, tasks)
    seen: list[object] = []
    receivers = Receivers()
    receivers.connect("a", seen.append, id="weak")
    deliver(receivers)
    assert seen == [1]
