"""A name that many send to at once needs no tuning, and costs nothing once that is over."""

from __future__ import annotations

import pytest

from gaesignals.delivery.deliver import deliver

from .fleet import MINUTE, Fleet

INDEX_CALLS = 8
SENDS = 30
INDEX_KEYS = b"gs:i:"


@pytest.mark.parametrize("names", [200, pytest.param(2000, marks=pytest.mark.stress)])
def test_names_that_were_hot_once_cost_nothing_forty_minutes_later(names: int) -> None:
    fleet = Fleet()
    fleet.connect("user_{id}_seen", 0.0, reliable=False)
    for name in range(names):
        for _ in range(3):
            fleet.add_sender(f"user_{name}_seen", 1, after=name * 0.01 + 0.002 * fleet.random.random())
    fleet.run(names * 0.01 + MINUTE)
    fleet.start()
    fleet.run_until_done()
    fleet.run(40 * MINUTE)

    calls, tasks = fleet.store.calls, fleet.queue.created
    fleet.run(10 * MINUTE)

    assert fleet.queue.created == tasks
    assert fleet.store.calls == calls + 10 * INDEX_CALLS
    assert [key for key in fleet.lasting_keys() if not key.startswith(INDEX_KEYS)] == []
    fleet.check()


@pytest.mark.parametrize(("drainers", "most"), [(0, 3.0), (2, 5.0)])
def test_thirty_two_senders_on_one_name_make_few_calls_a_send(drainers: int, most: float) -> None:
    fleet = Fleet()
    fleet.connect("hot", 0.0, batch=100)
    for _ in range(32):
        fleet.add_sender("hot", SENDS, after=fleet.random.random() * 0.05)

    def drain() -> None:
        box = fleet.mailbox(fleet.store)
        while not fleet.ledger.is_done:
            deliver(fleet.receivers, mailbox=box)

    for _ in range(drainers):
        fleet.timeline.spawn(drain)
    fleet.run(MINUTE)

    assert fleet.senders.calls / len(fleet.ledger.sent) <= most
    if drainers:
        assert fleet.ledger.is_done


def test_twenty_workers_keep_up_with_sixteen_senders_of_one_name() -> None:
    fleet = Fleet()
    fleet.connect("hot", 0.05)
    for _ in range(16):
        fleet.add_sender("hot", 60, after=fleet.random.random() * 0.05, pause=0.05)
    fleet.start()
    fleet.run_until_done()

    sent_for = 60 * (0.05 + 3 * 0.005)
    assert fleet.seconds_taken <= sent_for + 2.0
    fleet.check()
