"""Clocks that differ, clocks that jump, and leases that run out while their messages are run.

Each process has a clock of its own over one store; nothing here waits.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gaesignals import DeliveryReport, Receivers, Retry, deliver
from gaesignals.data import codec
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import look
from gaesignals.testing import ManualClock, MemoryStore

LEASE_SECONDS = 60.0


class DiedError(BaseException):
    """The process is gone."""


class Process:
    """A mailbox whose clock is `ahead` seconds before that of the store."""

    def __init__(self, store: MemoryStore, clock: ManualClock, ahead: float) -> None:
        self.ahead = ahead
        self.box = Mailbox(store, clock=self.now, random=random.Random(ahead), sleep=lambda _: None)
        self._clock = clock

    def now(self) -> float:
        return self._clock() + self.ahead

    def send(self, *numbers: int) -> None:
        self.box.send([("a", codec.dumps(number)) for number in numbers])

    def deliver(self, handler: Callable[[Any], object], **options: Any) -> DeliveryReport:
        receivers = Receivers()
        receivers.connect("a", handler, reliable=True, backoff_seconds=1, id="h", **options)
        return deliver(receivers, lease_seconds=LEASE_SECONDS, mailbox=self.box)


def contents(store: MemoryStore) -> dict[bytes, bytes | None]:
    return {key: store.raw(key) for key in store.keys()}  # noqa: SIM118


@pytest.mark.parametrize("ahead", [-9, -3, 3, 9])
def test_a_lease_is_respected_by_clocks_a_few_seconds_apart(
    store: MemoryStore, clock: ManualClock, ahead: float
) -> None:
    here, there = Process(store, clock, 0), Process(store, clock, ahead)
    there_handled: list[int] = []
    here_handled: list[int] = []

    def handle(data: int) -> None:
        here_handled.append(data)
        clock.advance(LEASE_SECONDS * 3 / 4 - 1)
        assert there.deliver(there_handled.append).is_idle

    for number in range(6):
        here.send(number)
        assert here.deliver(handle).delivered == 1
    assert (here_handled, there_handled) == (list(range(6)), [])


@pytest.mark.parametrize("ahead", [-5, 5])
def test_a_retry_is_run_once_by_clocks_a_few_seconds_apart(
    store: MemoryStore, clock: ManualClock, ahead: float
) -> None:
    processes = [Process(store, clock, 0), Process(store, clock, ahead)]
    attempts: Counter[int] = Counter()

    def handle(data: int) -> None:
        attempts[data] += 1
        if attempts[data] < 4:
            raise Retry(after_seconds=20)

    processes[0].send(*range(10))
    for number in range(40):
        processes[number % 2].deliver(handle)
        clock.advance(3)
    assert attempts == dict.fromkeys(range(10), 4)


@pytest.mark.parametrize("jump", [-60, 60])
def test_a_clock_that_jumps_a_minute_between_deliveries(store: MemoryStore, clock: ManualClock, jump: float) -> None:
    process = Process(store, clock, 0)
    attempts: Counter[int] = Counter()

    def handle(data: int) -> None:
        attempts[data] += 1
        process.ahead += jump if data == 3 and attempts[data] == 1 else 0
        if attempts[data] < 3:
            raise RuntimeError("not yet")

    process.send(*range(10))
    for _ in range(30):
        process.deliver(handle)
        clock.advance(10)
    assert look(process.box, ["a"])["a"].retrying == 0
    if jump < 0:
        assert attempts == dict.fromkeys(range(10), 3)
    else:
        assert set(attempts) == set(range(10))


@pytest.mark.parametrize("jump", [-60, 60])
def test_the_index_lives_with_a_clock_that_jumps_a_minute(store: MemoryStore, clock: ManualClock, jump: float) -> None:
    process = Process(store, clock, 0)
    process.send(1)
    process.ahead = jump
    index = Index(process.box)
    clock.advance(max(0, -jump))
    assert index.fan_out(lambda name: True, redispatch_seconds=300).names == ("a",)
    process.ahead = 0
    clock.advance(361)
    assert index.fan_out(lambda name: True, redispatch_seconds=300).names == ("a",), "a lost task is made up for"
    process.deliver(lambda data: None)
    assert index.settle(["a"]).unlisted == ("a",)


def test_a_lease_that_runs_out_in_the_middle_of_a_handler(store: MemoryStore, clock: ManualClock) -> None:
    here, there = Process(store, clock, 0), Process(store, clock, 2)
    here_handled: list[int] = []
    there_handled: list[int] = []

    def handle(data: int) -> None:
        here_handled.append(data)
        if data == 2:
            clock.advance(LEASE_SECONDS + 11)
            there.deliver(there_handled.append)

    here.send(*range(5))
    report = here.deliver(handle)
    assert (report.delivered, report.overtaken) == (0, 5)
    assert here_handled == [0, 1, 2], "it stops before the next handler"
    assert there_handled == [0, 1, 2, 3, 4]
    clock.advance(4000)
    assert here.deliver(handle).is_idle


def test_a_lease_that_ran_out_and_that_nobody_took_is_still_its_holders(store: MemoryStore, clock: ManualClock) -> None:
    process = Process(store, clock, 0)
    process.send(1)
    assert process.deliver(lambda data: clock.advance(5000)).delivered == 1
    assert process.deliver(lambda data: None).is_idle


def test_what_is_quick_is_not_run_again_beside_a_handler_of_an_hour(store: MemoryStore, clock: ManualClock) -> None:
    """All leases of one delivery are as long as the longest that is declared, and others come by every few minutes."""
    here, there = Process(store, clock, 0), Process(store, clock, 0)
    begun: Counter[Any] = Counter()
    receivers = Receivers()

    @receivers.receiver("slow", reliable=True, lease_seconds=2 * 3600)
    def slow(data: Any) -> None:
        begun[data] += 1
        for _ in range(12):
            clock.advance(300)
            deliver(others, mailbox=there.box)

    receivers.connect("quick", lambda data: begun.update([data]), reliable=True, id="quick")
    # Nobody else begins anything slow meanwhile, as nothing slow is left.
    others = Receivers()
    others.connect("slow", lambda data: begun.update([data]), reliable=True, id="slow", lease_seconds=2 * 3600)
    others.connect("quick", lambda data: begun.update([data]), reliable=True, id="quick")

    sent = [("slow", "film"), *(("quick", number) for number in range(40))]
    here.box.send([(name, codec.dumps(data)) for name, data in sent])
    report = deliver(receivers, mailbox=here.box)
    deliver(others, mailbox=there.box)
    assert begun == Counter(data for _, data in sent)
    assert report.overtaken == 0


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_the_acknowledgement_of_a_stale_holder_changes_nothing(
    store: MemoryStore, clock: ManualClock, fails: bool, is_finished: bool
) -> None:
    """Whether the other is done by then or died half way, and whatever the stale one has to give back."""
    here, there = Process(store, clock, 0), Process(store, clock, 0)
    before: dict[bytes, bytes | None] = {}

    def slow(data: int) -> None:
        if data == 9:
            clock.advance(LEASE_SECONDS + 11)
            with contextlib.suppress(DiedError):
                there.deliver(take_over)
            before.update(contents(store))
        if fails:
            raise RuntimeError("no")

    def take_over(data: int) -> None:
        if data == 4 and not is_finished:
            raise DiedError
        handled.append(data)

    handled: list[int] = []
    here.send(*range(10))
    report = here.deliver(slow)
    assert report.overtaken == 10
    # What it wanted to give back may lie there under a key that nothing refers to, until it expires.
    after = {key: value for key, value in contents(store).items() if key in before or not key.startswith(b"gs:b:")}
    assert after == before
    for _ in range(2):
        clock.advance(4000)
        there.deliver(handled.append)
    assert sorted(handled) == list(range(10))


def test_nothing_a_process_far_behind_writes_is_taken_for_overdue(store: MemoryStore, clock: ManualClock) -> None:
    """A minute is nothing to the seven days after which an entry is dropped."""
    behind, here = Process(store, clock, -60), Process(store, clock, 0)
    behind.send(1)
    here.send(2)
    assert list(Index(here.box).entries()) == ["a"]
    handled: list[int] = []
    here.deliver(handled.append)
    assert handled == [1, 2]
