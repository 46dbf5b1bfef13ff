"""What each receiver did on this instance since it started: counts, the last error, how long its handler takes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from gaesignals.observing import HandlerCall, Observer

MAX_DURATIONS = 500


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """Counts of messages; durations in seconds of one call of the handler, over the newest five hundred.

    A receiver with a batch has one duration for each batch. All is None where nothing is known yet.
    """

    delivered: int = 0
    failed: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None
    median_seconds: float | None = None
    p95_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "delivered": self.delivered,
            "failed": self.failed,
            "last_error": self.last_error,
            "last_error_at": self.last_error_at.isoformat(timespec="seconds") if self.last_error_at else None,
            "median_seconds": self.median_seconds,
            "p95_seconds": self.p95_seconds,
        }


class _Sums:
    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0
        self.last_error: str | None = None
        self.last_error_at: datetime | None = None
        self.seconds: deque[float] = deque(maxlen=MAX_DURATIONS)


class Statistics(Observer):
    """Watches the handlers of this process. Holds at most five hundred numbers a receiver. Safe in threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sums: dict[str, _Sums] = {}

    def handled(self, call: HandlerCall) -> None:
        with self._lock:
            sums = self._sums.setdefault(call.receiver, _Sums())
            sums.delivered += call.count - call.failed
            sums.failed += call.failed
            sums.seconds.append(call.seconds)
            if call.error:
                sums.last_error = call.error
                sums.last_error_at = datetime.fromtimestamp(self._clock(), timezone.utc)

    def of(self, receiver: str) -> ReceiverStatistics:
        """What the receiver of that id did so far."""
        with self._lock:
            sums = self._sums.get(receiver)
            if sums is None:
                return ReceiverStatistics()
            seconds = sorted(sums.seconds)
            return ReceiverStatistics(
                sums.delivered,
                sums.failed,
                sums.last_error,
                sums.last_error_at,
                percentile(seconds, 50),
                percentile(seconds, 95),
            )


def percentile(ordered: list[float], percent: int) -> float:
    """The least of `ordered`, which is not empty, that so many of a hundred do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
