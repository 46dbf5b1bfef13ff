"""Backoff: how long a message that failed waits before it is run again."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from gaesignals.raised import is_wait
from gaesignals.receiver import Backoff

logger = logging.getLogger("gaesignals")

# Waits are doubled up to an hour; one that is longer from the start stays as it is.
DOUBLED_UP_TO_SECONDS = 3600.0


def wait_seconds(
    attempt: int, *, receiver: str, backoff: Backoff | None, backoff_seconds: float, random: random.Random
) -> float:
    """How long to wait after the failure of this attempt, counted from 1.

    `backoff` says how long, of a list the last number again and again. Without one it is a random part of
    `backoff_seconds`, doubled for each attempt; the same where a function of the application's fails or answers what
    cannot be waited. `receiver` is whose it is, for the log.
    """
    seconds = None if backoff is None else _asked(backoff, attempt, receiver)
    if seconds is not None:
        return seconds
    longest = max(DOUBLED_UP_TO_SECONDS, backoff_seconds)
    return random.uniform(0, min(longest, backoff_seconds * 2.0 ** min(attempt - 1, 60)))


def _asked(backoff: Backoff, attempt: int, receiver: str) -> float | None:
    if isinstance(backoff, Sequence):
        return backoff[min(attempt, len(backoff)) - 1]
    fields = {"signals_receiver": receiver, "signals_attempt": attempt}
    try:
        seconds = backoff(attempt)
    except Exception:
        logger.exception("a receiver's backoff failed; its backoff_seconds are waited", extra=fields)
        return None
    if is_wait(seconds):
        return seconds
    logger.error("a receiver's backoff is none from 0 to 604800 seconds; its backoff_seconds are waited", extra=fields)
    return None
