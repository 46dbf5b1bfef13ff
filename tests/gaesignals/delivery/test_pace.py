"""How many messages of a name are claimed next."""

from __future__ import annotations

from typing import Any

import pytest

from gaesignals import Receivers
from gaesignals.delivery.opening import JOINING
from gaesignals.delivery.pace import LARGEST_CLAIM, Pace
from gaesignals.receiver import Match

PLENTY = 10.0


def matches(**options: Any) -> dict[str, list[Match]]:
    receivers = Receivers()
    receivers.connect("a", lambda data: None, reliable=True, **options)
    return {"a": list(receivers.matching("a"))}


def after(seconds_each: float, **options: Any) -> Pace:
    """The pace of a name of which each message of the last claim took so long."""
    pace = Pace(matches(**options))
    pace.note("a", seconds=seconds_each * 10, of_claim=seconds_each * 10, count=10)
    return pace


def test_the_first_claim_is_of_sixteen_or_of_one_batch() -> None:
    assert Pace(matches()).size("a", seconds_left=PLENTY) == 16
    assert Pace(matches(batch=100)).size("a", seconds_left=PLENTY) == 100


@pytest.mark.parametrize(("batch", "size"), [({}, 1), ({"batch": 5}, 5)])
def test_the_first_claim_is_of_one_batch_where_handlers_take_longer_than_a_lease(
    batch: dict[str, int], size: int
) -> None:
    pace = Pace(matches(lease_seconds=301, **batch))
    assert (pace.size("a", seconds_left=PLENTY), pace.most_at_once("a")) == (size, size)
    assert Pace(matches(lease_seconds=300)).size("a", seconds_left=PLENTY) == 16


def test_whoever_joins_others_begins_with_one_batch_too() -> None:
    assert Pace(matches(), JOINING).size("a", seconds_left=PLENTY) == 1


@pytest.mark.parametrize(("seconds_each", "size"), [(0.01, 100), (0.25, 4), (1.0, 1), (10.0, 1)])
def test_a_later_claim_is_what_a_second_is_enough_for(seconds_each: float, size: int) -> None:
    assert after(seconds_each).size("a", seconds_left=PLENTY) == size


def test_a_claim_is_never_of_more_than_a_thousand() -> None:
    assert after(1e-6).size("a", seconds_left=PLENTY) == LARGEST_CLAIM == 1000


def test_a_claim_is_of_no_more_than_the_rest_of_the_round_is_enough_for() -> None:
    assert after(0.01).size("a", seconds_left=0.3) == 30


def test_what_a_claim_took_beyond_one_batch_goes_back_where_each_takes_over_a_second() -> None:
    assert after(1.5, batch=3).most_at_once("a") == 3
    assert after(0.5).most_at_once("a") is None
