"""Whether the worker and what it lives on are well: cron, memcache, the queue.

Every instance tells the same about cron, since the time of the last fan-out is in memcache. Nothing here raises because
a service fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.format.keys import FLUSH_MARKER, LAST_FAN_OUT
from gaesignals.mailbox.box import Mailbox
from gaesignals.stores.client import Seen, State, decoded
from gaesignals.stores.store import Add, Cas, Outcome, Set

from .queue import QueueState, TaskQueue

logger = logging.getLogger("gaesignals.worker")

# A fan-out is late when cron has missed this many; App Engine's cron itself may miss one.
LATE_RUNS = 3
QUEUE_SECONDS = 10.0
UNKNOWN_QUEUE_SECONDS = 60.0
_VERSION = 1
_LAST_MS = 2**47


@dataclass(frozen=True, slots=True)
class Health:
    """What a look found.

    `is_memcache_silent`: it answered for nothing that was asked. `has_flushed`: since this instance looked last,
    memcache was flushed, or evicted the marker that tells. `flushed_at` is when this instance last noticed that.
    `last_fan_out_at` is None where there was none or memcache does not know; cron should come every `cron_seconds`.
    """

    is_memcache_up: bool = True
    is_memcache_silent: bool = False
    has_flushed: bool = False
    flushed_at: datetime | None = None
    last_fan_out_at: datetime | None = None
    last_fan_out_age_seconds: float | None = None
    cron_seconds: float = 60.0
    queue: QueueState = QueueState.UNKNOWN

    @property
    def late_after_seconds(self) -> float:
        return LATE_RUNS * self.cron_seconds

    @property
    def is_fan_out_late(self) -> bool:
        age = self.last_fan_out_age_seconds
        return age is None or age > self.late_after_seconds

    def to_json(self) -> dict[str, Any]:
        return {
            "memcache": "ok" if self.is_memcache_up else "down",
            "flushed": self.has_flushed,
            "last_fan_out_at": self.last_fan_out_at.isoformat(timespec="seconds") if self.last_fan_out_at else None,
            "last_fan_out_age_seconds": self.last_fan_out_age_seconds,
            "is_fan_out_late": self.is_fan_out_late,
            "late_after_seconds": self.late_after_seconds,
            "queue": self.queue.value,
        }


class HealthCheck:
    """Looks at memcache in one call, two after a flush, and asks the queue every few seconds. Safe in threads."""

    def __init__(
        self,
        mailbox: Mailbox,
        queue: TaskQueue,
        *,
        cron_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mailbox = mailbox
        self._queue = queue
        self._cron_seconds = cron_seconds
        self._clock = clock
        self._marker: str | None = None
        self._flushed_at: datetime | None = None
        self._queue_state = (QueueState.UNKNOWN, clock())

    def note_fan_out(self) -> None:
        """Say in memcache that a fan-out has just ended, in one call; failing shows in the next look."""
        value = codec.seal(_VERSION, self._mailbox.now_ms())
        self._mailbox.write([Set(LAST_FAN_OUT, value)])

    def look(self) -> Health:
        reads = self._mailbox.gets([FLUSH_MARKER, LAST_FAN_OUT])
        fan_out = decoded(LAST_FAN_OUT, reads[LAST_FAN_OUT], _time_from_bytes)
        marker = decoded(FLUSH_MARKER, reads[FLUSH_MARKER], _marker_from_bytes)
        now = self._mailbox.clock()
        has_flushed = self._has_flushed(marker)
        if has_flushed:
            self._flushed_at = datetime.fromtimestamp(now, timezone.utc)
        failed = [seen.state is State.FAILED for seen in (marker, fan_out)]
        return Health(
            is_memcache_up=not any(failed),
            is_memcache_silent=all(failed),
            has_flushed=has_flushed,
            flushed_at=self._flushed_at,
            last_fan_out_at=None if fan_out.value is None else datetime.fromtimestamp(fan_out.value, timezone.utc),
            last_fan_out_age_seconds=None if fan_out.value is None else max(0.0, round(now - fan_out.value, 1)),
            cron_seconds=self._cron_seconds,
            queue=self._state_of_queue(),
        )

    def _has_flushed(self, seen: Seen[str]) -> bool:
        """Whether the marker is not the one that was there last; remember the one that is."""
        if seen.state in (State.FAILED, State.NEWER):
            return False
        before, self._marker = self._marker, seen.value or self._put_marker(seen)
        return before is not None and before != seen.value

    def _put_marker(self, seen: Seen[str]) -> str | None:
        marker = self._mailbox.new_id()
        value = codec.seal(_VERSION, marker)
        write = Add(FLUSH_MARKER, value) if seen.cas is None else Cas(FLUSH_MARKER, value, seen.cas)
        outcome = self._mailbox.write([write])[FLUSH_MARKER]
        # Somebody else was first, or nobody knows: the next look finds theirs.
        return marker if outcome is Outcome.STORED else None

    def _state_of_queue(self) -> QueueState:
        state, until = self._queue_state
        if self._clock() < until:
            return state
        try:
            state = self._queue.state()
        except Exception:
            logger.exception("the state of the queue cannot be asked for")
            state = QueueState.UNKNOWN
        seconds = UNKNOWN_QUEUE_SECONDS if state is QueueState.UNKNOWN else QUEUE_SECONDS
        self._queue_state = (state, self._clock() + seconds)
        return state


def _time_from_bytes(value: bytes) -> float:
    at_ms = codec.unseal(value, version=_VERSION)
    if not isinstance(at_ms, int) or not 0 <= at_ms < _LAST_MS:
        raise DecodeError("not a time")
    return at_ms / 1000


def _marker_from_bytes(value: bytes) -> str:
    marker = codec.unseal(value, version=_VERSION)
    if not isinstance(marker, str) or not marker:
        raise DecodeError("not a marker")
    return marker
