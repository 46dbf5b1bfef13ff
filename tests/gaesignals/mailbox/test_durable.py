"""Durable messages: what a send adds and stores, and what brings them back."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from gaesignals import Receivers, SendError, Signal, current_message, deliver, send_many
from gaesignals.data import codec
from gaesignals.errors import InvalidDataError, InvalidOptionError, StoreError
from gaesignals.format.keys import bundle_key, dead_key, dead_names_key, dead_names_page_of, marker_key, page_key
from gaesignals.format.page import Page
from gaesignals.format.rescue import Rescue
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox_everywhere
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.dead.bury import restore
from gaesignals.mailbox.discard import discard
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import look
from gaesignals.mailbox.rescue import Answer, rescue
from gaesignals.mailbox.retries import drop, hasten, kill
from gaesignals.stores.memory import Call
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.tasks.queue import FILLED_BODY_BYTES, TaskError
from gaesignals.testing import ManualClock, MemoryStore

SAFETY, LATER = "signals-safety", "signals-later"
order_paid = Signal("order_paid", durable=True)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class World:
    """A mailbox whose parts a test can break, and the worker's side of it."""

    clock: ManualClock = field(default_factory=ManualClock)
    handled: list[object] = field(default_factory=list)
    weakly: list[object] = field(default_factory=list)
    fails: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store = MemoryStore(clock=self.clock)
        self.tasks = MemoryTasks(clock=self.clock)
        self.mailbox = Mailbox(self.store, clock=self.clock, tasks=self.tasks, sleep=lambda _: None)
        self.receivers = Receivers()
        self.receivers.connect("order_paid", self._handle, id="it", reliable=True, backoff_seconds=1)

    def _handle(self, data: object) -> None:
        if data in self.fails:
            raise ValueError(f"no {data}")
        self.handled.append(data)

    def with_weak(self) -> None:
        self.receivers.connect("order_paid", self.weakly.append, id="weak")

    def deliver(self, **options: object) -> int:
        return deliver(self.receivers, mailbox=self.mailbox, **options).delivered  # type: ignore[arg-type]

    def run_tasks(self) -> list[Answer]:
        """Let the queues call the worker for what is due; what is not done comes again in ten minutes."""
        answers = []
        for queue in (LATER, SAFETY):
            for queued in self.tasks.due(queue):
                answer = rescue(self.mailbox, queued.task.body, task=queued.name, tries=queued.tries).answer
                answers.append(answer)
                if answer is Answer.DONE:
                    self.tasks.finish(queued)
                else:
                    self.tasks.try_again(queued, due=self.clock() + 600)
        return answers

    def safety(self) -> list[Rescue]:
        return [Rescue.from_bytes(queued.task.body) for queued in self.tasks.waiting(SAFETY)]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    with use_mailbox_everywhere(world.mailbox):
        yield world


def failing(kind: str) -> None:
    raise TaskError("down")


