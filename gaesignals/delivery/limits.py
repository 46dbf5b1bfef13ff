"""What bounds a delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a round. `deadline` is on the mailbox's clock; None means no limit."""

    lease_seconds: float
    max_messages: int | None
    deadline: float | None
    should_stop: Callable[[], bool]
