"""What each receiver did in the last day, on all instances: counts, the last error, how long its handler takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gaesignals.format.counts import DURATION_BOUNDS, DURATIONS, Cell, Field, percentile
from gaesignals.format.fleet import LastError

from .past import at, rounded


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """Counts of messages, and about how many seconds a call of the handler took.

    All is None where nothing is known.
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

    @classmethod
    def of(cls, cell: Cell | None, error: LastError | None) -> ReceiverStatistics:
        said, said_at = (error.text, at(error.at_ms)) if error else (None, None)
        if cell is None:
            return cls(last_error=said, last_error_at=said_at)
        return cls(
            delivered=cell.get(Field.DELIVERED, 0),
            failed=cell.get(Field.FAILED, 0),
            retried=cell.get(Field.RETRIED, 0),
            dead=cell.get(Field.DEAD, 0),
            expired=cell.get(Field.EXPIRED, 0),
            last_error=said,
            last_error_at=said_at,
            median_seconds=rounded(percentile(cell, DURATIONS, DURATION_BOUNDS, 50)),
            p95_seconds=rounded(percentile(cell, DURATIONS, DURATION_BOUNDS, 95)),
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
