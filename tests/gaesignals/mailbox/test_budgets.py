"""The memcache calls that each operation may cost, counted at the SDK's own interface.

`benchmarks/calls.py` prints the same measurements.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.calls import Meter, interleaved_calls_a_send, metered
from gaesignals import Signal, deliver, send_many

NAMES = [f"user_{number}_password_change" for number in range(100)]


@pytest.fixture
def meter() -> Iterator[Meter]:
    with metered() as meter:
        yield meter


def mapping() -> list[tuple[str, object]]:
    return [(name, lambda data: None) for name in NAMES]


@pytest.mark.parametrize(("reliable", "idle", "active"), [(False, 1, 2), (True, 1, 4)])
def test_a_delivery_of_a_hundred_names(meter: Meter, reliable: bool, idle: int, active: int) -> None:
    with meter.counting() as calls:
        deliver(mapping(), reliable=reliable)
    assert calls.count == idle
    send_many([(name, {"at": name}) for name in NAMES])
    with meter.counting() as calls:
        report = deliver(mapping(), reliable=reliable)
    assert (report.delivered, calls.count) == (100, active)
    with meter.counting() as calls:
        deliver(mapping(), reliable=reliable)
    assert calls.count == idle


def test_a_send_is_two_calls(meter: Meter) -> None:
    for _ in range(2):
        with meter.counting() as calls:
            Signal("order_paid").send({"order": 1})
        assert calls.count == 2


def test_sending_to_a_hundred_names_is_two_calls(meter: Meter) -> None:
    with meter.counting() as calls:
        send_many([(name, 1) for name in NAMES])
    assert calls.count == 2


def test_a_body_and_a_seal_together_are_one_call_more(meter: Meter) -> None:
    for _ in range(16):
        Signal("order_paid").send(1)
    with meter.counting() as calls:
        Signal("order_paid").send(b"x" * 100_000)
    assert calls.count == 3


@pytest.mark.parametrize(("names", "most"), [(500, 2), (5000, 14)])
def test_sending_to_very_many_names_is_two_calls_for_each_thousand_pages_and_slots(
    meter: Meter, names: int, most: int
) -> None:
    with meter.counting() as calls:
        ids = send_many([(f"user_{number}", 1) for number in range(names)])
    assert len(set(ids)) == names
    assert calls.count <= most


@pytest.mark.parametrize("names", [1, 17])
def test_sending_sixteen_megabytes_is_three_calls_and_so_is_receiving_them(meter: Meter, names: int) -> None:
    body = b"x" * 949_000
    pairs = [(f"upload_{number % names}", body) for number in range(17)]
    with meter.counting() as calls:
        send_many(pairs)
    assert calls.count == 3
    with meter.counting() as calls:
        report = deliver([(name, len) for name in {name for name, _ in pairs}])
    assert (report.delivered, report.remaining) == (17, 0)
    assert calls.count == (4 if names == 17 else 8), "of one name sixteen are claimed at first"


@pytest.mark.parametrize("reliable", [False, True])
def test_a_backlog_of_three_thousand_drains_in_at_most_forty_calls(meter: Meter, reliable: bool) -> None:
    for _ in range(3000):
        Signal("page_viewed").send({"path": "/"})
    delivered = 0
    with meter.counting() as calls:
        while not (report := deliver([("page_viewed", lambda data: None)], reliable=reliable)).is_idle:
            delivered += report.delivered
    assert delivered == 3000
    assert calls.count <= 40


def test_the_bytes_of_a_send_do_not_grow_with_the_backlog(meter: Meter) -> None:
    sizes = {}
    sent = 0
    for backlog in (400, 10_000):
        while sent < backlog:
            send_many([("page_viewed", number) for number in range(16)])
            sent += 16
        with meter.counting() as calls:
            for number in range(64):
                Signal("page_viewed").send(number)
        sizes[backlog] = calls.bytes
        sent += 64
    assert sizes[10_000] <= 1.3 * sizes[400]


def test_thirty_two_senders_on_one_name_spread_over_lanes() -> None:
    assert interleaved_calls_a_send(senders=32, sends=20, drainers=0, seed=1) <= 3


def test_thirty_two_senders_beside_two_drainers() -> None:
    assert interleaved_calls_a_send(senders=32, sends=20, drainers=2, seed=1) <= 5


@pytest.mark.parametrize("reliable", [False, True])
def test_what_is_kept_apart_costs_one_call_more_each(meter: Meter, reliable: bool) -> None:
    """Segments, then bodies found inside them, then deleting both."""
    for number in range(10):
        Signal("page_viewed").send(b"x" * (3000 if number % 2 else 1800))
    with meter.counting() as calls:
        report = deliver([("page_viewed", lambda data: None)], reliable=reliable)
    assert report.delivered == 10
    assert calls.count == (4 if reliable else 2) + 3
