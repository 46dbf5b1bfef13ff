"""The rate of a queue: a bucket of tokens, one for each task dispatched, that can be slowed down."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SLOWDOWN = 64.0


@dataclass(slots=True)
class TokenBucket:
    """Holds at most `capacity` tokens, gains `rate_per_second` and starts full. Times are seconds of any one clock."""

    rate_per_second: float
    capacity: int
    filled_at: float
    tokens: float
    slowdown: float = 1.0

    @classmethod
    def full(cls, *, rate_per_second: float, capacity: int, now: float) -> TokenBucket:
        """Make one that has all its tokens at `now`."""
        return cls(rate_per_second, capacity, filled_at=now, tokens=float(capacity))

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        self._fill(now)
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def ready_at(self, now: float) -> float | None:
        """When there will be a token, `now` if there is one; None if never."""
        self._fill(now)
        if self.tokens >= 1.0:
            return now
        return now + (1.0 - self.tokens) / self._rate if self._rate else None

    def slow_down(self, now: float) -> None:
        """Halve the rate and forget what was saved up: the target said that it is overloaded."""
        self._fill(now)
        self.tokens = min(self.tokens, 0.0)
        self.slowdown = min(self.slowdown * 2.0, MAX_SLOWDOWN)

    def speed_up(self, now: float) -> None:
        """Go half the way back to the full rate: the target answered."""
        self._fill(now)
        self.slowdown = max(self.slowdown / 2.0, 1.0)

    @property
    def _rate(self) -> float:
        return self.rate_per_second / self.slowdown

    def _fill(self, now: float) -> None:
        # A clock that was set back must not empty the bucket.
        self.tokens = min(float(self.capacity), self.tokens + max(0.0, now - self.filled_at) * self._rate)
        # A token's last rounding error would make the caller wait for nothing, again and again.
        if abs(self.tokens - round(self.tokens)) < 1e-9:
            self.tokens = float(round(self.tokens))
        self.filled_at = now
