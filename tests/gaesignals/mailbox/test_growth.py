"""A mailbox that grows in every direction there is, and stays within what memcache takes.

The store refuses what memcache would: a value over a million bytes, a call over 1,000 keys or 16 MB. Nothing starves,
and one name's trouble never touches the other names of a call.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections import Counter
from typing import Any

import pytest

from gaesignals import (
    DeliveryReport,
    Message,
    Receivers,
    Retry,
    Signal,
    StoreError,
    deliver,
    send_many,
)
from gaesignals.data import codec
from gaesignals.errors import SendError
from gaesignals.format import keys
from gaesignals.format.entries import Record
from gaesignals.format.inline import Inline
from gaesignals.format.keys import dead_key, page_key, slot_key
from gaesignals.format.lease import Holding, Lease
from gaesignals.format.page import MAX_LEASES, MAX_WIDTH, Page
from gaesignals.format.slot import MAX_BYTES, Slot
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.index import fan_out as pending
from gaesignals.mailbox.look import look
from gaesignals.stores.store import MEMCACHE_LIMITS, Set
from gaesignals.testing import ManualClock, MemoryStore

pytestmark = pytest.mark.usefixtures("mailbox", "quiet")
BODY = b"x" * 900_000
FEW_BYTES = 5_000


class DiedError(BaseException):
    """The process is gone."""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of the same traceback would take longer than all the rest."""
    monkeypatch.setattr(logging.getLogger("gaesignals"), "disabled", True)


def reliable(handler: Any, *names: str, **options: Any) -> Receivers:
    receivers = Receivers()
    for name in names or ("a",):
        receivers.connect(name, handler, reliable=True, id="h", **options)
    return receivers


def page_of(store: MemoryStore, name: str = "a") -> Page:
    value = store.raw(page_key(name))
    assert value is not None
    return Page.from_bytes(value)


def heaviest_call(store: MemoryStore) -> int:
    return max(max(call.sent_bytes, call.received_bytes) for call in store.calls)


def deliver_all(receivers: Any, **options: Any) -> list[DeliveryReport]:
    reports = []
    while not (report := deliver(receivers, **options)).is_idle:
        reports.append(report)
        assert len(reports) < 1000, "the deliveries do not come to an end"
    return reports


# Messages that fail, and fail again


def test_thousands_of_failing_messages_keep_the_page_small_and_the_calls_few(
    store: MemoryStore, clock: ManualClock, mailbox: Mailbox
) -> None:
    attempts: Counter[int] = Counter()

    def fail(data: int) -> None:
        attempts[data] += 1
        raise RuntimeError("down")

    receivers = reliable(fail, max_attempts=5)
    send_many([("a", number) for number in range(1000)])
    store.calls.clear()
    rounds = 0
    while look(mailbox, ["a"])["a"].retrying or not rounds:
        deliver(receivers)
        assert len(store.raw(page_key("a")) or b"") < FEW_BYTES
        assert len(page_of(store).retries) <= 20
        clock.advance(20)
        rounds += 1
        assert rounds < 1000, "they never become dead letters"
    assert set(attempts.values()) == {5}
    assert len(attempts) == 1000
    assert len(store.calls) <= 17 * rounds


def test_messages_that_fail_one_by_one_are_brought_together(store: MemoryStore, clock: ManualClock) -> None:
    """Each delivery leaves a bundle of one; past sixteen of them some delivery soon writes them as one."""

    def fail(data: int) -> None:
        raise Retry(after_seconds=6 * 86400)

    receivers = reliable(fail)
    for number in range(300):
        Signal("a").send(number)
        deliver(receivers)
        assert len(page_of(store).retries) <= 40
    assert sum(ref.count for ref in page_of(store).retries) == 300
    bundles = [key for key in store.keys() if key.startswith(b"gs:b:")]  # noqa: SIM118
    assert len(bundles) == len(page_of(store).retries)


