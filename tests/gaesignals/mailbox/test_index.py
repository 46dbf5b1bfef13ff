"""The index: fan-out wins names once, settling takes out what is empty, and nothing that waits is forgotten."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence

import pytest

from gaesignals import Receivers, SendError, Signal, StoreError, deliver, send_many, waiting_names
from gaesignals.format.entries import Record
from gaesignals.format.inline import Inline
from gaesignals.format.keys import page_key, slot_key, slot_of
from gaesignals.format.page import EMPTY_TTL_SECONDS, Page
from gaesignals.format.slot import FRESH_MS, Slot
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import FanOut, Index
from gaesignals.stores.store import Outcome, Read, Set, Write
from gaesignals.testing import Call, ManualClock, MemoryStore

pytestmark = pytest.mark.usefixtures("mailbox")


@pytest.fixture
def pending(mailbox: Mailbox) -> Index:
    return Index(mailbox)


@pytest.fixture
def emptied(mailbox: Mailbox, clock: ManualClock) -> str:
    """A name that is empty and still listed, and that nobody has sent to for a moment."""
    Signal("a").send(1)
    deliver([("a", lambda data: None)])
    clock.advance(FRESH_MS / 1000)
    return "a"


def everything(name: str) -> bool:
    return True


def fan_out(pending: Index) -> tuple[str, ...]:
    return pending.fan_out(everything, redispatch_seconds=300).names


def test_what_was_sent_is_dispatched_once_until_the_redispatch_time(pending: Index, clock: ManualClock) -> None:
    send_many([("a", 1), ("b", 2)])
    assert fan_out(pending) == ("a", "b")
    assert fan_out(pending) == ()
    clock.advance(301)
    assert fan_out(pending) == ("a", "b")


def test_a_send_to_an_emptied_name_makes_it_due_at_once(pending: Index) -> None:
    Signal("a").send(1)
    assert fan_out(pending) == ("a",)
    deliver([("a", lambda data: None)])
    Signal("a").send(2)
    assert fan_out(pending) == ("a",)


def test_a_send_beside_waiting_messages_leaves_the_dispatch_alone(pending: Index, clock: ManualClock) -> None:
    Signal("a").send(1)
    clock.advance(FRESH_MS / 1000)
    assert fan_out(pending) == ("a",)
    Signal("a").send(2)
    assert fan_out(pending) == ()


def test_two_overlapping_runs_do_not_dispatch_twice(pending: Index, store: MemoryStore, mailbox: Mailbox) -> None:
    send_many([(f"name {number}", 1) for number in range(50)])
    other: list[str] = []

    def interrupt(call: Call) -> None:
        if call.verb == "write" and not other:
            store.before = None
            other.extend(fan_out(Index(mailbox)))

    store.before = interrupt
    mine = fan_out(pending)
    assert len(other) == 50
    assert mine == ()


def test_a_slot_that_a_sender_changes_meanwhile_is_dispatched_in_the_same_run(
    pending: Index, store: MemoryStore
) -> None:
    Signal("a").send(1)
    deliver([("a", lambda data: None)])

    def interrupt(call: Call) -> None:
        if call.verb == "write":
            store.before = None
            Signal("a").send(2)

    store.before = interrupt
    assert fan_out(pending) == ("a",)


def test_names_that_cloud_tasks_refused_are_due_again(pending: Index) -> None:
    Signal("a").send(1)
    assert fan_out(pending) == ("a",)
    pending.put_back(["a"])
    assert fan_out(pending) == ("a",)


@pytest.mark.parametrize("forced", [Index.fan_out_all, lambda index, _, **how: index.fan_out_named(["a"], **how)])
def test_a_forced_run_pushes_a_name_no_further_each_time(
    pending: Index, clock: ManualClock, forced: Callable[..., FanOut]
) -> None:
    Signal("a").send(1)
    for _ in range(3):
        assert forced(pending, everything, redispatch_seconds=300).names == ("a",)
        assert pending.entries()["a"] == pytest.approx(clock() + 300, abs=1)


def test_a_forced_run_takes_what_is_not_due_and_what_is_not_listed(pending: Index) -> None:
    Signal("a").send(1)
    fan_out(pending)
    assert pending.fan_out_named(["a", "never sent to"], redispatch_seconds=300).names == ("a", "never sent to")


def test_an_emptied_name_leaves_the_index_and_one_that_waits_stays(pending: Index, emptied: str) -> None:
    Signal("b").send(2)
    settled = pending.settle(["a", "b"])
    assert settled.unlisted == ("a",)
    assert set(pending.entries()) == set(settled.remaining) == {"b"}


def test_a_name_with_a_lease_or_retries_is_due_when_something_can_be_done(pending: Index, clock: ManualClock) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda data: 1 / 0, reliable=True, backoff_seconds=100, id="h")
    Signal("a").send(1)
    deliver(receivers)
    due = pending.settle(["a"]).remaining["a"]
    assert clock() <= due <= clock() + 100

    class Died(BaseException):
        pass

    def die(data: object) -> None:
        raise Died

    Signal("b").send(1)
    with pytest.raises(Died):
        deliver([("b", die)], reliable=True, lease_seconds=60)
    assert pending.settle(["b"]).remaining["b"] == pytest.approx(clock() + 70)


def test_a_send_between_the_look_and_the_write_keeps_the_name(pending: Index, store: MemoryStore, emptied: str) -> None:

    def interrupt(call: Call) -> None:
        if call.verb == "write":
            store.before = None
            Signal("a").send(2)

    store.before = interrupt
    pending.settle(["a"])
    assert "a" in pending.entries()


class Died(BaseException):
    """The process is gone."""


def test_a_send_while_settling_looks_keeps_the_name_even_if_settling_dies(
    pending: Index, store: MemoryStore, emptied: str
) -> None:
    calls: list[str] = []

    def interrupt(call: Call) -> None:
        calls.append(call.verb)
        if calls == ["gets", "gets"]:
            store.before = None
            Signal("a").send(2)
            store.before = interrupt
        elif calls == ["gets", "gets", "write", "gets"]:
            raise Died

    store.before = interrupt
    with contextlib.suppress(Died):
        pending.settle(["a"])
    store.before = None
    assert "a" in pending.entries()


def test_a_name_stays_listed_where_the_second_look_fails(pending: Index, store: MemoryStore, emptied: str) -> None:
    def fail_the_next_look(call: Call) -> None:
        if call.verb == "write":
            store.after = None
            store.before = lambda call: [key for key in call.keys if call.verb == "gets" and key == page_key(emptied)]

    store.after = fail_the_next_look
    pending.settle([emptied])
    store.before = None
    assert emptied in pending.entries()


@pytest.mark.parametrize("is_answer_lost", [False, True])
def test_a_send_that_relied_on_one_that_died_before_its_slot_is_found_by_the_second_look(
    pending: Index, store: MemoryStore, emptied: str, mailbox: Mailbox, is_answer_lost: bool
) -> None:

    def interrupt(call: Call) -> None:
        if call.verb == "write":
            store.before = None
            home = mailbox.read([page_key("a")], Page.from_bytes)[page_key("a")]
            assert home.value is not None
            record = Record(mailbox.new_id(), mailbox.now_ms() * 1000, b"")
            mailbox.write([home.replaced_by(page_key("a"), home.value.fill(Inline.of([record]))[0])])
            Signal("a").send(3)
            store.after = lose if is_answer_lost else None

    def lose(call: Call) -> Collection[bytes]:
        store.after = None
        return call.keys

    store.before = interrupt
    assert pending.settle(["a"]).unlisted == ("a",)
    assert "a" in pending.entries()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_name_stays_whose_page_is_written_after_its_slot_in_the_same_call(
    pending: Index, store: MemoryStore, emptied: str, is_listed: bool
) -> None:
    """A call writes many keys and is not one moment; settling comes in between, and may not take the name out."""
    page, slot = page_key("a"), slot_key(slot_of("a"))
    if not is_listed:
        store.evict([slot])

    def divide(call: Call) -> None:
        if call.verb == "write":
            store.before = None
            store.write([write for write in call.writes if write.key == slot])
            assert pending.settle(["a"]).unlisted == ()
            store.write([write for write in call.writes if write.key == page])
            raise Divided

    store.before = divide
    with contextlib.suppress(Divided):
        Signal("a").send(2)
    assert "a" in pending.entries()


def test_a_name_stays_whose_page_is_written_long_after_its_slot_in_the_same_call(
    pending: Index, store: MemoryStore, clock: ManualClock
) -> None:
    """So long that a fan-out, its task and their settling fit in between: the send sees that, and lists it again."""

    def work() -> None:
        assert fan_out(pending) == ("a",)
        assert deliver([("a", lambda data: None)]).is_idle
        assert pending.settle(["a"]).unlisted == ("a",)
        clock.advance(1.1)

    slowly = Mailbox(DividedStore(store, first=slot_key(slot_of("a")), then=work), clock=clock)
    slowly.send([("a", b"\xf6")])
    assert "a" in pending.entries()


def test_a_name_stays_that_is_sent_to_while_it_is_settled_though_the_settler_dies(
    pending: Index, store: MemoryStore, clock: ManualClock, emptied: str
) -> None:
    """It reads the slots first: what it saw there before the send cannot be written any more."""
    reads = 0

    def interrupt(call: Call) -> None:
        nonlocal reads
        reads += call.verb == "gets"
        if reads == 2:
            store.before = None
            Signal(emptied).send(2)
            clock.advance(FRESH_MS / 1000)
            store.after = die

    def die(call: Call) -> None:
        if call.verb == "write":
            raise Divided

    store.before = interrupt
    with contextlib.suppress(Divided):
        pending.settle([emptied])
    store.after = None
    assert emptied in pending.entries()


def test_a_name_whose_page_cannot_be_read_is_not_taken_out(
    pending: Index, store: MemoryStore, clock: ManualClock
) -> None:
    """Not even for a moment: the process may die before its second look."""
    send_many([("a", 1), ("b", 1)])
    clock.advance(FRESH_MS / 1000)

    def die(call: Call) -> None:
        if call.verb == "write":
            raise Divided

    store.before = lambda call: [key for key in call.keys if key == page_key("a")]
    store.after = die
    with contextlib.suppress(StoreError, Divided):
        pending.settle(["a", "b"])
    store.before = store.after = None
    assert set(pending.entries()) == {"a", "b"}


@pytest.mark.parametrize("is_pushed", [False, True])
def test_a_sender_that_read_the_slot_before_the_page_does_not_rely_on_it(
    pending: Index, store: MemoryStore, clock: ManualClock, emptied: str, is_pushed: bool
) -> None:
    """In between the name is taken out, and another sender puts a message in the page that it cannot list."""
    slot = slot_key(slot_of(emptied))
    if is_pushed:
        assert fan_out(pending) == (emptied,)

    def work() -> None:
        assert pending.settle([emptied]).unlisted == (emptied,)
        store.before = lambda call: [slot] if call.verb == "write" else ()
        with pytest.raises(SendError, match="may not be found") as caught:
            Signal(emptied).send("of another sender")
        assert caught.value.unsure
        store.before = None

    slowly = Mailbox(DividedReads(store, first=slot, then=work), clock=clock)
    slowly.send([(emptied, b"\xf6")])
    assert emptied in pending.entries()
    assert deliver([(emptied, lambda data: None)]).delivered == 2


def slot_writes(store: MemoryStore, name: str, sends: int) -> int:
    """How many of so many sends list `name`."""
    calls: list[Call] = []
    store.before = calls.append
    for number in range(sends):
        Signal(name).send(number)
    store.before = None
    return sum(call.verb == "write" and slot_key(slot_of(name)) in call.keys for call in calls)


def test_what_waits_is_listed_once(pending: Index, store: MemoryStore, clock: ManualClock) -> None:
    assert slot_writes(store, "a", 5) == 1
    clock.advance(30)
    assert slot_writes(store, "a", 5) == 0
    assert fan_out(pending) == ("a",)
    assert slot_writes(store, "a", 5) == 0


def test_what_is_pushed_soon_after_it_was_sent_is_listed_once_more(pending: Index, store: MemoryStore) -> None:
    """A name may be taken out as soon as it was pushed, and whoever puts a message in then may have a clock behind."""
    Signal("a").send(1)
    assert fan_out(pending) == ("a",)
    assert slot_writes(store, "a", 5) == 1


@pytest.mark.parametrize("ahead_seconds", [-5, 5, 3600])
def test_a_sender_whose_clock_is_wrong_makes_others_list_its_name_once(
    pending: Index, store: MemoryStore, clock: ManualClock, ahead_seconds: int
) -> None:
    clock.advance(ahead_seconds)
    Signal("a").send(1)
    clock.advance(-ahead_seconds)
    assert slot_writes(store, "a", 5) == (ahead_seconds > 0)
    assert "a" in pending.entries()


class DividedReads:
    """A store that carries out its first read call in two parts, with something in between."""

    def __init__(self, store: MemoryStore, *, first: bytes, then: Callable[[], None]) -> None:
        self._store = store
        self._first = first
        self._then: Callable[[], None] | None = then
        self.write, self.delete, self.limits = store.write, store.delete, store.limits

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        if self._then is None:
            return self._store.gets(keys)
        then, self._then = self._then, None
        reads = dict(self._store.gets([self._first]))
        then()
        return reads | dict(self._store.gets([key for key in keys if key != self._first]))


class DividedStore:
    """A store that carries out its first write call in two parts, with something in between."""

    def __init__(self, store: MemoryStore, *, first: bytes, then: Callable[[], None]) -> None:
        self._store = store
        self._first = first
        self._then: Callable[[], None] | None = then
        self.gets, self.delete, self.limits = store.gets, store.delete, store.limits

    def write(self, writes: Sequence[Write]) -> dict[bytes, Outcome]:
        if self._then is None:
            return dict(self._store.write(writes))
        then, self._then = self._then, None
        outcomes = dict(self._store.write([write for write in writes if write.key == self._first]))
        then()
        return outcomes | dict(self._store.write([write for write in writes if write.key != self._first]))


class Divided(BaseException):
    """The call has been carried out, in two parts."""


def test_a_name_whose_slot_was_evicted_is_listed_again_by_the_next_send(pending: Index, store: MemoryStore) -> None:
    Signal("a").send(1)
    store.delete([slot_key(slot_of("a"))])
    Signal("a").send(2)
    assert "a" in pending.entries()


def test_a_name_whose_slot_another_writer_changes_meanwhile_is_listed_all_the_same(
    pending: Index, store: MemoryStore
) -> None:
    def interrupt(call: Call) -> None:
        if call.verb == "write":
            store.before = None
            store.write([Set(slot_key(slot_of("a")), Slot({"other": 2**41}).to_bytes(), 0)])

    store.before = interrupt
    Signal("a").send(1)
    assert set(pending.entries()) == {"a", "other"}


def test_what_is_sent_between_a_sends_read_and_its_write_arrives_as_well(store: MemoryStore) -> None:
    Signal("a").send(1)

    def interrupt(call: Call) -> None:
        if call.verb == "write":
            store.before = None
            Signal("a").send(2)

    store.before = interrupt
    Signal("a").send(3)
    seen: list[object] = []
    deliver([("a", seen.append)])
    assert seen == [1, 2, 3]


def test_names_without_a_receiver_are_counted_and_settled_when_long_overdue(pending: Index, clock: ManualClock) -> None:
    send_many([("mine", 1), ("gone", 1), ("theirs", 1)])
    deliver([("gone", lambda data: None)])
    found = pending.fan_out(lambda name: name == "mine", redispatch_seconds=300)
    assert (found.names, sorted(found.unmatched)) == (("mine",), ["gone", "theirs"])
    pending.settle_unmatched(found.unmatched)
    assert set(pending.entries()) == {"mine", "gone", "theirs"}
    clock.advance(3700)
    pending.settle_unmatched(found.unmatched)
    assert set(pending.entries()) == {"mine", "theirs"}


def test_a_plain_delivery_settles_what_it_emptied_once_a_minute(
    pending: Index, clock: ManualClock, store: MemoryStore
) -> None:
    for _ in range(3):
        Signal("a").send(1)
        deliver([("a", lambda data: None)])
        assert "a" in pending.entries()
        clock.advance(29)
    deliver([("a", lambda data: None)])
    assert pending.entries() == {}
    calls = len(store.calls)
    deliver([("a", lambda data: None)])
    assert len(store.calls) == calls + 1


def test_an_index_that_cannot_be_read_raises_store_error(pending: Index, store: MemoryStore) -> None:
    store.before = lambda call: call.keys
    for look in (pending.entries, lambda: fan_out(pending), lambda: pending.settle(["a"])):
        with pytest.raises(StoreError):
            look()
    with pytest.raises(StoreError):
        waiting_names(Receivers())


def test_nothing_is_left_behind_by_a_name_that_is_no_longer_used(
    pending: Index, store: MemoryStore, clock: ManualClock
) -> None:
    send_many([(f"user_{number}", b"x" * 3000) for number in range(100)])
    deliver([(f"user_{number}", lambda data: None) for number in range(100)], reliable=True)
    pending.settle([f"user_{number}" for number in range(100)])
    clock.advance(EMPTY_TTL_SECONDS + 1)
    assert not [key for key in store.keys() if not key.startswith(b"gs:i:")]  # noqa: SIM118


def test_what_failed_while_its_name_was_reliable_stays_listed_until_a_delivery_is_reliable_again(
    pending: Index, clock: ManualClock
) -> None:
    seen: list[object] = []

    def handler(data: object) -> None:
        seen.append(data)
        if len(seen) == 1:
            raise RuntimeError

    receivers = {is_reliable: Receivers() for is_reliable in (True, False)}
    for is_reliable, declared in receivers.items():
        declared.connect("a", handler, reliable=is_reliable, id="h")
    Signal("a").send(1)
    deliver(receivers[True])
    for _ in range(3):
        clock.advance(4000)
        assert pending.fan_out(lambda name: True, redispatch_seconds=300).names == ("a",)
        deliver(receivers[False])
        pending.settle(["a"])
    assert seen == [1]
    deliver(receivers[True])
    clock.advance(60)
    assert pending.settle(["a"]).unlisted == ("a",)
    assert seen == [1, 1]


def test_what_failed_while_its_name_was_reliable_leaves_the_index_once_memcache_has_forgotten_it(
    pending: Index, clock: ManualClock, store: MemoryStore
) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda data: 1 / 0, reliable=True, id="h")
    Signal("a").send(1)
    deliver(receivers)
    clock.advance(6.9 * 86400)
    assert pending.settle(["a"]).unlisted == ()
    clock.advance(0.5 * 86400)
    assert pending.settle(["a"]).unlisted == ("a",)
    assert pending.entries() == {}


def test_what_is_old_and_still_there_stays_listed(pending: Index, clock: ManualClock, store: MemoryStore) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda data: 1 / 0, reliable=True, id="h")
    Signal("a").send(1)
    deliver(receivers)
    [bundle] = [key for key in store.keys() if key.startswith(b"gs:b:")]  # noqa: SIM118
    value = store.raw(bundle)
    assert value is not None
    store.set_raw(bundle, value)
    clock.advance(30 * 86400)
    assert pending.settle(["a"]).unlisted == ()


@pytest.mark.parametrize("seconds", [60, 3600, 6 * 86400, 9 * 86400])
def test_a_sender_whose_clock_is_ahead_is_found_within_ten_minutes(
    pending: Index, clock: ManualClock, store: MemoryStore, seconds: int
) -> None:
    Mailbox(store, clock=lambda: clock() + seconds).send([("a", b"\xf6")])
    clock.advance(min(seconds, 0 if seconds > 600 else 600))
    assert fan_out(pending) == ("a",)


def test_a_sender_whose_clock_is_days_ahead_takes_no_neighbour_out(
    pending: Index, clock: ManualClock, store: MemoryStore
) -> None:
    mate = next(name for name in map(str, range(10**6)) if slot_of(name) == slot_of("a"))
    Signal(mate).send(1)
    Mailbox(store, clock=lambda: clock() + 8 * 86400).send([("a", b"\xf6")])
    assert set(pending.entries()) == {"a", mate}


def test_a_fan_out_takes_out_what_nobody_listens_to_for_seven_days(pending: Index, clock: ManualClock) -> None:
    send_many([("mine", 1), ("theirs", 1)])
    clock.advance(7 * 86400 + 1)
    pending.fan_out(lambda name: name == "mine", redispatch_seconds=300)
    assert set(pending.entries()) == {"mine"}


def test_a_name_that_nobody_delivers_is_dispatched_less_and_less(pending: Index, clock: ManualClock) -> None:
    Signal("a").send(1)
    minutes = []
    for minute in range(60):
        if fan_out(pending):
            minutes.append(minute)
        clock.advance(60)
    assert minutes == [0, 6, 17, 38], "a fan-out a minute, and up to a second is added"
    assert pending.fan_out_named(["a"], redispatch_seconds=300).names == ("a",)
    clock.advance(301)
    assert fan_out(pending) == ("a",), "somebody asked for it, so it is waited for as at first"


def test_a_name_that_is_delivered_now_and_then_is_dispatched_as_at_first(pending: Index, clock: ManualClock) -> None:
    for _ in range(4):
        Signal("a").send(1)
        assert fan_out(pending) == ("a",)
        deliver([("a", lambda data: None)], max_messages=1)
        Signal("a").send(1)
        pending.settle(["a"])
        assert fan_out(pending) == ("a",)
        clock.advance(301)
