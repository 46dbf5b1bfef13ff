"""What a process knows of the pages that it sends to: when it need not read them, and how it finds out."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.data import codec
from gaesignals.errors import SendError
from gaesignals.format.keys import page_key, slot_key, slot_of
from gaesignals.format.page import FULL_MESSAGES, Page
from gaesignals.format.slot import Slot
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.known import MAX_BYTES, MAX_KEYS, RECALL_MS, SHUN_MS, Known
from gaesignals.mailbox.look import look
from gaesignals.stores.client import Seen, State
from gaesignals.stores.store import Cas, Check, Outcome, Set
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.testing import Call, ManualClock, MemoryStore

PAGE, SLOT = page_key("a"), slot_key(slot_of("a"))
GETS, WRITE = "gets", "write"
NEIGHBOUR = next(name for name in map("b{}".format, range(10**6)) if slot_of(name) == slot_of("a"))


class World:
    """A store that takes ids, a process that sends to the name `a`, and others."""

    def __init__(self, *, takes_ids: bool = True) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock, takes_ids=takes_ids)
        self.tasks = MemoryTasks(clock=self.clock)
        self.handled: list[object] = []
        self.receivers = Receivers()
        self.receivers.connect("a", self.handled.append, id="a", reliable=True)
        self.box = self.process(1)

    def process(self, seed: int) -> Mailbox:
        return Mailbox(self.store, clock=self.clock, tasks=self.tasks, random=random.Random(seed), sleep=lambda _: None)

    def send(
        self, data: object, *, name: str = "a", box: Mailbox | None = None, signal: Signal[object] | None = None
    ) -> list[str]:
        """Send, and return the verbs of the calls that it took."""
        before = len(self.store.calls)
        with use_mailbox(box or self.box):
            (signal or Signal(name)).send(data)
        return [call.verb for call in self.store.calls[before:]]

    def page(self, lane: int = 0) -> Page:
        value = self.store.raw(page_key("a", lane))
        assert value is not None
        return Page.from_bytes(value)

    def fail_next_write(self) -> None:
        """Let nothing come of the next write, and nobody know that."""

        def hook(call: Call) -> tuple[bytes, ...]:
            if call.verb != WRITE:
                return ()
            self.store.before = None
            return call.keys

        self.store.before = hook

    def deliver(self) -> None:
        """Deliver all that is found by the index alone, as a worker does."""
        names = list(Index(self.process(8)).entries())
        if names:
            deliver(self.receivers, names=names, mailbox=self.process(9))


@pytest.fixture
def world() -> World:
    return World()


def test_a_send_after_a_send_takes_one_call(world: World) -> None:
    assert world.send(1) == [GETS, WRITE]
    assert world.send(2) == [WRITE]
    page, slot = world.store.calls[-1].writes
    assert isinstance(page, Cas)
    assert isinstance(slot, Check)
    assert {page.key, slot.key} == {PAGE, SLOT}
    world.deliver()
    assert world.handled == [1, 2]


def test_a_page_that_it_seals_is_read_and_takes_one_more(world: World) -> None:
    world.send(0)
    calls = [world.send(number) for number in range(1, 2 * FULL_MESSAGES + 1)]
    assert calls.count([WRITE]) == len(calls) - 2
    assert calls.count([GETS, WRITE, WRITE]) == 2
    world.deliver()
    assert world.handled == list(range(2 * FULL_MESSAGES + 1))


def test_several_names_take_one_call_as_well(world: World) -> None:
    pairs = [(name, 1) for name in "abc"]
    with use_mailbox(world.box):
        send_many(pairs)
        before = len(world.store.calls)
        send_many(pairs)
        assert len(world.store.calls) == before + 1
        send_many([*pairs, ("d", 1)])
        assert len(world.store.calls) == before + 3, "what is not known of all is read of all"


def test_memcache_is_read_every_time_and_what_is_known_is_not_decoded_again() -> None:
    world = World(takes_ids=False)
    world.send(1)
    with mock.patch.object(codec, "unseal", wraps=codec.unseal) as unseal:
        assert world.send(2) == [GETS, WRITE]
        assert not unseal.called
        world.send("of another", box=world.process(2))
        world.send(3)
        assert unseal.call_count == 3, "another's page and slot, and what another has written since"
    world.deliver()
    assert world.handled == [1, 2, "of another", 3]


def test_what_somebody_else_has_written_since_is_read(world: World) -> None:
    world.send(1)
    world.send("of another", box=world.process(2))
    assert world.send(2) == [WRITE, GETS, WRITE]
    world.deliver()
    assert world.handled == [1, "of another", 2]


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_a_write_that_went_wrong_everything_is_read(world: World, when: str) -> None:
    """What became of it stands in the page alone."""
    world.send("of another", box=world.process(2))

    def hook(call: Call) -> list[bytes]:
        if call.verb != WRITE:
            return []
        setattr(world.store, when, None)
        return list(call.keys)

    setattr(world.store, when, hook)
    assert world.send(1) == [GETS, WRITE, GETS, WRITE]
    world.deliver()
    assert world.handled == ["of another", 1]


def test_where_others_send_too_is_read_for_a_while(world: World) -> None:
    world.send(1)
    world.send("of another", box=world.process(2))
    world.send(2)
    for _ in range(SHUN_MS // 500):
        assert world.send("more")[0] == GETS
        world.clock.advance(0.5)
    assert world.send("more")[0] == WRITE


def test_a_page_that_is_out_of_date_is_no_loss_that_widens(world: World) -> None:
    """Of two losses in one send the name gets a lane; here the first is none."""
    world.send(1)
    others = [world.process(seed) for seed in (2, 3)]

    def hook(call: Call) -> None:
        if call.verb == WRITE and others:
            world.store.before = None
            world.send("of another", box=others.pop())
            world.store.before = hook

    world.store.before = hook
    world.send(2)
    assert not others
    assert world.page().width == 1
    world.deliver()
    assert len(world.handled) == 4


@pytest.mark.parametrize("key", [PAGE, SLOT])
def test_what_was_evicted_since_is_made_anew(world: World, key: bytes) -> None:
    world.send(1)
    world.store.evict([key])
    world.send(2)
    world.deliver()
    assert world.handled == ([1, 2] if key == SLOT else [2])


def test_a_name_that_was_taken_out_of_its_slot_since_is_listed_again(world: World) -> None:
    world.send(1)
    world.store.write([Set(SLOT, Slot().to_bytes())])
    assert world.send(2)[0] == WRITE
    assert Index(world.box).entries().keys() == {"a"}


def test_a_write_that_is_repeated_is_not_sure_of_the_slot(world: World) -> None:
    """The first time, when it was to be checked, nobody answered."""
    world.send(1)
    world.store.evict([SLOT])
    world.fail_next_write()
    assert world.send(2) == [WRITE, GETS, WRITE, GETS, WRITE]
    assert Index(world.box).entries().keys() == {"a"}


def test_a_slot_that_is_written_for_another_name_is_checked_as_well(world: World) -> None:
    world.send("of another", name=NEIGHBOUR, box=world.process(2))
    world.receivers.connect(NEIGHBOUR, world.handled.append, id="b")
    world.deliver()
    world.store.before = lambda call: call.keys if call.verb == WRITE else ()
    with pytest.raises(SendError):
        world.send("a page where nothing waits is known", name=NEIGHBOUR)
    world.store.before = None
    world.send(1)
    world.store.evict([SLOT])
    with use_mailbox(world.box):
        send_many([("a", 2), (NEIGHBOUR, 2)])
    first = world.store.calls[-3]
    assert SLOT in [write.key for write in first.writes if isinstance(write, Cas)]
    assert first.answers[PAGE] is Outcome.STORED
    assert Index(world.box).entries().keys() == {"a", NEIGHBOUR}


def test_a_page_that_is_out_of_date_is_no_doubt_about_another_name(world: World) -> None:
    with use_mailbox(world.box):
        send_many([("a", 1), (NEIGHBOUR, 1)])
    world.send("of another", name=NEIGHBOUR, box=world.process(2))
    before = len(world.store.calls)
    with use_mailbox(world.box):
        send_many([("a", 2), (NEIGHBOUR, 2)])
    written = [write.key for call in world.store.calls[before:] for write in call.writes if isinstance(write, Cas)]
    assert written == [PAGE, page_key(NEIGHBOUR), page_key(NEIGHBOUR)], "and no slot"


def test_a_reading_is_recalled_for_a_second(world: World) -> None:
    world.send(1)
    world.clock.advance(RECALL_MS / 1000 - 0.1)
    assert world.send(2) == [WRITE]
    world.clock.advance(RECALL_MS / 1000 - 0.1)
    assert world.send(3) == [WRITE], "what was checked is as good as read"
    world.clock.advance(RECALL_MS / 1000)
    assert world.send(4) == [GETS, WRITE]


def test_a_clock_that_is_set_back_ends_it(world: World) -> None:
    world.send(1)
    world.clock.advance(-5)
    assert world.send(2) == [GETS, WRITE]


def test_of_what_only_the_newest_counts_all_is_read(world: World) -> None:
    """What is planned again goes beside older ones, so that the first plan has to be of today."""
    latest = Signal("a", latest=True)
    world.send(1, signal=latest)
    world.send(2, signal=latest, box=world.process(2))
    assert world.send(3, signal=latest) == [GETS, WRITE]
    world.deliver()
    assert world.handled == [3]


def test_for_durable_ones_all_is_read(world: World) -> None:
    """Their tasks are added first, for the page as it is."""
    world.send(1, signal=Signal("a", durable=True))
    assert world.send(2, signal=Signal("a", durable=True)) == [GETS, WRITE]


def test_those_that_wake_the_worker_take_one_call_and_promise_one_task(world: World) -> None:
    waking = Signal("a", wake=5)
    world.send(1, signal=waking)
    assert world.send(2, signal=waking) == [WRITE]
    assert len(world.tasks.waiting(world.box.queues.deliver)) == 1


def test_a_send_on_a_lane_checks_that_the_name_still_has_it(world: World) -> None:
    world.store.write([Set(PAGE, Page("home", width=4, hot_ms=world.box.now_ms()).to_bytes())])
    world.box.lanes.keep("a", 3, world.box.now_ms())
    world.send(1)
    assert world.send(2) == [WRITE]
    assert {type(write) for write in world.store.calls[-1].writes if write.key in (PAGE, SLOT)} == {Check}
    world.store.write([Set(PAGE, Page("home").to_bytes())])
    world.send(3)
    assert world.page().width == 4, "it says again that the name has the lane"
    world.deliver()
    assert sorted(world.handled) == [1, 2, 3]


@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_failed_call_is_no_reason_for_doubt_though_the_page_was_out_of_date(world: World, takes_effect: bool) -> None:
    world.send(1)
    world.send("of another", box=world.process(2))
    failing: list[Callable[[Call], list[bytes]]] = [lambda call: [key for key in call.keys if call.verb == WRITE]]

    def hook(call: Call) -> list[bytes]:
        return failing.pop()(call) if failing and call.verb == WRITE else []

    setattr(world.store, "after" if takes_effect else "before", hook)
    assert world.send(2) == [WRITE, GETS, WRITE]
    world.deliver()
    assert world.handled == [1, "of another", 2]


def test_threads_that_send_to_one_name_lose_nothing(world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(world.send, range(200)))
    while look(world.process(3), ["a"])["a"].waiting:
        world.deliver()
    assert sorted(map(int, world.handled)) == list(range(200))  # type: ignore[call-overload]


def test_few_keys_are_known_and_no_large_ones() -> None:
    known = Known()
    for number in range(10 * MAX_KEYS):
        known.keep(b"%d" % number, b"small", Seen(State.FOUND, 1, b"id"), 0)
        known.shun(b"%d" % number, 0)
    kept = [number for number in range(10 * MAX_KEYS) if known.find(b"%d" % number, b"small")]
    assert 0 < len(kept) <= MAX_KEYS
    assert kept[-1] == 10 * MAX_KEYS - 1
    known.keep(b"key", b"small", Seen(State.FOUND, 1, b"id"), 0)
    known.keep(b"key", bytes(MAX_BYTES + 1), Seen(State.FOUND, 2, b"id"), 0)
    assert known.find(b"key", b"small") is None
    assert known.recall([b"key"], 1) == {}


def test_no_page_is_sealed_that_was_not_read(world: World) -> None:
    """A segment is not compared. After a server went back in time, another may have its key that was sealed since."""
    for number in range(FULL_MESSAGES - 1):
        world.send(number)
    earlier = world.store.raw(PAGE)
    assert earlier is not None
    world.send("forgotten")
    world.store.set_raw(PAGE, earlier)
    others = ["the last of the page", "the one that seals it"]
    for other in others:
        world.send(other, box=world.process(2))
    world.send("after that")
    world.deliver()
    assert world.handled == [*range(FULL_MESSAGES - 1), *others, "after that"]