class TestSend:
    def test_adds_one_task_first_that_says_where_the_message_is_put(self, world: World) -> None:
        calls: list[str] = []
        world.tasks.before = calls.append
        world.store.before = lambda call: calls.append(call.verb)  # type: ignore[func-returns-value]
        id_ = order_paid.send(7)
        assert calls == ["gets", "add", "write"]
        (rescue_,) = world.safety()
        ((name, record),) = rescue_.messages
        page = world.mailbox.read([page_key("order_paid")], Page.from_bytes)[page_key("order_paid")].value
        assert page is not None
        assert (name, record.id) == ("order_paid", id_)
        assert rescue_.place is not None
        assert (rescue_.place.lane, rescue_.place.epoch) == (0, page.epoch)

    def test_its_task_is_due_in_ten_minutes(self, world: World) -> None:
        order_paid.send(7)
        assert [queued.task.due for queued in world.tasks.waiting(SAFETY)] == [world.clock() + 600]

    def test_many_have_a_task_each_a_hundred_a_call(self, world: World) -> None:
        send_many([(order_paid, number) for number in range(250)])
        assert (world.tasks.calls["add"], len(world.safety())) == (3, 250)
        assert world.deliver() == 250

    def test_only_durable_ones_have_a_task(self, world: World) -> None:
        send_many([(order_paid, 1), ("order_paid", 2), ("other", 3)])
        assert [rescue_.messages[0][0] for rescue_ in world.safety()] == ["order_paid"]
        assert world.deliver() == 2

    def test_an_ordinary_send_adds_none(self, world: World) -> None:
        Signal("order_paid").send(1)
        assert world.tasks.calls == {"add": 0, "delete": 0}

    @pytest.mark.parametrize(("moment", "outcome"), [("before", "failed"), ("after", "unsure")])
    def test_without_its_task_nothing_is_stored(self, world: World, moment: str, outcome: str) -> None:
        setattr(world.tasks, moment, failing)
        with pytest.raises(SendError, match="safety task") as caught:
            order_paid.send(7)
        assert len(getattr(caught.value, outcome)) == 1
        assert [call.verb for call in world.store.calls] == ["gets"]

    def test_where_a_later_call_fails_the_tasks_of_earlier_ones_go(self, world: World) -> None:
        def fail_second(kind: str) -> None:
            if kind == "add" and world.tasks.calls["add"] == 2:
                raise TaskError("down")

        world.tasks.before = fail_second
        with pytest.raises(SendError) as caught:
            send_many([(order_paid, number) for number in range(250)])
        assert (len(caught.value.failed), world.tasks.waiting(SAFETY)) == (250, [])

    def test_what_a_task_does_not_hold_is_not_stored(self, world: World) -> None:
        with pytest.raises(InvalidDataError, match="90,000"):
            send_many([(order_paid, 1), (order_paid, bytes(90_000))])
        assert (world.tasks.added, world.store.calls) == ([], [])

    def test_what_durable_cannot_be_is_an_error(self) -> None:
        with pytest.raises(InvalidOptionError, match="durable="):
            Signal("a", durable=1)  # type: ignore[call-overload]  # what is tested


