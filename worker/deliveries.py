"""The deliveries that this instance made last, for the administrator's page."""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from gaesignals.report import DeliveryReport

MAX_DELIVERIES = 50


class Source(enum.Enum):
    """What a delivery was made for: a task of the queue, or a person's drain that waits."""

    TASK = "task"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of so many names that found something to do."""

    ended_at: datetime
    seconds: float
    source: Source
    names: int
    report: DeliveryReport

    def to_json(self) -> dict[str, Any]:
        return {
            "ended_at": self.ended_at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "source": self.source.value,
            "names": self.names,
            **report_counts(self.report),
        }


class Deliveries:
    """The last fifty of this process. Safe in threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._newest: deque[Delivery] = deque(maxlen=MAX_DELIVERIES)

    def add(self, source: Source, *, names: int, report: DeliveryReport, seconds: float) -> None:
        """Keep a delivery that has just ended; one that found nothing is not worth it."""
        if not report.is_idle:
            ended_at = datetime.fromtimestamp(self._clock(), timezone.utc)
            # Without its failures: each holds an exception, and with it all that its handler had in its hands.
            self._newest.appendleft(Delivery(ended_at, seconds, source, names, replace(report, errors=())))

    def newest(self) -> tuple[Delivery, ...]:
        return tuple(self._newest.copy())


def report_counts(report: DeliveryReport) -> dict[str, int]:
    """The counts of a report, as they are answered and logged."""
    return {
        "delivered": report.delivered,
        "failed": report.failed,
        "retried": report.retried,
        "dead": report.dead,
        "lost": report.lost,
        "overtaken": report.overtaken,
        "expired": report.expired,
        "remaining": report.remaining,
    }
