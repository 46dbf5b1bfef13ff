"""What long backlogs cost in calls, however they came to be."""

from __future__ import annotations

import random

import pytest

from gaesignals import Receivers, Signal, send_many
from gaesignals.delivery.deliver import deliver
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.testing import ManualClock, MemoryStore

MOST_CALLS_A_DRAIN = 40


class Backlog:
    """A name with a quick handler, and how many calls are made about it."""

    def __init__(self, *, reliable: bool) -> None:
        clock = ManualClock()
        self.store = MemoryStore(clock=clock)
        self.box = Mailbox(self.store, clock=clock, random=random.Random(1), sleep=lambda _: None)
        self.ran: list[int] = []
        self.receivers = Receivers()
        self.receivers.connect("page_viewed", self.ran.append, reliable=reliable)

    def drain(self) -> int:
        """Deliver until nothing is left; return the calls that took."""
        before = len(self.store.calls)
        while not deliver(self.receivers, mailbox=self.box).is_idle:
            pass
        return len(self.store.calls) - before


@pytest.fixture(params=[True, False], ids=["reliable", "weak"])
def backlog(request: pytest.FixtureRequest) -> Backlog:
    return Backlog(reliable=request.param)


@pytest.mark.parametrize("ran_first", [1, 20, 500])
def test_what_a_stopped_delivery_hands_back_is_drained_in_few_calls(backlog: Backlog, ran_first: int) -> None:
    with use_mailbox(backlog.box):
        send_many([("page_viewed", number) for number in range(1100)])
    deliver(backlog.receivers, mailbox=backlog.box, should_stop=lambda: len(backlog.ran) >= ran_first)
    assert len(backlog.ran) == ran_first

    assert backlog.drain() <= MOST_CALLS_A_DRAIN
    assert sorted(backlog.ran) == list(range(1100))


def test_a_send_behind_sixteen_thousand_costs_no_more_than_any_that_seals(backlog: Backlog) -> None:
    with use_mailbox(backlog.box):
        send_many([("page_viewed", number) for number in range(16_000)])
        backlog.store.calls.clear()
        Signal("page_viewed").send(16_000)
    assert [call.verb for call in backlog.store.calls] == ["gets", "write", "write"]
    assert sum(call.sent_bytes for call in backlog.store.calls) < 200_000

    backlog.drain()
    assert sorted(backlog.ran) == list(range(16_001))