class TestMemcacheThatDoesNotTakeIt:
    def test_leaves_it_to_a_task_that_brings_it(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        world.store.before = lambda call: call.keys if call.verb == "write" else None
        order_paid.send(7)
        assert caplog.records[-1].levelno == logging.WARNING
        assert world.tasks.waiting(SAFETY) == []
        world.store.before = None
        assert world.run_tasks() == [Answer.DONE]
        assert (world.deliver(), world.handled) == (1, [7])

    def test_nor_answers_at_all_leaves_it_to_a_task_as_well(self, world: World) -> None:
        world.store.before = lambda call: call.keys
        send_many([(order_paid, 7), (order_paid, 8)])
        assert world.run_tasks() == [Answer.AWAY, Answer.AWAY]
        world.store.before = None
        world.clock.advance(600)
        assert world.run_tasks() == [Answer.DONE, Answer.DONE]
        assert (world.deliver(), sorted(world.handled)) == (2, [7, 8])  # type: ignore[type-var]

    def test_because_a_later_version_wrote_the_page_waits_for_an_upgrade(self, world: World) -> None:
        world.store.set_raw(page_key("order_paid"), codec.seal(99, []))
        order_paid.send(7)
        assert (world.tasks.waiting(SAFETY), world.run_tasks()) == ([], [Answer.AWAY])
        world.store.evict([page_key("order_paid")])
        world.clock.advance(600)
        assert (world.run_tasks(), world.deliver()) == ([Answer.DONE], 1)

    def test_leaves_those_that_are_not_durable_to_the_caller(self, world: World) -> None:
        world.store.before = lambda call: call.keys
        with pytest.raises(SendError) as caught:
            send_many([(order_paid, 7), ("order_paid", 8), ("other", 9)])
        assert (len(caught.value.stored), len(caught.value.failed)) == (1, 2)

    def test_and_a_queue_that_takes_no_other_task_leave_it_unsure(self, world: World) -> None:
        def fail_writes(call: Call) -> object:
            if call.verb == "write":
                world.tasks.before = failing
                return call.keys
            return None

        world.store.before = fail_writes  # type: ignore[assignment]
        with pytest.raises(SendError) as caught:
            order_paid.send(7)
        assert len(caught.value.unsure) == 1

    def test_an_answer_that_got_lost_does_not_lose_the_message(self, world: World) -> None:
        world.store.after = lambda call: call.keys if call.verb == "write" else None
        with contextlib.suppress(SendError):
            order_paid.send(7)
        world.store.after = None
        world.run_tasks()
        world.deliver()
        assert 7 in world.handled


def test_a_page_that_changed_meanwhile_gets_another_task_and_the_old_one_goes(world: World) -> None:
    def evict(call: Call) -> None:
        if call.verb == "write" and not raced:
            raced.append(True)
            Signal("order_paid").send("rival")

    raced: list[bool] = []
    world.store.before = evict
    order_paid.send(7)
    world.store.before = None
    (rescue_,) = world.safety()
    page = world.mailbox.read([page_key("order_paid")], Page.from_bytes)[page_key("order_paid")].value
    assert page is not None
    assert rescue_.place is not None
    assert rescue_.place.epoch == page.epoch
    assert world.tasks.calls == {"add": 2, "delete": 1}


def test_an_ordinary_conflict_adds_nothing(world: World) -> None:
    Signal("order_paid").send("first")

    def rival(call: Call) -> None:
        if call.verb == "write" and not raced:
            raced.append(True)
            Signal("order_paid").send("rival")

    raced: list[bool] = []
    world.store.before = rival
    order_paid.send(7)
    assert world.tasks.calls == {"add": 1, "delete": 0}


class TestASendSlowerThanItsTask:
    def test_is_brought_once_more(self, world: World) -> None:
        """Its task may have looked before the message was there, and gone."""

        def stall(call: Call) -> None:
            if call.verb == "write" and not stalled:
                stalled.append(True)
                world.clock.advance(700)
                world.run_tasks()

        stalled: list[bool] = []
        Signal("order_paid").send("earlier")
        world.deliver()
        world.store.before = stall
        order_paid.send(7)
        world.store.before = None
        world.store.flush()
        world.run_tasks()
        world.deliver()
        assert 7 in world.handled


class TestRescue:
    def test_brings_what_memcache_forgot(self, world: World) -> None:
        id_ = order_paid.send(7)
        world.store.flush()
        assert world.deliver() == 0
        world.clock.advance(600)
        assert world.run_tasks() == [Answer.DONE]
        ids: list[str] = []
        deliver([("order_paid", lambda data: ids.append(current_message().id))], mailbox=world.mailbox, reliable=True)
        assert ids == [id_]

    def test_leaves_what_still_waits_and_looks_again(self, world: World) -> None:
        order_paid.send(7)
        world.clock.advance(600)
        world.store.calls.clear()
        assert world.run_tasks() == [Answer.KEPT]
        assert [call.verb for call in world.store.calls] == ["gets"]
        world.store.flush()
        world.clock.advance(600)
        assert world.run_tasks() == [Answer.DONE]
        assert world.deliver() == 1

    def test_leaves_what_is_being_handled(self, world: World) -> None:
        answers: list[Answer] = []

        def handle(data: object) -> None:
            world.clock.advance(600)
            answers.extend(world.run_tasks())

        world.receivers = Receivers()
        world.receivers.connect("order_paid", handle, id="it", reliable=True)
        order_paid.send(7)
        assert world.deliver(lease_seconds=3600) == 1
        assert (answers, world.tasks.waiting(SAFETY)) == ([Answer.KEPT], [])

    def test_sees_that_the_name_is_listed(self, world: World) -> None:
        order_paid.send(7)
        world.store.evict(lambda key: key.startswith(b"gs:i:"))
        assert Index(world.mailbox).entries() == {}
        world.clock.advance(600)
        world.run_tasks()
        assert set(Index(world.mailbox).entries()) == {"order_paid"}

    def test_sees_that_the_home_page_has_the_lane(self, world: World) -> None:
        """Without it a delivery would not find what is in the lane."""
        home, now_ms = page_key("order_paid"), world.mailbox.now_ms()
        world.store.set_raw(home, Page("e").heated(1, now_ms).to_bytes())
        world.mailbox.lanes.keep("order_paid", 1, now_ms)
        order_paid.send(7)
        assert world.store.raw(page_key("order_paid", 1)) is not None
        world.store.evict([home])
        assert world.deliver() == 0
        world.clock.advance(600)
        assert world.run_tasks() == [Answer.KEPT]
        assert world.deliver() == 1

    def test_waits_for_memcache_to_answer(self, world: World) -> None:
        order_paid.send(7)
        world.clock.advance(600)
        world.store.before = lambda call: call.keys
        assert world.run_tasks() == [Answer.AWAY]

    def test_of_a_backlog_of_a_thousand_brings_no_more_than_the_segment_that_was_evicted(self, world: World) -> None:
        for number in range(1000):
            order_paid.send(number)
        segments = world.store.evict(lambda key: key.startswith(b"gs:s:") and key.endswith(b":30"))
        assert len(segments) == 1
        world.deliver(max_messages=500)
        for _ in range(2):
            world.clock.advance(600)
            assert set(world.run_tasks()) == {Answer.KEPT}
        while world.deliver():
            pass
        added = len(world.tasks.added)
        # What is brought is in the page as well, so most look once more.
        for _ in range(2):
            world.clock.advance(600)
            world.run_tasks()
            world.deliver()
        assert sorted(world.handled) == list(range(1000))  # type: ignore[type-var]  # data is a number here
        assert 0 < len(world.tasks.added) - added <= 16
        assert world.tasks.waiting(SAFETY) == []

    def test_what_it_brings_has_a_task_of_its_own(self, world: World) -> None:
        order_paid.send(7)
        for _ in range(3):
            world.store.flush()
            world.clock.advance(600)
            world.run_tasks()
        (found,) = world.safety()
        assert found.messages[0][1].brought == 3
        assert world.deliver() == 1

    def test_weak_receivers_do_not_see_what_it_brings(self, world: World) -> None:
        world.with_weak()
        order_paid.send(7)
        world.store.flush()
        world.clock.advance(600)
        world.run_tasks()
        world.deliver()
        assert (world.handled, world.weakly) == ([7], [])

    def test_weak_receivers_see_what_was_for_later(self, world: World) -> None:
        world.with_weak()
        order_paid.send(7, delay_seconds=0)
        world.run_tasks()
        world.deliver()
        assert (world.handled, world.weakly) == ([7], [7])


class TestDelivery:
    def test_deletes_the_task_of_what_is_done_in_one_call(self, world: World) -> None:
        send_many([(order_paid, number) for number in range(10)])
        world.deliver()
        assert (world.tasks.waiting(SAFETY), world.tasks.calls["delete"]) == ([], 1)

    def test_takes_no_call_to_memcache_more(self, world: World) -> None:
        order_paid.send(7)
        world.store.calls.clear()
        world.deliver()
        assert [call.verb for call in world.store.calls] == ["gets", "write", "gets", "write"]

    def test_without_durable_messages_deletes_nothing(self, world: World) -> None:
        Signal("order_paid").send(1)
        world.deliver()
        assert world.tasks.calls["delete"] == 0

    def test_keeps_the_task_of_what_goes_back(self, world: World) -> None:
        world.fails = {7}
        order_paid.send(7)
        world.deliver()
        assert (len(world.safety()), world.tasks.calls["delete"]) == (1, 0)
        world.store.flush()
        world.clock.advance(600)
        world.run_tasks()
        world.fails = set()
        world.deliver()
        assert world.handled == [7]

    def test_leaves_a_marker_where_a_task_cannot_be_deleted(self, world: World) -> None:
        order_paid.send(7)
        world.tasks.before = failing
        world.deliver()
        world.tasks.before = None
        (queued,) = world.tasks.waiting(SAFETY)
        assert world.store.raw(marker_key(queued.name)) is not None
        world.store.evict([page_key("order_paid")])
        world.clock.advance(600)
        assert world.run_tasks() == [Answer.DONE]
        assert (world.deliver(), world.handled) == (0, [7])

    def test_leaves_a_marker_for_a_task_whose_name_did_not_come_back(self, world: World) -> None:
        world.tasks.hides_names = True
        order_paid.send(7)
        world.deliver()
        world.store.evict([page_key("order_paid")])
        world.clock.advance(600)
        assert world.run_tasks() == [Answer.DONE]
        assert (world.deliver(), world.handled) == (0, [7])

    def test_of_one_message_for_two_receivers_one_record_goes_back(self, world: World) -> None:
        for id_ in ("second", "third"):
            world.receivers.connect("order_paid", lambda data: 1 / 0, id=id_, reliable=True, backoff_seconds=1)
        order_paid.send(7)
        world.deliver()
        page = world.mailbox.read([page_key("order_paid")], Page.from_bytes)[page_key("order_paid")].value
        assert page is not None
        assert [ref.count for ref in page.retries] == [1]
        assert (world.tasks.calls["delete"], len(world.safety())) == (0, 1)

    def test_a_weak_one_deletes_tasks_as_well(self, world: World) -> None:
        order_paid.send(7)
        seen: list[object] = []
        deliver([("order_paid", seen.append)], mailbox=world.mailbox)
        assert (seen, world.tasks.waiting(SAFETY)) == ([7], [])

    def test_weak_receivers_alone_are_warned_of_once(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        for number in range(3):
            order_paid.send(number)
            deliver([("order_paid", lambda data: None)], mailbox=world.mailbox)
        assert len([record for record in caplog.records if "weak receivers alone" in record.message]) == 1

    def test_copies_of_a_message_in_one_load_run_once(self, world: World) -> None:
        order_paid.send(7)
        (queued,) = world.tasks.waiting(SAFETY)
        found = Rescue.from_bytes(queued.task.body)
        world.mailbox.send_records([(name, replace(record, safety="")) for name, record in found.messages])
        world.deliver()
        assert world.handled == [7]
        assert world.tasks.waiting(SAFETY) == []

    def test_of_copies_the_one_that_was_brought_last_is_run_for_its_task_is_there(self, world: World) -> None:
        """A backlog that lost something and waits for long is brought again, and the first tasks end with that."""
        world.fails = {7}
        order_paid.send(7)
        (old,) = world.tasks.waiting(SAFETY)
        found = Rescue.from_bytes(old.task.body)
        assert found.place is not None
        lost = replace(found, place=replace(found.place, loss="another"))
        assert rescue(world.mailbox, lost.to_bytes(), task=old.name, tries=3).answer is Answer.DONE
        world.tasks.finish(old)
        world.deliver()
        assert len(world.tasks.waiting(SAFETY)) == 1
        world.store.flush()
        world.fails = set()
        world.clock.advance(600)
        world.run_tasks()
        world.deliver()
        assert world.handled == [7]

    def test_of_copies_the_most_attempts_count_and_weak_receivers_see_what_is_new_to_them(self, world: World) -> None:
        attempts: list[int] = []
        world.with_weak()
        world.receivers.connect(
            "order_paid", lambda data: attempts.append(current_message().attempt), id="other", reliable=True
        )
        order_paid.send(7)
        ((name, record),) = world.safety()[0].messages
        copy = replace(record, safety="", is_resent=True, brought=1)
        world.mailbox.send_records([(name, copy), (name, replace(copy, brought=2))])
        world.deliver()
        assert (world.weakly, world.handled, attempts) == ([7], [7], [1])
        copies = [replace(copy, attempt=attempt, brought=5 - attempt) for attempt in (4, 1)]
        world.mailbox.send_records([(name, copy) for copy in copies])
        world.deliver()
        assert (world.weakly, world.handled, attempts) == ([7], [7, 7], [1, 4])
        assert world.tasks.waiting(SAFETY) == []


class TestDeath:
    def die(self, world: World, data: object = 7) -> None:
        """Let 7, or other data, become a dead letter."""
        world.fails = {data}
        for _ in range(30):
            world.deliver()
            world.clock.advance(4000)
            if DeadLetters(world.mailbox).names():
                return
        raise AssertionError("it does not die")

    def test_the_letter_has_a_task_of_its_own_and_the_message_none_any_more(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        (found,) = world.safety()
        assert (found.is_dead, found.messages[0][0]) == (True, "order_paid")
        (letter,) = DeadLetters(world.mailbox).list("order_paid")
        assert {letter.record.safety} == {queued.name for queued in world.tasks.waiting(SAFETY)}

    def test_its_task_puts_a_forgotten_letter_back_and_tells_nobody(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        world.store.flush()
        world.clock.advance(86400)
        assert world.run_tasks() == [Answer.KEPT]
        (letter,) = DeadLetters(world.mailbox).list("order_paid")
        assert letter.data == 7
        world.clock.advance(600)
        assert world.run_tasks() == [Answer.KEPT]
        assert len(DeadLetters(world.mailbox).list("order_paid")) == 1

    def test_its_task_lists_its_name_again_where_memcache_has_forgotten_the_index_alone(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        world.store.evict([dead_names_key(dead_names_page_of("order_paid"))])
        assert DeadLetters(world.mailbox).names() == {}
        world.clock.advance(86400)
        assert world.run_tasks() == [Answer.KEPT]
        assert DeadLetters(world.mailbox).names() == {"order_paid": 1}
        assert [letter.data for letter in DeadLetters(world.mailbox).list("order_paid")] == [7]

    def test_its_task_puts_back_what_memcache_has_forgotten_of_a_large_one(self, world: World) -> None:
        large = "x" * 5000
        order_paid.send(large)
        self.die(world, large)
        (letter,) = DeadLetters(world.mailbox).peek("order_paid")
        assert letter.body is not None
        world.store.evict([bundle_key(letter.body.key)])
        assert DeadLetters(world.mailbox).requeue("order_paid") == 0
        world.clock.advance(86400)
        world.store.before = lambda call: call.keys if call.verb == "write" else None
        assert world.run_tasks() == [Answer.AWAY]
        world.store.before = None
        for _ in range(2):
            world.clock.advance(600)
            assert world.run_tasks() == [Answer.KEPT]
            assert [letter.data for letter in DeadLetters(world.mailbox).list("order_paid")] == [large]

    def test_a_dropped_letter_has_no_task_any_more(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        DeadLetters(world.mailbox).drop("order_paid")
        assert world.tasks.waiting(SAFETY) == []

    def test_a_dropped_letter_whose_task_could_not_be_deleted_stays_dropped(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        world.tasks.before = failing
        DeadLetters(world.mailbox).drop("order_paid")
        world.tasks.before = None
        world.clock.advance(80_000)
        for queued in world.tasks.waiting(SAFETY):
            answer = rescue(world.mailbox, queued.task.body, task=queued.name).answer
            assert answer is Answer.DONE
        assert DeadLetters(world.mailbox).names() == {}

    def test_a_requeued_letter_is_sent_durably_and_its_old_task_goes(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        world.fails = set()
        DeadLetters(world.mailbox).requeue("order_paid")
        (found,) = world.safety()
        assert not found.is_dead
        world.deliver()
        assert (world.handled, world.tasks.waiting(SAFETY)) == ([7], [])

    def test_of_the_largest_message_has_a_task_with_all_that_is_said_of_it(self, world: World) -> None:
        """What is wrong with it may be long, too. A letter without its task would be tried again without end."""

        def fail(data: object) -> None:
            raise ValueError("€" * 3000)

        world.receivers = Receivers()
        world.receivers.connect("order_paid", fail, id="it" * 100, reliable=True, max_attempts=2)
        size = FILLED_BODY_BYTES
        while not world.tasks.added:
            with contextlib.suppress(InvalidDataError):
                order_paid.send(bytes(size))
            size -= 1
        for _ in range(2):
            world.deliver()
            world.clock.advance(4000)
        assert DeadLetters(world.mailbox).names() == {"order_paid": 1}
        DeadLetters(world.mailbox).requeue("order_paid")
        assert [found.is_dead for found in world.safety()] == [False]

    def test_without_its_task_the_message_goes_back(self, world: World) -> None:
        order_paid.send(7)
        world.fails = {7}
        for _ in range(19):
            world.deliver()
            world.clock.advance(4000)
        before = len(world.safety())
        world.tasks.before = failing
        world.deliver()
        assert DeadLetters(world.mailbox).names() == {}
        world.tasks.before = None
        world.clock.advance(4000)
        world.deliver()
        assert (len(DeadLetters(world.mailbox).list("order_paid")), before) == (1, 1)

    def test_that_memcache_does_not_take_leaves_no_task(self, world: World) -> None:
        """The message goes back, and its letter is not to be put on the page a day later."""
        order_paid.send(7)
        world.fails = {7}
        for _ in range(19):
            world.deliver()
            world.clock.advance(4000)
        dead = dead_key("order_paid")
        world.store.before = lambda call: [key for key in call.keys if key == dead and call.verb == "write"]
        world.deliver()
        assert [found.is_dead for found in world.safety()] == [False]

    def test_a_hundred_and_fifty_letters_churn_nothing_in_thirty_hours(self, world: World) -> None:
        world.receivers = Receivers()
        world.receivers.connect("order_paid", lambda data: 1 / 0, id="it", reliable=True, max_attempts=1)
        for start in range(0, 150, 50):
            send_many([(order_paid, number) for number in range(start, start + 50)])
            world.deliver()
        assert len(world.safety()) == 100
        before = [letter.data for letter in DeadLetters(world.mailbox).list("order_paid")]
        added = len(world.tasks.added)
        for _ in range(30):
            world.clock.advance(3600)
            assert set(world.run_tasks()) <= {Answer.KEPT}
        assert [letter.data for letter in DeadLetters(world.mailbox).list("order_paid")] == before
        assert len(world.tasks.added) == added

    def test_one_put_back_does_not_even_where_the_page_has_just_filled(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        (letter,) = DeadLetters(world.mailbox).peek("order_paid")
        DeadLetters(world.mailbox).drop("order_paid")
        newer = order_paid.send(7)
        self.die(world)
        assert restore(world.mailbox, "order_paid", letter, most=1)
        assert [letter.id for letter in DeadLetters(world.mailbox).list("order_paid")] == [newer]

    def test_one_put_back_pushes_no_other_out(self, world: World) -> None:
        order_paid.send(7)
        self.die(world)
        world.store.flush()
        world.receivers = Receivers()
        world.receivers.connect("order_paid", lambda data: 1 / 0, id="it", reliable=True, max_attempts=1)
        send_many([(order_paid, number) for number in range(100, 200)])
        world.deliver()
        world.clock.advance(90_000)
        world.run_tasks()
        letters = DeadLetters(world.mailbox).list("order_paid")
        assert sorted(letter.data for letter in letters) == list(range(100, 200))


class TestDiscard:
    def test_takes_the_tasks_with_the_messages(self, world: World) -> None:
        send_many([(order_paid, number) for number in range(40)] + [(order_paid, bytes(5000))])
        discard(world.mailbox, ["order_paid"])
        assert world.tasks.waiting(SAFETY) == []

    def test_takes_the_tasks_of_retries_with_it(self, world: World) -> None:
        world.fails = {7}
        order_paid.send(7)
        world.deliver()
        discard(world.mailbox, ["order_paid"])
        assert world.tasks.waiting(SAFETY) == []

    def test_leaves_those_of_leases(self, world: World) -> None:
        def die(data: object) -> None:
            raise Killed

        world.receivers = Receivers()
        world.receivers.connect("order_paid", die, id="it", reliable=True)
        order_paid.send(7)
        with contextlib.suppress(Killed):
            world.deliver()
        discard(world.mailbox, ["order_paid"])
        assert len(world.tasks.waiting(SAFETY)) == 1


class TestRetries:
    """Where a person changes one."""

    @pytest.fixture
    def id_(self, world: World) -> str:
        world.fails = {7, 8}
        (id_, _) = send_many([(order_paid, 7), (order_paid, 8)])
        world.deliver()
        world.fails = set()
        return id_

    def test_one_that_is_run_now_keeps_its_task_until_it_is_done(self, world: World, id_: str) -> None:
        hasten(world.mailbox, "order_paid", [id_])
        assert len(world.tasks.waiting(SAFETY)) == 2
        world.deliver()
        assert world.handled == [7]
        assert len(world.tasks.waiting(SAFETY)) == 1

    def test_one_that_is_run_now_is_not_sent_again_by_its_task(self, world: World, id_: str) -> None:
        world.clock.advance(700)
        hasten(world.mailbox, "order_paid", [id_])
        assert world.run_tasks() == [Answer.KEPT] * 2

    def test_one_that_is_dropped_has_none_any_more(self, world: World, id_: str) -> None:
        drop(world.mailbox, "order_paid", [id_])
        (left,) = world.safety()
        assert left.messages[0][1].id != id_

    def test_one_that_is_dropped_whose_task_cannot_be_deleted_stays_dropped(self, world: World, id_: str) -> None:
        world.tasks.before = lambda kind: failing(kind) if kind == "delete" else None
        drop(world.mailbox, "order_paid", [id_])
        world.tasks.before = None
        world.clock.advance(700)
        assert sorted(answer.name for answer in world.run_tasks()) == ["DONE", "KEPT"]
        world.clock.advance(100)
        world.deliver()
        assert world.handled == [8]

    def test_one_that_is_killed_has_that_of_its_letter_alone(self, world: World, id_: str) -> None:
        kill(world.mailbox, "order_paid", [id_])
        safety = {rescue_.messages[0][1].id: rescue_ for rescue_ in world.safety()}
        assert len(safety) == len(world.tasks.waiting(SAFETY)) == 2
        assert [rescue_.is_dead for rescue_ in safety.values() if rescue_ is safety[id_]] == [True]

    def test_one_that_cannot_have_a_task_for_its_letter_is_to_be_retried_as_before(
        self, world: World, id_: str
    ) -> None:
        world.tasks.before = lambda kind: failing(kind) if kind == "add" else None
        with pytest.raises(StoreError, match="to be retried as before"):
            kill(world.mailbox, "order_paid", [id_])
        world.tasks.before = None
        assert DeadLetters(world.mailbox).names() == {}
        assert look(world.mailbox, ["order_paid"])["order_paid"].retrying == 2
        assert len(world.tasks.waiting(SAFETY)) == 2

    @pytest.mark.parametrize("move", [hasten, drop, kill])
    def test_where_memcache_does_not_store_it_every_task_stays(
        self, world: World, id_: str, move: Callable[..., object]
    ) -> None:
        key = page_key("order_paid")
        world.store.before = lambda call: [each for each in call.keys if call.verb == "write" and each == key]
        with pytest.raises(StoreError):
            move(world.mailbox, "order_paid", [id_])
        world.store.before = None
        safety = [rescue_ for rescue_ in world.safety() if not rescue_.is_dead]
        assert len(safety) == 2


class TestLeases:
    def test_a_delivery_that_lost_its_lease_leaves_the_task_alone(self, world: World) -> None:
        """Whoever took the lease over has had the message go back."""
        nested: list[object] = []

        def handle(data: object) -> None:
            if nested:
                raise ValueError
            nested.append(data)
            world.clock.advance(400)
            deliver(world.receivers, mailbox=world.mailbox)

        world.receivers = Receivers()
        world.receivers.connect("order_paid", handle, id="it", reliable=True)
        order_paid.send(7)
        assert deliver(world.receivers, mailbox=world.mailbox).overtaken == 1
        assert len(world.tasks.waiting(SAFETY)) == 1

    def test_a_takeover_leaves_the_tasks_of_what_an_earlier_one_sent_back(self, world: World) -> None:
        """It cannot know of those before its first position whether they are done."""
        runs: list[object] = []

        def handle(data: object) -> None:
            runs.append(data)
            if len(runs) in (1, 38):
                raise Killed
            if len(runs) < 38:
                raise ValueError

        world.receivers = Receivers()
        # A batch is claimed together, so that there are more failures than a lease notes.
        world.receivers.connect("order_paid", handle, id="it", reliable=True, backoff_seconds=3600, batch=40)
        send_many([(order_paid, number) for number in range(40)])
        for _ in range(3):
            with contextlib.suppress(Killed):
                deliver(world.receivers, mailbox=world.mailbox)
            world.clock.advance(400)
        status = look(world.mailbox, ["order_paid"])["order_paid"]
        assert status.retrying > 0
        assert len(world.tasks.waiting(SAFETY)) >= status.retrying + status.leased + status.waiting


def test_a_rescue_does_not_take_a_silent_memcache_for_one_that_has_forgotten(world: World) -> None:
    order_paid.send(7)
    world.clock.advance(600)
    silent = iter([True])
    world.store.before = lambda call: call.keys if call.verb == "gets" and next(silent, False) else None
    assert world.run_tasks() == [Answer.AWAY]
    assert (world.deliver(), world.handled) == (1, [7])
