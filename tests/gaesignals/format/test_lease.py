"""Values that pages refer to: when their time has come."""

from __future__ import annotations

import pytest

from gaesignals.format.entries import LONGEST_WAIT_MS, is_due
from gaesignals.format.lease import Holding, Lease

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize("at_ms", [-1, 0, NOW_MS - 1, NOW_MS])
def test_what_is_past_or_now_is_due(at_ms: int) -> None:
    assert is_due(at_ms, NOW_MS)


@pytest.mark.parametrize("ahead_ms", [1, 7 * 86400 * 1000, LONGEST_WAIT_MS])
def test_what_is_ahead_is_not_due(ahead_ms: int) -> None:
    assert not is_due(NOW_MS + ahead_ms, NOW_MS)


@pytest.mark.parametrize("ahead_ms", [LONGEST_WAIT_MS + 1, 2**63])
def test_what_is_further_ahead_than_anything_can_wait_is_due_so_that_nothing_waits_for_ever(ahead_ms: int) -> None:
    assert is_due(NOW_MS + ahead_ms, NOW_MS)


LEASE = Lease("a" * 24, NOW_MS, Holding(0, 0), holder="6ff64563")


def test_a_lease_keeps_its_holder() -> None:
    assert Lease.from_wire(LEASE.to_wire()) == LEASE


def test_a_lease_without_a_holder_takes_no_room_for_one() -> None:
    earlier = {name: value for name, value in LEASE.to_wire().items() if name != "o"}
    read = Lease.from_wire(earlier)
    assert (read.holder, read.to_wire()) == ("", earlier)


@pytest.mark.parametrize(("wire", "holder"), [(7, ""), (None, ""), (["x"], ""), ("x" * 100, "x" * 20)])
def test_a_holder_that_makes_no_sense_costs_no_lease(wire: object, holder: str) -> None:
    assert Lease.from_wire({**LEASE.to_wire(), "o": wire}).holder == holder
