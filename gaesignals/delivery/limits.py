"""What bounds a delivery, its rounds and its leases."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from gaesignals.errors import InvalidOptionError
from gaesignals.receiver import MAX_LEASE_SECONDS, Match

LEASE_SECONDS: Final = 300.0
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
    def round_seconds(self) -> float:
        """How long a round may begin messages."""
        return min(MAX_ROUND_SECONDS, self.lease_seconds / 4)

    @property
    def handler_seconds(self) -> float:
        """How long a handler may take. A round is over a quarter of the lease after it began, so this is the rest."""
        return self.lease_seconds * 3 / 4


def longest_lease(lease_seconds: float, matches: Iterable[Match]) -> float:
    """The longest lease that any of these receivers declares, at least `lease_seconds`."""
    return max([lease_seconds, *(match.receiver.lease_seconds or 0 for match in matches)])


def check_options(lease_seconds: float, max_messages: int | None, max_seconds: float | None) -> None:
    """Raise `InvalidOptionError` for a bound that makes no sense."""
    if not _is_number(lease_seconds) or not 1 <= lease_seconds <= MAX_LEASE_SECONDS:
        raise InvalidOptionError(f"lease_seconds is {lease_seconds!r:.80}; give from 1 to {MAX_LEASE_SECONDS}")
    if max_messages is not None and (type(max_messages) is not int or max_messages < 1):
        raise InvalidOptionError(f"max_messages is {max_messages!r:.80}; give a whole number, or None for no limit")
    if max_seconds is not None and not (_is_number(max_seconds) and max_seconds > 0):
        raise InvalidOptionError(f"max_seconds is {max_seconds!r:.80}; give more than 0, or None for no limit")


def _is_number(value: object) -> bool:
    """Whether it is a number that a clock may be moved by: a whole one may be larger than any float."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