def test_retries_far_in_the_future_are_neither_run_early_nor_charged(store: MemoryStore, clock: ManualClock) -> None:
    seen: list[tuple[int, int]] = []

    def later(message: list[Message]) -> None:
        seen.append((message[0].data, message[0].attempt))
        if message[0].attempt == 1:
            raise Retry(after_seconds=6 * 86400)

    receivers = reliable(later, batch=1)
    for number in range(60):
        Signal("a").send(number)
        deliver(receivers)
    for _ in range(20):
        clock.advance(3600)
        assert deliver(receivers).delivered == 0
    clock.advance(6 * 86400)
    deliver_all(receivers)
    assert sorted(seen) == sorted((number, attempt) for number in range(60) for attempt in (1, 2))


def test_failing_messages_do_not_starve_fresh_ones(clock: ManualClock) -> None:
    """Retries have half the bytes of a delivery, however much of them is due."""
    seen: list[bytes] = []

    def handler(data: bytes) -> None:
        if len(data) > 10:
            raise RuntimeError("too much for me")
        seen.append(data)

    receivers = reliable(handler, backoff_seconds=1)
    send_many([("a", BODY) for _ in range(25)])
    for _ in range(3):
        deliver(receivers)
    for number in range(5):
        clock.advance(100)
        Signal("a").send(b"%d" % number)
        deliver(receivers)
        assert seen[-1:] == [b"%d" % number]


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("bound", ["max_messages", "max_seconds"])
def test_a_busy_name_does_not_starve_the_others_of_a_delivery_that_ends_early(
    clock: ManualClock, bound: Any, mode: bool
) -> None:
    seen: list[str] = []

    def handler(data: str) -> None:
        clock.advance(1)
        seen.append(data)

    for name in ("b", "c"):
        Signal(name).send(name)
    for _ in range(40):
        send_many([("a", "busy") for _ in range(12)])
        deliver([(name, handler) for name in "abc"], reliable=mode, **{bound: 5})
    assert {"b", "c"} <= set(seen)


@pytest.mark.parametrize("bound", ["max_messages", "max_seconds"])
@pytest.mark.parametrize("is_failure", [True, False])
def test_fresh_messages_do_not_starve_what_failed_or_was_given_back_and_are_not_starved_by_it(
    clock: ManualClock, bound: Any, is_failure: bool
) -> None:
    seen: Counter[str] = Counter()

    def handler(data: str) -> None:
        clock.advance(1)
        seen[data] += 1
        if data == "always" or (data == "once" and is_failure and seen["once"] == 1):
            raise RuntimeError(data)

    receivers = reliable(handler, backoff_seconds=0, max_attempts=10_000)
    send_many([("a", "always") for _ in range(20)])
    clock.advance(1)
    Signal("a").send("once")
    deliver(receivers, should_stop=lambda: not is_failure)
    for _ in range(40):
        send_many([("a", "fresh") for _ in range(12)])
        deliver(receivers, **{bound: 5})
    assert seen["once"] == 1 + is_failure
    assert seen["fresh"] >= 40
    assert seen["always"] >= 20


def test_no_lane_starves_another_in_deliveries_that_end_early(mailbox: Mailbox, store: MemoryStore) -> None:
    store.write([Set(page_key("a"), Page("epoch", width=4, hot_ms=mailbox.now_ms()).to_bytes())])
    seen: list[str] = []
    mailbox.lanes.keep("a", 3, mailbox.now_ms())
    Signal("a").send("lane 3")
    mailbox.lanes.keep("a", 1, mailbox.now_ms())
    for _ in range(40):
        send_many([("a", "busy") for _ in range(12)])
        deliver([("a", seen.append)], reliable=True, max_messages=5)
    assert "lane 3" in seen


# Leases


def leave_a_lease(receivers: Receivers) -> None:
    with pytest.raises(DiedError):
        deliver(receivers, lease_seconds=60)


def test_a_page_has_a_number_of_leases_at_most(store: MemoryStore, clock: ManualClock) -> None:
    handled: list[int] = []

    def die(data: int) -> None:
        raise DiedError

    deadly, healthy = reliable(die), reliable(handled.append)
    for number in range(MAX_LEASES):
        Signal("a").send(number)
        leave_a_lease(deadly)
    Signal("a").send(MAX_LEASES)
    report = deliver(healthy)
    assert (report.delivered, report.remaining, report.more, handled) == (0, 1, (), [])
    assert len(page_of(store).leases) == MAX_LEASES
    assert len(store.raw(page_key("a")) or b"") < FEW_BYTES
    clock.advance(71)
    assert deliver(healthy).delivered == MAX_LEASES + 1, "expired ones are taken over where there is no room for more"
    assert sorted(handled) == list(range(MAX_LEASES + 1))


