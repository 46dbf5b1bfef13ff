"""Writing what this process has counted to the history: once a minute, at the end of a request or between two rounds.

Nothing here is on a message's way, and nothing that fails here fails a request. What memcache does not take is kept for
the next minute, as far back as an hour. An instance that is told to stop writes what it has left at once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from gaesignals.format.counts import Cell
from gaesignals.format.fleet import Instance, LastError, News, PastDelivery
from gaesignals.format.history import EVER, Delta, SpanKey, deltas
from gaesignals.mailbox.history import History, Remembered

from .counting import Counting, Minutes
from .deliveries import Deliveries
from .labels import Labels
from .version import Version
from .working import Working

logger = logging.getLogger("gaesignals.worker")

# Of an idle instance cron is the only caller. It comes once a minute, now and then a little early.
EVERY_SECONDS = 55.0
MAX_MINUTES = 60
MAX_PLACES = 200
T = TypeVar("T")
_NOTHING: Mapping[bytes, Cell] = {}


class Recorder:
    """Tells the history and the fleet what this process did. Safe in threads: one of them writes."""

    def __init__(
        self,
        history: History,
        *,
        counting: Counting,
        working: Working,
        deliveries: Deliveries,
        labels: Labels,
        version: Version,
        is_stopping: Callable[[], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._history = history
        self._counting = counting
        self._working = working
        self._deliveries = deliveries
        self._shards = labels.shards
        self._version = version
        self._is_stopping = is_stopping
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[SpanKey, Delta] = {}
        self._telling: tuple[PastDelivery, ...] = ()
        self._written = Remembered()
        self._errors: dict[bytes, LastError] = {}
        self._known_errors: dict[bytes, LastError] = {}
        self._written_at = clock()
        self._heard_until = int(clock()) // 60
        self._is_told = False

    def write_if_due(self) -> None:
        """Write, if the last time was about a minute ago, or if this process is about to end."""
        if self._is_stopping() or self._clock() - self._written_at >= EVERY_SECONDS:
            self.write()

    def write_to_look(self) -> None:
        """Write for somebody who is about to look, if there is anything that was not told yet.

        So who looks again sees more, whichever instance answers, and never less.
        """
        has_news = self._counting.has_counted or self._deliveries.untold or self._working.now()
        if has_news or not self._is_told:
            self.write()
        else:
            self.write_if_due()

    def write(self) -> None:
        """Write what there is. Whatever fails is logged."""
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            self._written_at = self._clock()
            self._write()
        except Exception:
            logger.exception("what this instance counted could not be written to the history")
        finally:
            self._lock.release()

    def untold(self) -> tuple[Mapping[SpanKey, Delta], News]:
        """What this instance would tell now, for when nobody can be told."""
        minutes, errors = self._counting.untold()
        left = _with_counts(self._left, minutes)
        deliveries = (*self._telling, *self._deliveries.untold)
        return left, News(self._instance(), deliveries, {**self._known_errors, **errors})

    @property
    def written(self) -> Remembered:
        """What this instance wrote since `forget_written` was called, as it was then with what others had counted."""
        return self._written

    def forget_written(self) -> None:
        """It was read since."""
        self._written = Remembered()

    def _write(self) -> None:
        minutes, errors = self._counting.take()
        self._known_errors |= errors
        now_minute = int(self._clock()) // 60
        heard = range(max(self._heard_until, now_minute - MAX_MINUTES), now_minute + 1)
        left = _with_counts(self._left, minutes, self._shards)
        self._left = _with_counts(left, dict.fromkeys(heard, _NOTHING), self._shards)
        self._errors |= errors
        self._telling = deliveries = self._deliveries.take()
        added = self._history.add(self._left, News(self._instance(), deliveries, self._errors))
        written = self._written.with_later(added.stored)
        self._written = Remembered(_newest(written.spans), written.fleet)
        self._left = _newest(added.refused)
        self._telling = ()
        self._is_told = added.is_told
        if added.is_told:
            self._errors = {}
        else:
            self._deliveries.put_back(deliveries)
            logger.warning("the history was not written; it is tried again in a minute")
        self._heard_until = now_minute

    def _instance(self) -> Instance:
        now_ms = int(self._clock() * 1000)
        return Instance(
            self._version.instance,
            os.getpid(),
            self._version.deployed,
            _ms(self._version.started_at),
            now_ms,
            now_ms if self._is_stopping() else 0,
            self._working.now(),
        )


def _with_counts(left: Mapping[SpanKey, Delta], minutes: Minutes, shards: Iterable[int] = ()) -> dict[SpanKey, Delta]:
    """A new dict with what is left and what was counted, in minutes that are known in all of the `shards`."""
    found: dict[SpanKey, Delta] = {}
    for more in (left, *(deltas(minute * 60_000, cells, shards) for minute, cells in minutes.items())):
        for place, delta in more.items():
            found.setdefault(place, Delta()).update(delta)
    return found


def _newest(left: Mapping[SpanKey, T]) -> dict[SpanKey, T]:
    """What is kept: the newest, and what counts for ever."""
    order = sorted(
        left, key=lambda place: (place.grain is not EVER, -place.period * place.grain.slots * place.grain.slot_ms)
    )
    return {place: left[place] for place in order[:MAX_PLACES]}


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
