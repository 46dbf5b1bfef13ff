"""Values that pages refer to: when their time has come."""

from __future__ import annotations

import pytest

from gaesignals.lease import LONGEST_WAIT_MS, is_due

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
