"""Small claims: what one round takes, how long it lasts, and what goes back after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.delivery.opening import JOINING
from gaesignals.format.keys import dead_key, page_key
from gaesignals.format.page import COLD_MS, Page
from gaesignals.limits import MAX_ROUND_SECONDS
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.claim import Claimer, Order
from gaesignals.mailbox.hold import LeaseEnd, acknowledge
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.load import load
from gaesignals.mailbox.look import look
from gaesignals.stores.store import Set
from gaesignals.testing import Call, ManualClock, MemoryStore

pytestmark = pytest.mark.usefixtures("mailbox")

HOUR = 3600.0


class Slow:
    """A handler that takes so many seconds."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self.seen: list[Any] = []
        self._clock = clock
        self._seconds = seconds

    def __call__(self, data: Any) -> None:
        self.seen.append(data)
        self._clock.advance(self._seconds)


def stored(store: MemoryStore, name: str = "a") -> Page:
    value = store.raw(page_key(name))
    assert value is not None
    return Page.from_bytes(value)


def widen(mailbox: Mailbox, name: str, width: int) -> None:
    mailbox.store.write([Set(page_key(name), Page("home", width=width, hot_ms=mailbox.now_ms()).to_bytes())])


# What is claimed


@pytest.mark.parametrize("is_reliable", [True, False])
def test_a_claim_is_of_so_many_messages_over_all_lanes_of_a_name(mailbox: Mailbox, is_reliable: bool) -> None:
    widen(mailbox, "a", 4)
    for lane in range(4):
        mailbox.lanes.keep("a", lane, mailbox.now_ms())
        send_many([("a", number) for number in range(10)])
    claimed = Claimer(mailbox, {"a": Order(is_reliable, 16, 60_000)}).claim()
    assert sum(claim.holding.count for claim in claimed.claims) == 16
    assert look(mailbox, ["a"])["a"].waiting == 24


@pytest.mark.parametrize("is_reliable", [True, False])
def test_of_handlers_of_an_hour_the_others_wait_for_whoever_is_asked_for_help(
    mailbox: Mailbox, clock: ManualClock, is_reliable: bool
) -> None:
    waiting: list[int] = []

    def help_out(names: Sequence[str]) -> None:
        status = look(mailbox, names)["a"]
        waiting.append(status.waiting)

    receivers = Receivers()
    receivers.connect("a", Slow(clock, HOUR), reliable=is_reliable, lease_seconds=2 * HOUR)
    send_many([("a", number) for number in range(40)])
    deliver(receivers, on_backlog=help_out, max_messages=1)
    assert waiting == [39], "all but the first, which is about to be run, and before it is"


def test_help_is_asked_for_once_and_before_the_first_handler(clock: ManualClock) -> None:
    events: list[Any] = []
    send_many([("a", number) for number in range(60)])
    receivers = Receivers()
    receivers.connect("a", lambda data: events.append(data), reliable=True)
    deliver(receivers, on_backlog=lambda names: events.append("help"))
    assert events[0] == "help"
    assert events.count("help") == 1


# How long a round lasts


def test_a_handler_always_has_three_quarters_of_its_lease_before_it(store: MemoryStore, clock: ManualClock) -> None:
    left: list[float] = []

    def handler(data: Any) -> None:
        [lease] = stored(store).leases
        left.append(lease.expires_ms / 1000 - clock())
        clock.advance(1)

    send_many([("a", number) for number in range(16)])
    deliver([("a", handler)], reliable=True, lease_seconds=8)
    assert len(left) == 16
    assert min(left) >= 6


def test_a_takeover_lasts_as_long_as_its_delivery_and_not_as_a_round(clock: ManualClock) -> None:
    def die(data: Any) -> None:
        raise KeyboardInterrupt

    send_many([("a", number) for number in range(16)])
    with pytest.raises(KeyboardInterrupt):
        deliver([("a", die)], reliable=True)
    clock.advance(400)
    for number in range(100, 200):
        Signal("a").send(number)
    slow = Slow(clock, 2)
    deliver([("a", slow)], reliable=True, max_seconds=60)
    assert slow.seen[:16] == list(range(16))


# Whose turn it is


def test_names_are_run_in_the_order_of_their_mapping_where_there_is_time_for_all() -> None:
    names = [f"name {number}" for number in range(30)]
    seen: list[str] = []
    send_many([(name, name) for name in names])
    deliver([(name, seen.append) for name in names])
    assert seen == names


def test_where_time_may_end_before_it_is_not_always_the_same_names_that_go_without(clock: ManualClock) -> None:
    names = [f"name {number}" for number in range(30)]
    slow = Slow(clock, 1)
    for _ in range(20):
        send_many([(name, name) for name in names])
        deliver([(name, slow) for name in names], max_seconds=3)
    assert len(set(slow.seen)) > 10


