"""When a message that is for later is due."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest

from gaesignals.due import due_of
from gaesignals.errors import InvalidOptionError

NOW = 1_700_000_000.0
AT = datetime.fromtimestamp(NOW, timezone.utc)


def test_neither_is_now() -> None:
    assert due_of(delay_seconds=None, at=None, now=NOW) is None


@pytest.mark.parametrize("seconds", [0, 0.5, 600, 29 * 86400])
def test_a_delay_counts_from_now(seconds: float) -> None:
    assert due_of(delay_seconds=seconds, at=None, now=NOW) == NOW + seconds


def test_a_moment_is_itself_whatever_its_zone() -> None:
    at = (AT + timedelta(hours=1)).astimezone(timezone(timedelta(hours=-5)))
    assert due_of(delay_seconds=None, at=at, now=NOW) == NOW + 3600


def test_a_moment_that_is_just_past_counts_as_now() -> None:
    assert due_of(delay_seconds=None, at=AT - timedelta(seconds=59), now=NOW) == NOW


NO_FLOAT = pytest.param(10**400, id="no float")


@pytest.mark.parametrize("seconds", [-1, 29 * 86400 + 1, NO_FLOAT, math.nan, math.inf, True, "10", None.__class__])
def test_a_delay_that_cannot_be_is_an_error(seconds: object) -> None:
    with pytest.raises(InvalidOptionError, match="delay_seconds="):
        due_of(delay_seconds=seconds, at=None, now=NOW)  # type: ignore[arg-type]  # what is tested


@pytest.mark.parametrize("at", [AT - timedelta(seconds=61), AT + timedelta(days=30), AT.replace(tzinfo=None), NOW])
def test_a_moment_that_cannot_be_is_an_error(at: object) -> None:
    with pytest.raises(InvalidOptionError, match="at="):
        due_of(delay_seconds=None, at=at, now=NOW)  # type: ignore[arg-type]  # what is tested


def test_both_are_an_error() -> None:
    with pytest.raises(InvalidOptionError, match="not both"):
        due_of(delay_seconds=1, at=AT, now=NOW)