def test_weak_deliveries_go_on_beside_four_leases_and_leave_them_alone(store: MemoryStore) -> None:
    def die(data: int) -> None:
        raise DiedError

    handled: list[int] = []
    for number in range(4):
        Signal("a").send(number)
        leave_a_lease(reliable(die))
    leases = page_of(store).leases
    Signal("a").send(4)
    deliver([("a", handled.append)])
    assert handled == [4]
    assert page_of(store).leases == leases
    assert store.ttl_seconds(page_key("a")) is None


def test_a_takeover_of_many_failing_messages_keeps_the_page_small(store: MemoryStore, clock: ManualClock) -> None:
    """The most that an error can be, in letters of four bytes each."""
    largest = 0

    def handler(data: int) -> None:
        nonlocal largest
        largest = max(largest, len(store.raw(page_key("a")) or b""))
        raise RuntimeError("\N{PILE OF POO}" * 2000)

    def die(data: int) -> None:
        raise DiedError

    send_many([("a", number) for number in range(400)])
    leave_a_lease(reliable(die))
    clock.advance(100)
    assert deliver(reliable(handler)).failed == 400
    assert largest < 150_000
    assert sum(ref.count for ref in page_of(store).retries) == 400


def test_a_takeover_whose_marks_cannot_be_stored_elsewhere_stops_there(store: MemoryStore, clock: ManualClock) -> None:
    """Otherwise they would pile up in the page, past what memcache takes."""

    def die(data: int) -> None:
        raise DiedError

    begun: Counter[int] = Counter()

    def handler(data: int) -> None:
        begun[data] += 1
        raise RuntimeError("\N{PILE OF POO}" * 2000)

    send_many([("a", number) for number in range(300)])
    leave_a_lease(reliable(die, batch=300))
    clock.advance(100)
    store.before = lambda call: [key for key in call.keys if call.verb == "write" and key.startswith(b"gs:b:")]
    deliver(reliable(handler))
    assert len(begun) <= 40
    store.before = None
    clock.advance(4000)
    deliver(reliable(handler))
    assert len(begun) == 300


# The index