def test_names_that_had_no_turn_in_a_round_are_first_in_the_next(clock: ManualClock) -> None:
    """Each round has time for three of the five, which always have more."""
    names = "abcde"
    slow = {name: Slow(clock, 4) for name in names}
    send_many([(name, number) for number in range(20) for name in names])
    deliver([*slow.items()], reliable=True, max_seconds=25)
    counts = [len(handler.seen) for handler in slow.values()]
    assert sum(counts) == 7
    assert max(counts) - min(counts) == 1


# What goes back


@pytest.mark.parametrize(("count", "sizes"), [(2, [1]), (8, [3, 4]), (16, [7, 8])])
def test_what_was_not_begun_goes_back_in_two_halves(store: MemoryStore, count: int, sizes: list[int]) -> None:
    """So that two may go on with it."""
    seen: list[Any] = []
    send_many([("a", number) for number in range(count)])
    deliver([("a", seen.append)], reliable=True, should_stop=lambda: bool(seen))
    assert sorted(ref.count for ref in stored(store).retries) == sizes
    assert all(not ref.not_before_ms for ref in stored(store).retries)


def test_what_was_not_begun_is_run_for_the_first_time_later() -> None:
    attempts: list[int] = []
    receivers = Receivers()
    receivers.connect("a", lambda messages: attempts.extend(each.attempt for each in messages), batch=2, reliable=True)
    send_many([("a", number) for number in range(8)])
    deliver(receivers, should_stop=lambda: bool(attempts))
    deliver(receivers)
    assert attempts == [1] * 8


def test_what_failed_in_one_round_goes_back_in_one_bundle(store: MemoryStore) -> None:
    """It is many messages of little, and each bundle is a place in the page and a key to read."""
    send_many([("a", number) for number in range(100)])

    def fail(messages: Any) -> None:
        for message in messages:
            message.fail("not yet")

    receivers = Receivers()
    receivers.connect("a", fail, batch=100, reliable=True, backoff=[600])
    deliver(receivers)
    assert [ref.count for ref in stored(store).retries] == [100]


def test_what_is_not_due_has_no_further_turn_and_nobody_looks_for_it_again(store: MemoryStore) -> None:
    def fail(data: Any) -> None:
        raise RuntimeError("not yet")

    receivers = Receivers()
    receivers.connect("a", fail, reliable=True, backoff=[600])
    send_many([("a", number) for number in range(40)])
    report = deliver(receivers)
    assert (report.retried, report.remaining, report.more) == (40, 0, ())
    assert [call.verb for call in store.calls if page_key("a") in call.keys][-1] == "write", "the acknowledgement"


def test_who_narrows_a_name_has_it_taken_out_of_the_index(mailbox: Mailbox, clock: ManualClock) -> None:
    """By the settling of a plain delivery, too, which no worker comes by for."""
    widen(mailbox, "a", 4)
    Signal("a").send(1)
    for _ in range(2):
        deliver([("a", lambda data: None)])
        clock.advance(61)
    assert "a" in Index(mailbox).entries(), "a wide name stays"
    clock.advance(COLD_MS / 1000)
    for _ in range(2):
        deliver([("a", lambda data: None)])
        clock.advance(61)
    assert Index(mailbox).entries() == {}


# What memcache does not take back


def failing_writes(call: Call) -> list[bytes]:
    return list(call.keys) if call.verb == "write" else []


def test_slow_messages_that_nobody_else_can_have_are_run(store: MemoryStore, clock: ManualClock) -> None:
    """From the second claim on they would be set aside before the first handler."""
    for number in range(33):
        Signal("a").send(number)
    slow = Slow(clock, 2)

    def handle(data: Any) -> None:
        if store.before is failing_writes:
            store.before = None
        slow(data)

    def fail_once_claimed(call: Call) -> Any:
        if call.verb == "gets" and call.keys[0].startswith(b"gs:s:") and slow.seen:
            store.before = failing_writes
        return None

    store.before = fail_once_claimed
    for _ in range(33):
        assert not deliver([("a", handle)]).lost
    assert sorted(slow.seen) == list(range(33))


def test_what_is_lost_where_it_cannot_go_back_does_not_remain(store: MemoryStore, clock: ManualClock) -> None:
    send_many([(name, number) for name in "ab" for number in range(6)])
    slow = Slow(clock, 2)

    def handle(data: Any) -> None:
        slow(data)
        if len(slow.seen) == 3:
            store.before = failing_writes

    report = deliver([("a", handle), ("b", handle)])
    assert report.delivered == len(slow.seen)
    assert (report.delivered + report.lost, report.remaining) == (12, 0)


