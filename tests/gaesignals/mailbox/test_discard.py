"""Discarding what waits under a name: everything goes but what a lease holds."""

from __future__ import annotations

import random

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.data import codec
from gaesignals.errors import StoreError
from gaesignals.format.keys import page_key
from gaesignals.format.page import FULL_MESSAGES, VERSION, Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.discard import discard, discarded
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import look
from gaesignals.stores.store import Set
from gaesignals.testing import Call, ManualClock, MemoryStore

BODY = b"x" * 3000


class DiedError(BaseException):
    """The process is gone."""


def stored(store: MemoryStore) -> list[bytes]:
    """The keys of messages: segments and bundles."""
    return [key for key in store.keys() if key.startswith((b"gs:s:", b"gs:b:"))]  # noqa: SIM118 - not a dict


def handled(name: str = "a") -> list[object]:
    seen: list[object] = []
    while deliver([(name, seen.append)]).delivered:
        pass
    return seen


def fail(name: str, count: int, mailbox: Mailbox) -> None:
    """Have `count` messages of `name` wait for their retry."""

    def explode(data: object) -> None:
        raise RuntimeError

    receivers = Receivers()
    receivers.connect(name, explode, reliable=True, backoff_seconds=3600)
    send_many([(name, number) for number in range(count)])
    deliver(receivers)


class TestDiscarding:
    def test_a_quiet_name_is_nothing(self, mailbox: Mailbox) -> None:
        assert discard(mailbox, ["a"]) == 0

    def test_takes_fresh_messages_segments_and_retries(self, mailbox: Mailbox, store: MemoryStore) -> None:
        fail("a", 3, mailbox)
        for number in range(2 * FULL_MESSAGES + 5):
            Signal("a").send(number)
        assert discard(mailbox, ["a"]) == 2 * FULL_MESSAGES + 5 + 3
        status = look(mailbox, ["a"])["a"]
        assert (status.waiting, status.retrying) == (0, 0)
        assert handled() == []

    def test_deletes_what_was_referred_to(self, mailbox: Mailbox, store: MemoryStore) -> None:
        fail("a", 3, mailbox)
        for number in range(2 * FULL_MESSAGES + 5):
            Signal("a").send(BODY if number % 3 == 0 else number)
        send_many([("a", number) for number in range(100)])
        assert stored(store)
        discard(mailbox, ["a"])
        assert stored(store) == []

    def test_takes_the_names_out_of_the_index(self, mailbox: Mailbox, clock: ManualClock) -> None:
        send_many([("a", 1), ("b", 2), ("c", 3)])
        clock.advance(11)  # a name that was listed a moment ago stays
        assert discard(mailbox, ["a", "b"]) == 2
        assert list(Index(mailbox).entries()) == ["c"]
        assert handled("c") == [3]

    def test_leaves_what_is_sent_afterwards(self, mailbox: Mailbox) -> None:
        Signal("a").send(1)
        discard(mailbox, ["a"])
        Signal("a").send(2)
        assert list(Index(mailbox).entries()) == ["a"]
        assert handled() == [2]

    def test_reaches_every_lane(self, mailbox: Mailbox, store: MemoryStore) -> None:
        store.write([Set(page_key("a"), Page("home", width=4, hot_ms=mailbox.now_ms()).to_bytes())])
        for lane in range(4):
            mailbox.lanes.keep("a", lane, mailbox.now_ms())
            Signal("a").send(lane)
        assert discard(mailbox, ["a"]) == 4
        status = look(mailbox, ["a"])["a"]
        assert (status.waiting, status.width) == (0, 4)

    def test_of_very_many_names_is_a_few_calls(self, mailbox: Mailbox, store: MemoryStore) -> None:
        names = [f"n{number}" for number in range(3000)]
        send_many([(name, 1) for name in names])
        before = len(store.calls)
        assert discard(mailbox, names) == 3000
        assert len(store.calls) - before < 40

    def test_of_a_long_backlog_reads_its_segments_in_parts(self, mailbox: Mailbox, store: MemoryStore) -> None:
        for _ in range(1200):
            send_many([("a", number) for number in range(FULL_MESSAGES)])
        before = len(store.calls)
        assert discard(mailbox, ["a"]) == 1200 * FULL_MESSAGES
        assert stored(store) == []
        assert len(store.calls) - before < 20