def test_a_million_waiting_names_are_found_and_each_is_won_once(
    store: MemoryStore, clock: ManualClock, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slots hold as many names as two of 1,024 would."""
    monkeypatch.setattr(keys, "SLOTS", 2)
    monkeypatch.setattr(pending, "SLOTS", 2)
    names = [f"{number:06}".ljust(200, "x") for number in range(2 * 977)]
    send_many([(name, 1) for name in names])
    index = Index(mailbox)
    won = index.fan_out(lambda name: True, redispatch_seconds=300)
    assert sorted(won.names) == sorted(names)
    assert index.fan_out(lambda name: True, redispatch_seconds=300).names == ()
    assert heaviest_call(store) < MEMCACHE_LIMITS.bytes
    receivers = Receivers()
    receivers.connect("{name}", lambda data, name: None, id="h")
    assert deliver(receivers, names=names).delivered == len(names)
    assert set(index.settle(names).unlisted) == set(names)
    assert index.entries() == {}


def ignore(data: Any) -> None:
    pass


def names_of_slot(slot: int, count: int) -> list[str]:
    """Names of 200 bytes that are all listed in the same slot."""
    found = []
    for number in range(10**7):
        name = f"{number:08}".ljust(200, "y")
        if keys.slot_of(name) == slot:
            found.append(name)
            if len(found) == count:
                break
    return found


@pytest.fixture
def full_slot(store: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> str:
    """Slot 0 of two has no room for another name; returns one that is listed there."""
    monkeypatch.setattr(keys, "SLOTS", 2)
    monkeypatch.setattr(pending, "SLOTS", 2)
    names = [f"{number:06}".ljust(200, "z") for number in range(MAX_BYTES // 211 - 1)]
    names[0] = names_of_slot(0, 1)[0]
    slot = Slot(dict.fromkeys(names, int(clock() * 1000)))
    assert len(slot.to_bytes()) <= MAX_BYTES < len(slot.to_bytes()) + 3 * 211
    store.set_raw(slot_key(0), slot.to_bytes())
    return names[0]


def test_a_full_slot_refuses_new_names_and_no_others(store: MemoryStore, mailbox: Mailbox, full_slot: str) -> None:
    *_, refused, also_refused, too = names_of_slot(0, 6)
    other = names_of_slot(1, 1)[0]
    with pytest.raises(SendError, match="no room") as raised:
        send_many([(other, 1), (full_slot, 2), (refused, 3), (also_refused, 4), (too, 5), (other, 6)])
    error = raised.value
    assert len(error.stored) >= 3
    assert error.unsure == ()
    assert len(error.failed) + len(error.stored) == 6
    assert store.raw(page_key(too)) is None, "what cannot be listed is not stored"
    assert len(store.raw(slot_key(0)) or b"") <= MAX_BYTES
    handled: list[int] = []
    deliver([(other, handled.append), (full_slot, handled.append)])
    assert handled == [1, 6, 2]
    with pytest.raises(StoreError, match="no room"):
        Signal(too).send(7)


def test_there_is_room_again_once_names_are_empty(mailbox: Mailbox, clock: ManualClock, full_slot: str) -> None:
    names = names_of_slot(0, 6)
    with contextlib.suppress(SendError):
        send_many([(name, 1) for name in names])
    clock.advance(60)
    index = Index(mailbox)
    index.settle(list(index.entries())[:20])
    for name in names:
        Signal(name).send(2)
    assert set(names) <= set(index.entries())


def test_a_full_slot_stops_neither_fan_out_nor_settling(mailbox: Mailbox, full_slot: str) -> None:
    index = Index(mailbox)
    waiting, other = [*names_of_slot(0, 6)[2:], names_of_slot(1, 1)[0]][-2:]
    Signal(other).send(1)
    with pytest.raises(StoreError):
        index.put_back([other, *names_of_slot(0, 500)[10:]])
    won = index.fan_out_named([other, full_slot, waiting], redispatch_seconds=300)
    assert {other, full_slot} <= set(won.names)
    assert index.settle([other, full_slot]).unlisted == (full_slot,)


# Width, bodies and bulk


def test_sixty_four_lanes_of_a_hundred_names_are_delivered_in_one_go(
    store: MemoryStore, mailbox: Mailbox, clock: ManualClock
) -> None:
    names = [f"name {number}" for number in range(100)]
    sent_us = int(clock() * 10**6)
    writes = [
        Set(page_key(name, lane), Page(mailbox.new_id(), record, width=MAX_WIDTH if lane == 0 else 1).to_bytes())
        for lane in range(MAX_WIDTH)
        for name in names
        for record in [Inline.of([Record(mailbox.new_id(), sent_us, codec.dumps(lane))])]
    ]
    mailbox.write(writes)
    assert sum(key.startswith(b"gs:p:") for key in store.keys()) == 6400  # noqa: SIM118
    store.calls.clear()
    handled: Counter[int] = Counter()
    report = deliver(reliable(lambda data: handled.update([data]), *names))
    assert report.delivered == 6400
    assert set(handled.values()) == {100}
    assert len(store.calls) <= 40
    assert deliver(reliable(ignore, *names)).is_idle


@pytest.mark.parametrize("mode", [False, True])
def test_bodies_of_900_kilobytes_are_claimed_within_bounds(store: MemoryStore, mode: bool) -> None:
    for number in range(20):
        Signal("a").send(b"%02d" % number + BODY)
    store.calls.clear()
    handled: list[bytes] = []
    deliver_all([("a", lambda data: handled.append(data[:2]))], reliable=mode)
    assert sorted(handled) == [b"%02d" % number for number in range(20)]
    assert heaviest_call(store) <= MEMCACHE_LIMITS.bytes + 100_000


def test_one_name_with_large_bodies_does_not_keep_the_others_waiting(clock: ManualClock) -> None:
    handled: list[Any] = []
    for _ in range(40):
        Signal("large").send(BODY)
    send_many([(f"small {number}", number) for number in range(20)])
    mapping: list[tuple[str, Any]] = [("large", ignore)]
    mapping += [(f"small {number}", handled.append) for number in range(20)]
    for _ in range(3):
        deliver(mapping)
    assert sorted(handled) == list(range(20))


def test_bodies_that_fail_go_back_and_come_again(store: MemoryStore, clock: ManualClock) -> None:
    begun: Counter[bytes] = Counter()

    def handler(data: bytes) -> None:
        begun[data[:2]] += 1
        if begun[data[:2]] < 3:
            raise RuntimeError("\N{PILE OF POO}" * 2000)

    send_many([("a", b"%02d" % number + BODY) for number in range(20)])
    for _ in range(12):
        deliver(reliable(handler))
        clock.advance(100)
    assert set(begun.values()) == {3}
    assert len(begun) == 20
    assert not [key for key in store.keys() if key.startswith(b"gs:b:")]  # noqa: SIM118


@pytest.mark.parametrize("payload", [BODY, b"x" * 1000])
def test_dead_letters_with_long_tracebacks_fit_their_page(store: MemoryStore, mailbox: Mailbox, payload: bytes) -> None:
    def fail(data: bytes) -> None:
        raise RuntimeError("\N{PILE OF POO}" * 5000)

    receivers = Receivers()
    receivers.connect("a", fail, reliable=True, max_attempts=1, id="r" * 200)
    send_many([("a", b"%03d" % number + payload) for number in range(130)])
    reports = deliver_all(receivers)
    assert sum(report.dead for report in reports) == 130
    assert DeadLetters(mailbox).names() == {"a": 100}
    letters = DeadLetters(mailbox).list("a")
    assert [int(letter.data[:3]) for letter in letters] == list(range(30, 130))
    assert len(store.raw(dead_key("a")) or b"") < MAX_BYTES
    assert heaviest_call(store) <= MEMCACHE_LIMITS.bytes + 100_000
    assert DeadLetters(mailbox).requeue("a") == 100
    assert sum(report.delivered for report in deliver_all(requeued_to(ignore))) == 100


def requeued_to(handler: Any) -> Receivers:
    receivers = Receivers()
    receivers.connect("a", handler, reliable=True, id="r" * 200)
    return receivers


def test_send_many_to_five_thousand_names_stores_and_lists_every_one(store: MemoryStore, mailbox: Mailbox) -> None:
    names = [f"user_{number}_changed" for number in range(5000)]
    ids = send_many([(name, number) for number, name in enumerate(names)])
    assert len(set(ids)) == 5000
    assert set(Index(mailbox).entries()) == set(names)
    receivers = Receivers()
    handled: list[int] = []
    receivers.connect("user_{user}_changed", lambda data, user: handled.append(data), id="h")
    deliver(receivers, names=names)
    assert sorted(handled) == list(range(5000))


def test_send_many_takes_more_than_a_call_may_carry(store: MemoryStore) -> None:
    chance = random.Random(1)
    pairs = [(f"name {number % 7}", chance.randbytes(chance.choice([10, 3000, 900_000]))) for number in range(90)]
    assert sum(len(data) for _, data in pairs) > 20_000_000
    send_many(pairs)
    assert heaviest_call(store) <= MEMCACHE_LIMITS.bytes + 100_000
    handled: list[bytes] = []
    deliver_all([(f"name {number}", handled.append) for number in range(7)])
    assert sorted(handled) == sorted(data for _, data in pairs)


# What memcache would refuse


def test_a_page_that_has_grown_too_large_is_refused_alone(store: MemoryStore, mailbox: Mailbox) -> None:
    """A page gets nowhere near the limit by our own doing; one that somebody planted there stops nobody else."""
    large = Record(mailbox.new_id(), 1, b"x" * 31_120)
    leases = [
        Lease(mailbox.new_id(), 2**47, Holding(0, 0, Inline.of([large]), 0, large.size)) for _ in range(MAX_LEASES)
    ]
    page = Page(mailbox.new_id(), leases=tuple(leases))
    assert 998_000 < len(page.to_bytes()) <= 1_000_000
    store.set_raw(page_key("a"), page.to_bytes())
    with pytest.raises(SendError) as raised:
        send_many([("a", b"x" * 1900), ("b", 1)])
    assert len(raised.value.stored) == 1
    handled: list[int] = []
    report = deliver(reliable(handled.append, "a", "b"))
    assert handled == [1]
    assert report.delivered == 1