def test_a_bundle_counts_for_what_its_page_says(store: MemoryStore, clock: ManualClock) -> None:
    """One that is planted in a page, with a hundred thousand messages for one, would take up a task."""
    handled: list[object] = []
    failing = [True]

    def handle(data: object) -> None:
        if failing:
            raise RuntimeError
        handled.append(data)

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, backoff_seconds=1, id="it")
    send_many([("a", number) for number in range(5)])
    deliver(receivers)
    failing.clear()
    page = Page.from_bytes(store.raw(page_key("a")) or b"")
    (ref,) = page.retries
    store.set_raw(page_key("a"), replace(page, retries=(replace(ref, count=2),)).to_bytes())
    clock.advance(60)
    deliver(receivers)
    assert handled == [0, 1]


# When a delivery ends


@pytest.mark.parametrize("is_reliable", [True, False])
def test_a_delivery_ends_when_what_waited_at_first_has_had_its_turn_though_more_comes(
    clock: ManualClock, is_reliable: bool
) -> None:
    seen: list[int] = []

    def send_another(number: int) -> None:
        seen.append(number)
        clock.advance(0.25)
        if len(seen) < 500:
            Signal("a").send(number)

    send_many([("a", number) for number in range(20)])
    report = deliver([("a", send_another)], reliable=is_reliable)
    assert 20 <= report.delivered < 100
    assert report.more == ("a",)


# What is begun, however late it is


def read_slowly(store: MemoryStore, clock: ManualClock, seconds: float) -> None:
    """Let each read of the store take so many seconds."""

    def wait(call: Call) -> None:
        if call.verb == "gets":
            clock.advance(seconds)

    store.after = wait


@pytest.mark.parametrize("is_reliable", [True, False])
def test_a_delivery_begins_a_message_though_its_claim_took_longer_than_it_may(
    store: MemoryStore, clock: ManualClock, is_reliable: bool
) -> None:
    send_many([("a", number) for number in range(3)])
    read_slowly(store, clock, 6)
    report = deliver([("a", lambda _: None)], reliable=is_reliable, max_seconds=5)
    assert (report.delivered, report.remaining) == (1, 2)


@pytest.mark.parametrize("is_reliable", [True, False])
def test_a_round_begins_a_message_though_its_claim_took_as_long_as_it_may(
    store: MemoryStore, clock: ManualClock, is_reliable: bool
) -> None:
    send_many([("a", number) for number in range(3)])
    read_slowly(store, clock, MAX_ROUND_SECONDS + 1)
    report = deliver([("a", lambda _: None)], reliable=is_reliable, max_seconds=40 * MAX_ROUND_SECONDS)
    assert (report.delivered, report.remaining) == (3, 0)


@pytest.mark.parametrize("is_reliable", [True, False])
def test_a_round_begins_nothing_where_its_claim_took_as_long_as_its_delivery_may(
    store: MemoryStore, clock: ManualClock, is_reliable: bool
) -> None:
    """A claim of 6 seconds, two messages of 3, giving back the third in 6, and one more claim."""
    send_many([("a", number) for number in range(3)])
    read_slowly(store, clock, 6)
    handler = Slow(clock, 3)
    report = deliver([("a", handler)], reliable=is_reliable, max_seconds=22)
    assert (report.delivered, report.remaining) == (2, 1)


def test_a_message_whose_dead_letter_could_not_be_stored_waits_half_a_minute(
    mailbox: Mailbox, store: MemoryStore
) -> None:
    def fail(data: object) -> None:
        raise RuntimeError

    receivers = Receivers()
    receivers.connect("a", fail, reliable=True, max_attempts=1, id="it")
    Signal("a").send(1)
    store.before = lambda call: [key for key in call.keys if call.verb == "write" and key == dead_key("a")]
    deliver(receivers)
    (ref,) = stored(store).retries
    assert ref.not_before_ms == mailbox.now_ms() + 30_000


def test_whoever_joins_others_looks_again_where_they_hold_everything(mailbox: Mailbox, store: MemoryStore) -> None:
    send_many([("a", number) for number in range(3)])
    (claim,) = Claimer(mailbox, {"a": Order(True, 3, 60_000)}).claim().claims
    records = load(mailbox, [claim])[0].items
    looks = 0

    def hand_back(call: Call) -> None:
        nonlocal looks
        looks += call.verb == "gets" and page_key("a") in call.keys
        if looks == 2:
            store.before = None
            assert acknowledge(mailbox, [LeaseEnd(claim, [record for _, record in records])]) == []

    store.before = hand_back
    seen: list[object] = []
    receivers = Receivers()
    receivers.connect("a", seen.append, reliable=True, id="it")
    deliver(receivers, opening=JOINING)
    assert seen
