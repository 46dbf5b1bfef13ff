"""When a message that is for later is due."""

from __future__ import annotations

import math
from datetime import datetime

from .errors import InvalidOptionError, brief
from .tasks.queue import MAX_AHEAD_SECONDS

# A time this far past counts as now: it was computed a moment ago, or by another clock.
PAST_SECONDS = 60.0


def due_of(*, delay_seconds: float | None, at: datetime | None, now: float) -> float | None:
    """Return the time in seconds since 1970 that either stands for, None for neither.

    Raises `InvalidOptionError` for both, for what is no time, and for one that is past or over 29 days ahead.
    """
    if delay_seconds is None and at is None:
        return None
    if delay_seconds is not None and at is not None:
        raise InvalidOptionError("give either delay_seconds or at, not both")
    ahead = _seconds(delay_seconds) if at is None else _moment(at) - now
    if not -PAST_SECONDS <= ahead <= MAX_AHEAD_SECONDS:
        given = f"at={brief(at)}" if at is not None else f"delay_seconds={brief(delay_seconds)}"
        raise InvalidOptionError(f"{given} cannot be: a message may be due from now to 29 days ahead")
    return now + max(0.0, ahead)


def _seconds(delay_seconds: object) -> float:
    if isinstance(delay_seconds, bool) or not isinstance(delay_seconds, (int, float)) or not delay_seconds >= 0:
        raise InvalidOptionError(f"delay_seconds={brief(delay_seconds)} cannot be: give a number of seconds from 0")
    # A whole number may be larger than any float.
    return float(delay_seconds) if delay_seconds <= MAX_AHEAD_SECONDS else math.inf


def _moment(at: object) -> float:
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise InvalidOptionError(f"at={brief(at)} cannot be: give a datetime with a time zone, such as timezone.utc")
    return at.timestamp()
