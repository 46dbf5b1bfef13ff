"""Dead letters: what is kept of them, for how long, and what happens where memcache does not take them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from gaesignals import InvalidOptionError, Receivers, Signal, StoreError, deliver, send_many
from gaesignals.data import codec
from gaesignals.format.entries import Record
from gaesignals.format.keys import DEAD_NAME_PAGES, dead_key, dead_names_key, dead_names_page_of, page_key
from gaesignals.format.letter import DeadLetter
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.dead.bury import bury
from gaesignals.testing import Call, ManualClock, MemoryStore

pytestmark = pytest.mark.usefixtures("mailbox")

INDEX = dead_names_key(dead_names_page_of("a"))


def fail(data: Any) -> None:
    raise RuntimeError("always")


@pytest.fixture
def deadly() -> Receivers:
    receivers = Receivers()
    for name in ("a", "b"):
        receivers.connect(name, fail, reliable=True, max_attempts=1, id=f"h {name}")
    return receivers


@pytest.mark.parametrize("data", ["small", "large" * 1000])
def test_a_dead_letter_is_kept_with_its_data_until_a_person_acts(
    deadly: Receivers, mailbox: Mailbox, clock: ManualClock, data: str
) -> None:
    Signal("a").send(data)
    assert deliver(deadly).dead == 1
    clock.advance(60 * 86400)
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.data == data
    assert DeadLetters(mailbox).names() == {"a": 1}


def test_a_letter_whose_answer_was_lost_is_not_written_again_over_what_a_person_did_to_it(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore
) -> None:
    """The person who takes it out deletes its body, too."""
    Signal("a").send("large" * 1000)
    writes = []

    def note(call: Call) -> None:
        if call.verb == "write" and dead_key("a") in call.keys:
            writes.append(call)
            if len(writes) == 2:
                DeadLetters(mailbox).drop("a")

    store.before = note
    store.after = lambda call: [dead_key("a")] if call.verb == "write" and len(writes) == 1 else None
    deliver(deadly)
    store.before = store.after = None
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.data == "large" * 1000


@pytest.mark.parametrize("key", [dead_key("a"), INDEX, b"gs:b:dead."])
def test_a_message_whose_dead_letter_cannot_be_stored_goes_back(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore, clock: ManualClock, key: bytes
) -> None:
    Signal("a").send("large" * 1000)

    def lose(call: Call) -> Collection[bytes]:
        return [k for k in call.keys if call.verb == "write" and k.startswith(key)]

    store.before = lose
    deliver(deadly)
    store.before = None
    clock.advance(60)
    deliver(deadly)
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.data == "large" * 1000
    assert DeadLetters(mailbox).names() == {"a": 1}
    assert deliver(deadly).is_idle


def test_one_name_whose_dead_page_memcache_refuses_goes_back_alone_and_a_little_later(
    mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    begun: list[int] = []

    def fail(data: int) -> None:
        begun.append(data)
        raise RuntimeError("always")

    deadly = Receivers()
    for name in ("a", "b"):
        deadly.connect(name, fail, reliable=True, max_attempts=1, id=f"h {name}")
    send_many([("a", 1), ("b", 2)])
    store.before = lambda call: [key for key in call.keys if key == dead_key("a")]
    report = deliver(deadly)
    assert (report.failed, report.dead, report.retried) == (2, 1, 1)
    assert deliver(deadly).is_idle
    assert begun == [1, 2]
    store.before = None
    clock.advance(60)
    deliver(deadly)
    assert {name: [letter.data for letter in DeadLetters(mailbox).list(name)] for name in ("a", "b")} == {
        "a": [1],
        "b": [2],
    }


def test_dead_letters_that_cannot_be_read_raise_store_error_and_are_not_taken_for_none(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore
) -> None:
    Signal("a").send(1)
    deliver(deadly)
    store.before = lambda call: call.keys
    letters = DeadLetters(mailbox)
    for act in (letters.names, lambda: letters.list("a"), lambda: letters.drop("a"), lambda: letters.requeue("a")):
        with pytest.raises(StoreError):
            act()
    store.before = None
    assert letters.names() == {"a": 1}


def test_an_eviction_of_either_key_leaves_the_other_and_the_next_letter_is_kept(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore
) -> None:
    letters = DeadLetters(mailbox)
    for key in (dead_key("a"), INDEX):
        Signal("a").send(1)
        deliver(deadly)
        store.evict([key])
        Signal("a").send(2)
        deliver(deadly)
        assert letters.list("a")[-1].data == 2
        assert letters.names() == {"a": len(letters.list("a"))}


def test_all_of_ten_thousand_names_are_listed(mailbox: Mailbox, store: MemoryStore) -> None:
    """A broken deploy, and names made at run time."""
    names = [f"user_{number}_password_change" for number in range(10_000)]
    record = Record("1" * 24, 0, b"\xf6")
    for start in range(0, len(names), 1000 - DEAD_NAME_PAGES):
        calls = len(store.calls)
        letters = {name: [DeadLetter(record, 0, "broken")] for name in names[start : start + 1000 - DEAD_NAME_PAGES]}
        assert bury(mailbox, letters) == frozenset()
        assert len(store.calls) - calls == 4, "two reads and writes, since a thousand pages are a call"
    calls = len(store.calls)
    assert DeadLetters(mailbox).names() == dict.fromkeys(names, 1)
    assert len(store.calls) == calls + 1


def test_where_a_page_of_the_index_fails_the_letters_of_others_are_stored(mailbox: Mailbox, store: MemoryStore) -> None:
    names = [f"name {number}" for number in range(40)]
    record = Record("1" * 24, 0, b"\xf6")
    store.before = lambda call: [key for key in call.keys if key == dead_names_key(3)]
    missed = bury(mailbox, {name: [DeadLetter(record, 0, "broken")] for name in names})
    assert missed == {name for name in names if dead_names_page_of(name) == 3} != frozenset()
    store.before = None
    assert DeadLetters(mailbox).names().keys() == set(names) - missed


def test_a_name_without_dead_letters_leaves_nothing_behind(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    Signal("a").send("large" * 1000)
    deliver(deadly)
    assert DeadLetters(mailbox).drop("a") == 1
    clock.advance(301)
    assert [key for key in store.keys() if key.startswith((b"gs:d", b"gs:b"))] == [INDEX]  # noqa: SIM118
    assert DeadLetters(mailbox).names() == {}


@pytest.mark.parametrize("data", ["small", "large" * 1000])
@pytest.mark.parametrize("is_together", [True, False])
def test_letters_of_one_message_are_each_requeued_for_their_receiver(
    mailbox: Mailbox, data: str, is_together: bool
) -> None:
    failing, handled = {"one", "two"}, []

    def handler(receiver: str) -> Callable[[Any], None]:
        def handle(value: Any) -> None:
            if receiver in failing:
                raise RuntimeError
            handled.append((receiver, value))

        return handle

    receivers = Receivers()
    for receiver in ("one", "two"):
        receivers.connect("a", handler(receiver), reliable=True, max_attempts=1, id=receiver)
    Signal("a").send(data)
    deliver(receivers)
    letters = DeadLetters(mailbox)
    if is_together:
        failing.clear()
        assert letters.requeue("a") == 2
    else:
        # The second one dies again beside the first one, which waits by then.
        failing.remove("one")
        letters.requeue("a")
        deliver(receivers)
        assert [letter.receivers for letter in letters.list("a")] == [("two",)]
        failing.clear()
        letters.requeue("a")
    deliver(receivers)
    assert sorted(handled) == [("one", data), ("two", data)]


@pytest.mark.parametrize("data", ["small", "large" * 1000])
def test_a_requeued_message_that_dies_again_before_its_letter_is_taken_out_is_kept(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore, clock: ManualClock, data: str
) -> None:
    Signal("a").send(data)
    deliver(deadly)

    def deliver_at_once(call: Call) -> None:
        if call.verb == "write" and page_key("a") in call.keys:
            store.after = None
            clock.advance(1)
            assert deliver(deadly).dead == 1

    store.after = deliver_at_once
    assert DeadLetters(mailbox).requeue("a") == 1
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.data == data
    assert DeadLetters(mailbox).names() == {"a": 1}


def test_a_message_that_is_requeued_and_dies_twice_in_one_millisecond_is_kept(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore
) -> None:
    Signal("a").send("data")
    deliver(deadly)
    assert DeadLetters(mailbox).requeue("a") == 1
    deliver(deadly)

    def deliver_at_once(call: Call) -> None:
        if call.verb == "write" and page_key("a") in call.keys:
            store.after = None
            assert deliver(deadly).dead == 1

    store.after = deliver_at_once
    assert DeadLetters(mailbox).requeue("a") == 1
    assert [letter.data for letter in DeadLetters(mailbox).list("a")] == ["data"]


def test_a_requeued_message_that_dies_again_before_its_old_body_is_deleted_keeps_its_data(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore
) -> None:
    Signal("a").send("large" * 1000)
    deliver(deadly)

    def deliver_at_once(call: Call) -> None:
        if call.verb == "delete":
            store.before = None
            assert deliver(deadly).dead == 1

    store.before = deliver_at_once
    DeadLetters(mailbox).requeue("a")
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.data == "large" * 1000


def test_a_name_is_listed_that_dies_between_the_two_writes_of_somebody_who_drops_its_letters(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore
) -> None:
    """Another name dies first, so that the index is lost and written once more."""
    send_many([("a", 1)])
    deliver(deadly)
    send_many([("a", 2), ("b", 3)])

    def die_before(call: Call) -> None:
        if call.verb == "write" and dead_key("a") in call.keys:
            store.before = None
            deliver(deadly, names=["b"])
            store.after = die_after

    def die_after(call: Call) -> None:
        if call.verb == "write" and dead_key("a") in call.keys:
            store.after = None
            deliver(deadly, names=["a"])

    store.before = die_before
    DeadLetters(mailbox).drop("a")
    assert [letter.data for letter in DeadLetters(mailbox).list("a")] == [2]
    assert DeadLetters(mailbox).names() == {"a": 1, "b": 1}


def test_the_body_of_a_letter_stays_that_only_a_lost_attempt_had_no_room_for(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore
) -> None:
    """A hundred letters, and one more dies; while it is written, a person drops another of them."""
    send_many([("a", "large" * 1000), *(("a", number) for number in range(99))])
    deliver(deadly)
    letters = DeadLetters(mailbox)
    Signal("a").send("new")

    def drop(call: Call) -> None:
        if call.verb == "write" and dead_key("a") in call.keys:
            store.before = None
            letters.drop("a", [letters.list("a")[50].id])

    store.before = drop
    deliver(deadly)
    kept = letters.list("a")
    assert len(kept) == 100
    assert kept[0].data == "large" * 1000


def test_a_weak_message_whose_dead_letter_cannot_be_stored_goes_back(
    deadly: Receivers, mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    """It was requeued, and its receiver has gone; the name has a weak one by now."""
    Signal("a").send(1)
    deliver(deadly)
    DeadLetters(mailbox).requeue("a")
    store.before = lambda call: [key for key in call.keys if key == dead_key("a")]
    weak: list[int] = []
    assert deliver([("a", weak.append)]).dead == 0
    store.before = None
    clock.advance(60)
    assert deliver([("a", weak.append)]).dead == 1
    assert [letter.data for letter in DeadLetters(mailbox).list("a")] == [1]


def test_a_letter_that_is_requeued_never_passes_for_that_of_another_receiver(
    mailbox: Mailbox, store: MemoryStore
) -> None:
    """The first one waits in the page already when the write of the second one fails without an effect."""
    receivers = Receivers()
    for id in ("charge", "mail"):
        receivers.connect("a", fail, reliable=True, max_attempts=1, id=id)
    Signal("a").send(7)
    deliver(receivers)
    letters = DeadLetters(mailbox)
    charge, mail = letters.list("a")
    mailbox.send_records([("a", charge.record)])
    failed: list[Call] = []

    def fail_once(call: Call) -> Collection[bytes]:
        if call.verb != "write" or failed or page_key("a") not in call.keys:
            return ()
        failed.append(call)
        return [page_key("a")]

    store.before = fail_once
    mailbox.send_records([("a", mail.record)])
    handled: list[str] = []
    done = Receivers()
    for id in ("charge", "mail"):
        done.connect("a", lambda data, id=id: handled.append(id), reliable=True, id=id)
    deliver(done)
    assert failed
    assert sorted(handled) == ["charge", "mail"]


def test_the_letter_of_a_receiver_that_is_gone_can_be_requeued_for_those_of_today(
    deadly: Receivers, mailbox: Mailbox
) -> None:
    handled: list[Any] = []
    now = Receivers()
    now.connect("a", handled.append, reliable=True, id="renamed")
    Signal("a").send(7)
    deliver(deadly)
    assert DeadLetters(mailbox).requeue("a", to_current=True) == 1
    assert deliver(now).delivered == 1
    assert handled == [7]


def test_a_message_of_several_letters_is_requeued_once_for_the_receivers_of_today(mailbox: Mailbox) -> None:
    handled: list[Any] = []
    receivers, now = Receivers(), Receivers()
    for id in ("one", "two"):
        receivers.connect("a", fail, reliable=True, max_attempts=1, id=id)
    now.connect("a", handled.append, reliable=True, id="renamed")
    Signal("a").send(7)
    deliver(receivers)
    assert DeadLetters(mailbox).requeue("a", to_current=True) == 2
    deliver(now)
    assert handled == [7]


@pytest.mark.parametrize(("limit", "kept"), [(None, 100), (1, 1), (150, 150)])
def test_letters_that_give_way_to_newer_ones_are_counted_in_the_log(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture, limit: int | None, kept: int
) -> None:
    receivers = Receivers() if limit is None else Receivers(max_dead_letters=limit)
    receivers.connect("a", fail, reliable=True, max_attempts=1)
    for first in (0, 130):
        send_many([("a", number) for number in range(first, first + 130)])
        deliver(receivers)
    assert [letter.data for letter in DeadLetters(mailbox).list("a")] == list(range(260 - kept, 260))
    said = [record for record in caplog.records if "make room for newer ones" in record.message]
    assert sum(record.__dict__["signals_count"] for record in said) == 260 - kept


def test_a_page_of_letters_is_never_more_than_memcache_takes(mailbox: Mailbox) -> None:
    def fail(data: Any) -> None:
        raise RuntimeError("é" * 2000)

    receivers = Receivers(max_dead_letters=1000)
    receivers.connect("a", fail, reliable=True, max_attempts=1)
    send_many([("a", "x" * 1500) for _ in range(600)])
    assert deliver(receivers).dead == 600
    assert 100 < len(DeadLetters(mailbox).list("a")) < 600


def large(died_ms: int, *, number: int = 1) -> DeadLetter:
    return DeadLetter(Record(f"{number:024}", 0, codec.dumps("large" * 1000)), died_ms, "broken")


def bodies(store: MemoryStore) -> int:
    return sum(key.startswith(b"gs:b:") for key in store.keys())  # noqa: SIM118 - not a dict


def test_no_body_stays_of_a_letter_that_has_no_place_on_its_page(mailbox: Mailbox, store: MemoryStore) -> None:
    """A later one of the same message is there before it is read, or comes before it is written."""
    bury(mailbox, {"a": [large(2)]})
    assert bury(mailbox, {"a": [large(1)]}) == frozenset()

    def bury_later(call: Call) -> None:
        if call.verb == "write" and dead_key("a") in call.keys:
            store.before = None
            bury(mailbox, {"a": [large(4)]})

    store.before = bury_later
    assert bury(mailbox, {"a": [large(3)]}) == frozenset()
    assert [(letter.died_ms, letter.data) for letter in DeadLetters(mailbox).list("a")] == [(4, "large" * 1000)]
    assert bodies(store) == 1


def test_the_body_stays_of_a_letter_that_may_be_on_its_page(mailbox: Mailbox, store: MemoryStore) -> None:
    """All answers are lost, and memcache is silent afterwards."""

    def lose(call: Call) -> Collection[bytes]:
        if call.verb != "write" or dead_key("a") not in call.keys:
            return ()
        store.before = lambda call: call.keys if call.verb != "delete" else ()
        return call.keys

    store.after = lose
    assert bury(mailbox, {"a": [large(1)]}) == {"a"}
    store.before = store.after = None
    assert [letter.data for letter in DeadLetters(mailbox).list("a")] == ["large" * 1000]


@pytest.mark.parametrize("limit", [0, 1001, True, "100", 1.5])
def test_a_limit_of_letters_that_cannot_be_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"max_dead_letters=.* cannot be: give a whole number from 1 to 1000"):
        Receivers(max_dead_letters=limit)