class TestALease:
    @pytest.fixture
    def receivers(self) -> Receivers:
        receivers = Receivers()
        receivers.connect("a", self.die, reliable=True, id="firm")
        return receivers

    def die(self, data: object) -> None:
        raise DiedError

    def test_keeps_what_it_holds(
        self, mailbox: Mailbox, store: MemoryStore, clock: ManualClock, receivers: Receivers
    ) -> None:
        for number in range(FULL_MESSAGES + 1):
            Signal("a").send(BODY if number % 2 else number)
        with pytest.raises(DiedError):
            deliver(receivers)
        kept = stored(store)
        Signal("a").send(BODY)
        assert discard(mailbox, ["a"]) == 2
        assert sorted(stored(store)) == sorted(kept)
        assert look(mailbox, ["a"])["a"].leased == FULL_MESSAGES
        assert list(Index(mailbox).entries()) == ["a"]
        clock.advance(400)
        seen: list[object] = []
        again = Receivers()
        again.connect("a", seen.append, reliable=True, id="firm")
        assert deliver(again).delivered == FULL_MESSAGES


class TestTheIndexOfSegments:
    def test_is_burnt(self) -> None:
        page = discarded(Page("e", first=3, next=5, sealed_count=9, heaviest=7))
        assert (page.first, page.next) == (6, 6)
        assert (page.sealed_count, page.heaviest) == (0, 0)

    def test_is_not_that_of_a_slow_sender(self, mailbox: Mailbox, store: MemoryStore, clock: ManualClock) -> None:
        """It read a full page before the discard and seals it afterwards, as somebody else seals the next one."""
        for number in range(FULL_MESSAGES):
            Signal("a").send(f"old {number}")
        slow = Mailbox(store, clock=clock, random=random.Random(8), sleep=lambda _: None)

        def meanwhile(call: Call) -> None:
            if any(write.key.startswith(b"gs:s:") for write in call.writes):
                store.before = None
                discard(mailbox, ["a"])
                for number in range(FULL_MESSAGES + 1):
                    Signal("a").send(f"new {number}")

        store.before = meanwhile
        slow.send([("a", codec.dumps("late"))])
        assert handled() == [*(f"new {number}" for number in range(FULL_MESSAGES + 1)), "late"]


class TestTrouble:
    def test_with_one_name_leaves_the_others_discarded(self, mailbox: Mailbox, store: MemoryStore) -> None:
        send_many([("a", 1), ("b", 2)])
        store.before = lambda call: [key for key in call.keys if key == page_key("a")]
        with pytest.raises(StoreError, match="the store failed for 1 of the names; 1 messages are discarded"):
            discard(mailbox, ["a", "b"])
        store.before = None
        assert (handled("a"), handled("b")) == ([1], [])

    @pytest.mark.parametrize("side", ["before", "after"])
    def test_with_a_write_is_made_up_for(self, mailbox: Mailbox, store: MemoryStore, side: str) -> None:
        Signal("a").send(BODY)

        def fail_once(call: Call) -> tuple[bytes, ...]:
            if call.verb != "write":
                return ()
            setattr(store, side, None)
            return call.keys

        setattr(store, side, fail_once)
        assert discard(mailbox, ["a"]) == 1
        assert stored(store) == []

    def test_with_an_unknown_outcome_deletes_nothing_that_a_delivery_claimed_meanwhile(
        self, mailbox: Mailbox, store: MemoryStore, clock: ManualClock
    ) -> None:
        """The write had no effect, and before that is found out the message is in a lease."""
        Signal("a").send(BODY)
        receivers = Receivers()
        receivers.connect("a", TestALease().die, reliable=True, id="firm")

        def fail_and_claim(call: Call) -> tuple[bytes, ...]:
            if call.verb != "write":
                return ()
            store.before = None
            with pytest.raises(DiedError):
                deliver(receivers)
            return call.keys

        store.before = fail_and_claim
        assert discard(mailbox, ["a"]) == 0
        assert len(stored(store)) == 1
        assert look(mailbox, ["a"])["a"].leased == 1

    def test_with_another_writer_is_tried_again(self, mailbox: Mailbox, store: MemoryStore) -> None:
        Signal("a").send(1)

        def send_meanwhile(call: Call) -> None:
            if call.verb == "write":
                store.before = None
                Signal("a").send(2)

        store.before = send_meanwhile
        assert discard(mailbox, ["a"]) == 2
        assert handled() == []

    def test_with_the_index_is_left_to_the_worker(
        self, mailbox: Mailbox, store: MemoryStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        Signal("a").send(1)
        store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:i:")]
        assert discard(mailbox, ["a"]) == 1
        assert "the worker does it later" in caplog.text

    def test_with_a_page_of_a_later_version_is_told(self, mailbox: Mailbox, store: MemoryStore) -> None:

        store.set_raw(page_key("a"), codec.seal(VERSION + 1, {}))
        with pytest.raises(StoreError):
            discard(mailbox, ["a"])

    def test_with_a_spoilt_page_is_none(self, mailbox: Mailbox, store: MemoryStore) -> None:
        store.set_raw(page_key("a"), b"spoilt")
        assert discard(mailbox, ["a"]) == 0
