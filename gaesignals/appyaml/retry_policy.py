"""When a failed task is tried again, and when it is given up."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RETENTION_SECONDS = 31 * 86400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The retry parameters of a queue.

    A task is given up when it was retried `max_retries` times *and* `max_age_seconds` have passed since its first
    attempt; a limit that is None does not count, and without either a task is tried until it is 31 days old. The time
    between attempts starts at the minimum, doubles `max_doublings` times, then grows by the last step, to the maximum.
    """

    max_retries: int | None = None
    max_age_seconds: float | None = None
    min_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 3600.0
    max_doublings: int = 16

    def backoff_seconds(self, *, attempts: int) -> float:
        """How long to wait after `attempts` (1 or more) have failed."""
        doublings = min(attempts - 1, self.max_doublings)
        # Exponents are bounded: a float ends at 2**1023.
        step = self.min_backoff_seconds * 2.0 ** min(doublings, 512)
        linear_steps = max(0, attempts - 1 - self.max_doublings)
        return min(self.max_backoff_seconds, step * (1 + linear_steps))

    def gives_up(self, *, attempts: int, age_seconds: float) -> bool:
        """Whether no attempt follows the last of `attempts`, `age_seconds` after the first."""
        if age_seconds >= MAX_RETENTION_SECONDS:
            return True
        if self.max_retries is None and self.max_age_seconds is None:
            return False
        tried_enough = self.max_retries is None or attempts > self.max_retries
        old_enough = self.max_age_seconds is None or age_seconds >= self.max_age_seconds
        return tried_enough and old_enough
