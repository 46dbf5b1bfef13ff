"""The names that this process emptied."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


class Emptied:
    """The names that deliveries of this process have emptied and nobody has settled in the index yet.

    Bounded: a name that is forgotten is settled by the worker. Safe in threads.
    """

    MAX_NAMES = 1000
    PERIOD_SECONDS = 60.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._names: set[str] = set()
        self._due: float | None = None
        self._lock = threading.Lock()

    def add(self, names: Sequence[str]) -> None:
        """Remember `names`; the first ones start the period."""
        with self._lock:
            if self._due is None and names:
                self._due = self._clock() + self.PERIOD_SECONDS
            for name in names:
                if len(self._names) < self.MAX_NAMES:
                    self._names.add(name)

    def take_due(self) -> list[str]:
        """Return the names to settle now: all of them once a period, none in between."""
        with self._lock:
            if self._due is None or self._clock() < self._due or not self._names:
                return []
            names = sorted(self._names)
            self._names.clear()
            self._due = self._clock() + self.PERIOD_SECONDS
            return names
