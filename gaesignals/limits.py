"""What bounds a delivery, its rounds and its leases: whoever asks how long a lease may last asks here."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeGuard

from .errors import InvalidOptionError, brief

LEASE_SECONDS: Final = 300.0
LEAST_LEASE_SECONDS: Final = 1
MOST_LEASE_SECONDS: Final = 86400
MAX_ROUND_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one delivery. `deadline` is on the mailbox's monotonic clock, infinite if there is none.

    All leases of a delivery last `lease_seconds`, at least what its caller gives and the longest that a receiver of its
    names declares.
    """

    lease_seconds: float
    max_messages: int | None
    deadline: float
    should_stop: Callable[[], bool]

    @property
    def is_bounded(self) -> bool:
        """Whether it may end before everything that was claimed had its turn."""
        return self.max_messages is not None or self.deadline != math.inf

    @property
    def lease_ms(self) -> int:
        return int(self.lease_seconds * 1000)

    @property
    def round_seconds(self) -> float:
        """How long a round may begin messages."""
        return min(MAX_ROUND_SECONDS, self.lease_seconds / 4)

    @property
    def handler_seconds(self) -> float:
        """How long a handler may take."""
        return handler_seconds(self.lease_seconds)


def handler_seconds(lease_seconds: float) -> float:
    """How long a lease leaves a handler. A round is over a quarter of the lease after it began, so this is the rest."""
    return lease_seconds * 3 / 4


def longest_lease(lease_seconds: float, declared: Iterable[float | None]) -> float:
    """The longest of what receivers have `declared`, if they have, and at least `lease_seconds`."""
    return max([lease_seconds, *(seconds or 0 for seconds in declared)])


def is_lease(seconds: object) -> bool:
    """Whether a lease can last so long."""
    return is_number(seconds) and LEAST_LEASE_SECONDS <= seconds <= MOST_LEASE_SECONDS


def check_bounds(lease_seconds: float, max_messages: int | None, max_seconds: float | None) -> None:
    """Raise `InvalidOptionError` for a bound that makes no sense."""
    if not is_lease(lease_seconds):
        raise InvalidOptionError(
            f"lease_seconds is {brief(lease_seconds)}; give from {LEAST_LEASE_SECONDS} to {MOST_LEASE_SECONDS}"
        )
    if max_messages is not None and (type(max_messages) is not int or max_messages < 1):
        raise InvalidOptionError(f"max_messages is {brief(max_messages)}; give a whole number, or None for no limit")
    if max_seconds is not None and not (is_number(max_seconds) and max_seconds > 0):
        raise InvalidOptionError(f"max_seconds is {brief(max_seconds)}; give more than 0, or None for no limit")


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number that a clock may be moved by: a whole one may be larger than any float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
