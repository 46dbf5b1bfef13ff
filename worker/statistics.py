"""What each receiver did in the last day, on all instances: counts, the last error, how long its handler takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gaesignals.format.counts import Field
from gaesignals.format.fleet import LastError

from .past import Point, at, rounded


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """Counts of messages, and about how many seconds a call of the handler took.

    None is what is not known. Where it is not `is_whole`, the counts are the least there were.
    """

    delivered: int | None = None
    failed: int | None = None
    retried: int | None = None
    dead: int | None = None
    expired: int | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    median_seconds: float | None = None
    p95_seconds: float | None = None
    is_whole: bool = True

    @classmethod
    def of(cls, day: Point, error: LastError | None) -> ReceiverStatistics:
        return cls(
            delivered=day.count(Field.DELIVERED),
            failed=day.count(Field.FAILED),
            retried=day.count(Field.RETRIED),
            dead=day.count(Field.DEAD),
            expired=day.count(Field.EXPIRED),
            last_error=error.text if error else None,
            last_error_at=at(error.at_ms) if error else None,
            median_seconds=rounded(day.handler_seconds(50)),
            p95_seconds=rounded(day.handler_seconds(95)),
            is_whole=day.is_whole,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "delivered": self.delivered,
            "failed": self.failed,
            "retried": self.retried,
            "dead": self.dead,
            "expired": self.expired,
            "last_error": self.last_error,
            "last_error_at": self.last_error_at.isoformat(timespec="seconds") if self.last_error_at else None,
            "median_seconds": self.median_seconds,
            "p95_seconds": self.p95_seconds,
        }
