"""Only the newest counts: what a send replaces, what it leaves, and what goes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from gaesignals import Receivers, Retry, Signal, deliver, send_many
from gaesignals.errors import InvalidOptionError, StoreError
from gaesignals.format.keys import page_key
from gaesignals.format.page import FULL_MESSAGES, Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox_everywhere
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.look import look
from gaesignals.mailbox.rescue import Answer, rescue
from gaesignals.observing import Observer
from gaesignals.stores.memory import Call
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.testing import ManualClock, MemoryNamespaces, MemoryStore

SAFETY, LATER = "signals-safety", "signals-later"
changed = Signal("user_{id}_changed", latest=True)(id=54)
LARGE = "x" * 5000


@dataclass
class World(Observer):
    """A mailbox, what its handler got, and what was replaced in it."""

    clock: ManualClock = field(default_factory=ManualClock)
    ran: list[object] = field(default_factory=list)
    fails: set[object] = field(default_factory=set)
    replacements: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = MemoryStore(clock=self.clock)
        self.tasks = MemoryTasks(clock=self.clock)
        self.namespaces = MemoryNamespaces()
        self.mailbox = self.box()
        self.receivers = Receivers()
        self.receivers.connect(changed, self._handle, id="it", reliable=True, max_attempts=2, backoff_seconds=1)

    def box(self) -> Mailbox:
        return Mailbox(
            self.store,
            clock=self.clock,
            tasks=self.tasks,
            namespaces=self.namespaces,
            observer=self,
            sleep=lambda _: None,
        )

    def replaced(self, names: Sequence[str]) -> None:
        self.replacements += names

    def called(self, verb: str) -> None:
        self.calls.append(verb)

    def _handle(self, data: object) -> None:
        if data in self.fails:
            raise Retry(after_seconds=30)
        self.ran.append(data)

    def deliver(self) -> list[object]:
        self.ran.clear()
        deliver(self.receivers, names=[changed], mailbox=self.mailbox)
        return self.ran

    def waiting(self) -> int:
        return look(self.mailbox, [changed.name])[changed.name].waiting

    def before_write(self, number: int, act: Callable[[], object]) -> None:
        """Do `act` before the write call of that number takes effect."""
        writes = 0

        def hook(call: Call) -> None:
            nonlocal writes
            writes += call.verb == "write"
            if call.verb == "write" and writes == number:
                self.store.before = None
                act()

        self.store.before = hook

    def run_later(self) -> list[Answer]:
        """Let the queue call the worker for what has no place."""
        answers = []
        for queued in self.tasks.due(LATER):
            answers.append(rescue(self.mailbox, queued.task.body, task=queued.name).answer)
            self.tasks.finish(queued)
        return answers


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def used(world: World) -> object:
    with use_mailbox_everywhere(world.mailbox):
        yield


def test_twenty_sends_are_handled_once_with_the_newest_data(world: World) -> None:
    for number in range(20):
        changed.send(number)

    assert world.waiting() == 1
    assert world.deliver() == [19]
    assert world.replacements == [changed.name] * 19


def test_a_replacement_takes_no_call_more_than_any_send(world: World) -> None:
    changed.send(1)
    world.calls.clear()

    changed.send(2)

    assert world.calls == ["gets", "write"]


def test_what_counts_whatever_comes_later_stays(world: World) -> None:
    plain = Signal(changed.name)
    plain.send("a")
    changed.send("old")
    plain.send("b")
    changed.send("new")

    assert world.deliver() == ["a", "b", "new"]


def test_of_one_call_the_newest_of_each_name_counts(world: World) -> None:
    ids = send_many([(changed, 1), (Signal(changed.name), "plain"), (changed, 2), (changed, 3)])

    assert len(set(ids)) == 4
    assert world.deliver() == ["plain", 3]
    assert world.replacements == [changed.name] * 2


def test_the_body_of_a_large_one_is_deleted_once_it_is_replaced(world: World) -> None:
    changed.send(LARGE)
    before = set(world.store.keys())
    world.calls.clear()

    changed.send("small")

    assert world.calls == ["gets", "write", "delete"]
    assert len(before - set(world.store.keys())) == 1
    assert world.deliver() == ["small"]


def test_a_large_one_replaces_as_well(world: World) -> None:
    changed.send(LARGE)
    changed.send(LARGE + "new")

    assert world.deliver() == [LARGE + "new"]


@pytest.mark.parametrize("data", ["small", LARGE], ids=["inline", "in a body"])
def test_the_task_of_a_durable_one_is_deleted_once_it_is_replaced(world: World, data: str) -> None:
    durable = Signal(changed.name, latest=True, durable=True)
    durable.send(data)
    ((first),) = world.tasks.waiting(SAFETY)

    durable.send("new")

    ((left),) = world.tasks.waiting(SAFETY)
    assert left.name != first.name
    world.store.evict(list(world.store.keys()))
    world.clock.advance(600)
    for queued in world.tasks.due(SAFETY):
        rescue(world.mailbox, queued.task.body, task=queued.name)
    assert world.deliver() == ["new"]


def test_what_is_being_handled_is_not_touched(world: World) -> None:
    seen: list[object] = []

    def handle(data: object) -> None:
        seen.append(data)
        if data == "first":
            changed.send("second")

    receivers = Receivers()
    receivers.connect(changed, handle, reliable=True)
    changed.send("first")
    deliver(receivers, mailbox=world.mailbox)
    deliver(receivers, mailbox=world.mailbox)

    assert seen == ["first", "second"]
    assert world.replacements == []


def test_what_is_to_be_retried_stays_and_may_come_after_a_newer_one(world: World) -> None:
    world.fails = {"old"}
    changed.send("old")
    world.deliver()
    world.fails.clear()

    changed.send("new")

    assert world.deliver() == ["new"]
    world.clock.advance(31)
    assert world.deliver() == ["old"]


def test_who_lost_to_another_sender_goes_beside_its_message(world: World) -> None:
    def newer() -> None:
        with use_mailbox_everywhere(world.box()):
            changed.send("newer")

    changed.send("waiting")
    world.before_write(1, newer)
    changed.send("older")

    assert world.deliver() == ["newer", "older"]
    assert world.replacements == [changed.name]


def test_the_next_one_replaces_what_went_beside(world: World) -> None:
    test_who_lost_to_another_sender_goes_beside_its_message(world)
    world.before_write(1, lambda: changed.send("newer"))
    changed.send("older")

    changed.send("newest")

    assert world.deliver() == ["newest"]


def test_who_stalls_before_the_first_look_does_not_replace_what_was_sent_later(world: World) -> None:
    def stall(call: Call) -> None:
        world.store.before = None
        world.clock.advance(1)
        with use_mailbox_everywhere(world.box()):
            changed.send("newer")

    world.store.before = stall
    changed.send("older")

    assert world.deliver() == ["newer", "older"]


def test_a_full_page_is_sealed_and_not_edited(world: World) -> None:
    plain = Signal(changed.name)
    send_many([(plain, number) for number in range(FULL_MESSAGES - 1)])
    changed.send("sealed")

    changed.send("new")

    assert world.waiting() == FULL_MESSAGES + 1
    assert world.deliver() == [*range(FULL_MESSAGES - 1), "sealed", "new"]


def test_a_stalled_sender_who_seals_overwrites_nothing(world: World) -> None:
    plain = Signal(changed.name)

    def fill() -> None:
        send_many([(plain, number) for number in range(FULL_MESSAGES - 1)])
        changed.send("filling")

    def meanwhile() -> None:
        with use_mailbox_everywhere(world.box()):
            changed.send("newest")
            send_many([(plain, f"later {number}") for number in range(FULL_MESSAGES)])
            plain.send("last")

    fill()
    world.before_write(1, meanwhile)
    plain.send("late")

    assert {"newest", "late", "last", "later 0", "later 15"} <= set(world.deliver())


def test_tenants_do_not_replace_each_other(world: World) -> None:
    for tenant in ("a", "b", "a"):
        with world.namespaces.using(tenant):
            changed.send(tenant)

    assert world.deliver() == ["b", "a"]


def test_a_later_one_goes_beside_what_waits_when_it_comes_due(world: World) -> None:
    changed.send("of an hour ago", delay_seconds=3600)
    world.clock.advance(3600)
    changed.send("of now")

    assert world.run_later() == [Answer.DONE]
    assert world.deliver() == ["of now", "of an hour ago"]


def test_a_later_one_that_came_is_replaced_by_the_next_one(world: World) -> None:
    changed.send("of an hour ago", delay_seconds=3600)
    world.clock.advance(3600)
    world.run_later()
    changed.send("of now")

    assert world.deliver() == ["of now"]
    assert world.tasks.waiting(SAFETY) == []


def test_a_letter_that_is_requeued_goes_beside_what_waits(world: World) -> None:
    world.receivers.connect(changed, lambda data: 1 / 0, id="dies", reliable=True, max_attempts=1)
    changed.send("died")
    world.deliver()
    changed.send("new")

    DeadLetters(world.mailbox).requeue(changed.name)

    assert world.waiting() == 2


def test_nothing_is_deleted_where_the_write_did_not_win(world: World) -> None:
    changed.send(LARGE)
    before = set(world.store.keys())
    world.store.before = lambda call: call.keys if call.verb == "write" else None

    with pytest.raises(StoreError):
        changed.send("not stored")
    world.store.before = None

    assert set(world.store.keys()) == before
    assert world.replacements == []
    assert world.deliver() == [LARGE]


def test_a_write_whose_answer_was_lost_counts_what_it_replaced(world: World) -> None:
    changed.send(LARGE)

    def hook(call: Call) -> object:
        if call.verb == "write":
            world.store.after = None
            return call.keys
        return None

    world.store.after = hook  # type: ignore[assignment]
    changed.send("new")

    assert world.replacements == [changed.name]
    assert world.deliver() == ["new"]


def test_a_name_that_waits_stays_in_the_index_and_wakes_as_before(world: World) -> None:
    waking = Signal(changed.name, latest=True, wake=True)
    waking.send(1)
    assert len(world.tasks.waiting("signals")) == 1

    waking.send(2)

    assert len(world.tasks.waiting("signals")) == 2  # for the second that follows
    raw = world.store.raw(page_key(changed.name))
    assert raw is not None
    assert Page.from_bytes(raw).messages.entries == 1


@pytest.mark.parametrize("latest", [1, "yes", None])
def test_latest_is_yes_or_no(latest: object) -> None:
    with pytest.raises(InvalidOptionError, match="latest="):
        Signal("a", latest=latest)  # type: ignore[call-overload]
