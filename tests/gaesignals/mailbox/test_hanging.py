"""Memcache that hangs: whoever waits for a send or a delivery waits for about two calls, whatever it asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gaesignals import Receivers, StoreError, deliver, send_many
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.testing import Call, ManualClock, MemoryStore

DEADLINE_SECONDS = 5.0


class HangingStore(MemoryStore):
    """A store that lets calls of some verbs run into their deadline, from the given number of calls on."""

    deadline_seconds = DEADLINE_SECONDS

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.clock = clock

    def hang(self, *verbs: str, takes_effect: bool = False) -> None:
        def wait(call: Call) -> object:
            if call.verb not in verbs:
                return None
            self.clock.advance(DEADLINE_SECONDS)
            return call.keys

        self.before, self.after = (None, wait) if takes_effect else (wait, None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> HangingStore:
    return HangingStore(clock)


@pytest.fixture
def waited(clock: ManualClock, store: HangingStore) -> Callable[[Callable[[], object]], float]:
    """Do something that has to end with our error, and say how long it took."""

    def wait(action: Callable[[], object]) -> float:
        started = clock()
        with use_mailbox(Mailbox(store, clock=clock, sleep=lambda _: None)), pytest.raises(StoreError):
            action()
        return clock() - started

    return wait


@pytest.mark.parametrize("count", [1, 1000])
@pytest.mark.parametrize("verbs", [("gets", "write"), ("write",)], ids=["all", "writes"])
@pytest.mark.parametrize("takes_effect", [False, True], ids=["lost", "unanswered"])
@pytest.mark.parametrize("size", [1, 3000], ids=["small", "with bodies"])
def test_a_send_gives_up_after_about_two_deadlines(
    store: HangingStore,
    waited: Callable[[Callable[[], object]], float],
    count: int,
    verbs: tuple[str, ...],
    takes_effect: bool,
    size: int,
) -> None:
    store.hang(*verbs, takes_effect=takes_effect)
    outgoing = [(f"name-{number}", "x" * size) for number in range(count)]
    assert waited(lambda: send_many(outgoing)) <= 2 * DEADLINE_SECONDS


def test_a_delivery_gives_up_after_one_deadline_of_its_first_look(
    store: HangingStore, waited: Callable[[Callable[[], object]], float]
) -> None:
    receivers = Receivers()
    for number in range(1000):
        receivers.connect(f"name-{number}", print)
    store.hang("gets", "write", "delete")
    assert waited(lambda: deliver(receivers)) <= 2 * DEADLINE_SECONDS


def test_a_claim_that_hangs_is_not_repeated_for_minutes(
    store: HangingStore, clock: ManualClock, waited: Callable[[Callable[[], object]], float]
) -> None:
    with use_mailbox(Mailbox(store, clock=clock, sleep=lambda _: None)):
        send_many([("a", 1)])
    store.hang("write")
    assert waited(lambda: deliver([("a", print)])) <= 2 * DEADLINE_SECONDS


@pytest.mark.parametrize("reliable", [False, True])
def test_a_delivery_that_is_under_way_ends_soon_after_memcache_does(
    store: HangingStore, clock: ManualClock, reliable: bool
) -> None:
    """Nothing that is slow is looked for again and again where nobody answers."""
    hangs_from = 0.0

    def handle(number: int) -> None:
        nonlocal hangs_from
        clock.advance(2)
        if number == 2:
            store.hang("gets", "write", "delete")
            hangs_from = clock()

    with use_mailbox(Mailbox(store, clock=clock, sleep=lambda _: None)):
        send_many([("a", number) for number in range(6)])
        deliver([("a", handle)], reliable=reliable)
    assert hangs_from
    assert clock() - hangs_from <= 4 * DEADLINE_SECONDS
