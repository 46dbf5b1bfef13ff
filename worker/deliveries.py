"""The deliveries that this process made since it told the fleet last."""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gaesignals.format.fleet import MAX_DELIVERIES, MAX_NAMES, PastDelivery
from gaesignals.report import DeliveryReport


class Source(enum.Enum):
    """What a delivery was made for: a task of the queue, or a person's drain that waits."""

    TASK = "task"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of so many names that found something to do: by which instance, and at whose wish.

    `which` are the first of its names. `by` is empty where no person asked for it.
    """

    ended_at: datetime
    seconds: float
    source: Source
    names: int
    report: DeliveryReport
    instance: str = ""
    which: tuple[str, ...] = ()
    by: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "ended_at": self.ended_at.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "source": self.source.value,
            "by": self.by,
            "instance": self.instance,
            "names": self.names,
            "which": list(self.which),
            **report_counts(self.report),
        }


class Deliveries:
    """Those that are still to be told, fifty at most. Safe in threads."""

    def __init__(self, instance: str = "", clock: Callable[[], float] = time.time) -> None:
        self._instance = instance
        self._clock = clock
        self._lock = threading.Lock()
        self._untold: deque[PastDelivery] = deque(maxlen=MAX_DELIVERIES)

    def add(
        self, source: Source, *, names: Sequence[str], report: DeliveryReport, seconds: float, by: str = ""
    ) -> None:
        """Note a delivery that has just ended; one that found nothing is not worth it."""
        if report.is_idle:
            return
        ended_ms, took_ms = int(self._clock() * 1000), int(seconds * 1000)
        # Without its failures: each holds an exception, and with it all that its handler had in its hands.
        counts = report_counts(report)
        past = PastDelivery(
            ended_ms, took_ms, source.value, self._instance, len(names), tuple(names[:MAX_NAMES]), by, counts
        )
        with self._lock:
            self._untold.append(past)

    @property
    def untold(self) -> tuple[PastDelivery, ...]:
        """Those that there are to take."""
        with self._lock:
            return tuple(self._untold)

    def take(self) -> tuple[PastDelivery, ...]:
        """Those that were noted since the last call."""
        with self._lock:
            taken = tuple(self._untold)
            self._untold.clear()
        return taken

    def put_back(self, deliveries: Sequence[PastDelivery]) -> None:
        """They could not be told. The oldest go first where there are too many."""
        with self._lock:
            newer = tuple(self._untold)
            self._untold.clear()
            self._untold.extend([*deliveries, *newer])


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
