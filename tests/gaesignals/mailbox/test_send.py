"""Sending: what a send writes, and what it says of what it could not write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import pytest

from gaesignals import SendError, Signal, deliver
from gaesignals.data import codec
from gaesignals.format.entries import Record, refs_of
from gaesignals.format.keys import page_key, slot_key, slot_of
from gaesignals.format.page import EMPTY_TTL_SECONDS, MAX_MARKS, Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import Index
from gaesignals.stores.store import Outcome, Write
from gaesignals.testing import Call, ManualClock, MemoryStore

pytestmark = pytest.mark.usefixtures("mailbox")


def names_in_one_slot(count: int) -> list[str]:
    """Names that the index lists in the same slot."""
    return [name for name in map(str, range(1024 * 20 * count)) if slot_of(name) == 1][:count]


def test_a_name_that_waits_for_days_stays_in_the_index_as_long_as_somebody_sends_to_it(
    mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    """Writers drop what is seven days overdue, and a message of today may be in the mailbox of an old name."""
    name, other = names_in_one_slot(2)
    for _ in range(20):
        Signal(name).send("waits")
        clock.advance(12 * 3600)
    Signal(other).send("drops what is too old")
    assert Index(mailbox).entries().keys() == {name, other}


def test_a_name_that_is_listed_and_waits_costs_no_write_of_its_slot(store: MemoryStore) -> None:
    Signal("a").send(1)
    Signal("a").send(2)
    assert store.calls[-1].keys == (page_key("a"),)


def unsure_until(store: MemoryStore, act: Callable[[], object]) -> None:
    """The first write takes effect and its answer is lost; `act` happens before the sender looks again."""

    def lose(call: Call) -> Collection[bytes] | None:
        if call.verb != "write":
            return None
        store.after = None
        act()
        return call.keys

    store.after = lose


def test_a_send_whose_answer_was_lost_finds_its_message_and_returns(store: MemoryStore) -> None:
    unsure_until(store, lambda: None)
    handled: list[int] = []
    Signal("a").send(1)
    deliver([("a", handled.append)])
    assert handled == [1]


@pytest.mark.parametrize("others", range(0, MAX_MARKS - 1, 7))
def test_a_send_whose_message_was_delivered_before_its_answer_was_missed_finds_its_mark(
    store: MemoryStore, others: int
) -> None:
    handled: list[object] = []

    def act() -> None:
        deliver([("a", handled.append)])
        for _ in range(others):
            Signal("a").send("other")

    unsure_until(store, act)
    Signal("a").send(1)
    deliver([("a", handled.append)])
    assert handled == [1, *["other"] * others]


@pytest.mark.parametrize(("others", "seconds"), [(MAX_MARKS, 0), (0, EMPTY_TTL_SECONDS + 1)])
def test_a_send_of_unknown_outcome_whose_mark_is_gone_does_not_send_its_message_again(
    store: MemoryStore, clock: ManualClock, others: int, seconds: int
) -> None:
    """An emptied page is gone after a while, as if it had never been there."""
    handled: list[object] = []

    def act() -> None:
        deliver([("a", handled.append)])
        for _ in range(others):
            Signal("a").send("other")
        clock.advance(seconds)

    unsure_until(store, act)
    with pytest.raises(SendError, match="1 unknown"):
        Signal("a").send(1)
    deliver([("a", handled.append)])
    assert handled.count(1) == 1


def test_a_send_that_was_carried_out_twice_and_delivered_in_between_does_not_send_its_message_again(
    store: MemoryStore,
) -> None:
    """The answer of the second time says that somebody else was first."""
    handled: list[int] = []
    write = store.write

    def write_twice(writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        store.write = write  # type: ignore[method-assign]
        store.write(writes)
        deliver([("a", handled.append)])
        return store.write(writes)

    store.write = write_twice  # type: ignore[method-assign]
    Signal("a").send(1)
    deliver([("a", handled.append)])
    assert handled == [1]


def test_a_send_that_may_be_stored_does_not_say_that_it_is_not(store: MemoryStore) -> None:
    """Its page was written twice, its slot was not, and then nothing answers: the slot is given up first."""
    write = store.write

    def write_twice(writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        store.before = None
        page = {each.key: Outcome.CONFLICT for each in writes if each.key == page_key("a")}
        write([each for each in writes if each.key in page])
        store.before = lambda call: call.keys
        return {each.key: Outcome.FAILED for each in writes} | page

    store.write = write_twice  # type: ignore[method-assign]
    with pytest.raises(SendError, match="1 unknown"):
        Signal("a").send(1)


def test_a_weak_claim_that_was_carried_out_twice_is_known_though_another_came_in_between(store: MemoryStore) -> None:
    Signal("a").send(1)
    handled: list[int] = []
    write = store.write

    def write_twice(writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        store.write = write  # type: ignore[method-assign]
        store.write(writes)
        Signal("a").send(2)
        deliver([("a", handled.append)])
        return store.write(writes)

    store.write = write_twice  # type: ignore[method-assign]
    deliver([("a", handled.append)])
    assert handled == [2, 1]


def test_a_send_to_a_new_name_that_memcache_did_not_take_is_repeated(store: MemoryStore) -> None:
    def refuse(call: Call) -> Collection[bytes] | None:
        if call.verb != "write":
            return None
        store.before = None
        return call.keys

    store.before = refuse
    handled: list[int] = []
    Signal("a").send(1)
    deliver([("a", handled.append)])
    assert handled == [1]


def test_what_lost_and_cannot_be_read_again_may_be_stored(mailbox: Mailbox, store: MemoryStore) -> None:
    """A conflict is no loss before the page was read: the network may have carried the write out twice."""
    slot = slot_key(slot_of("a"))

    def before(call: Call) -> Collection[bytes] | None:
        if call.verb == "gets":
            return call.keys
        store.set_raw(page_key("a"), Page("other").to_bytes())
        return [slot]

    store.after = lambda call: setattr(store, "before", before) if call.verb == "gets" else None
    with pytest.raises(SendError) as raised:
        mailbox.send([("a", codec.dumps(1))])
    assert (len(raised.value.unsure), raised.value.failed) == (1, ())


def test_a_large_message_that_is_sent_again_does_not_share_its_body(store: MemoryStore, mailbox: Mailbox) -> None:
    """Whoever claimed it first deletes the body that it had then."""
    record = Record("id", mailbox.now_ms() * 1000, codec.dumps("x" * 5000))
    for _ in range(2):
        mailbox.send_records([("a", record)])
    page = Page.from_bytes(store.raw(page_key("a")) or b"")
    assert len({ref.key for ref in refs_of(page.messages.decoded())}) == 2
