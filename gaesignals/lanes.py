"""Which lane of a widened name this process sends on.

A bounded cache: forgetting an entry costs one send through the home page, nothing more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

MAX_NAMES = 10_000


class Lanes:
    """The lane that last worked for each name. Safe in threads; no lock is held across a call."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> int:
        with self._lock:
            return self._lanes.get(name, 0)

    def keep(self, name: str, lane: int) -> None:
        """Stay on `lane`; lane 0 needs no remembering."""
        with self._lock:
            self._lanes.pop(name, None)
            if not lane:
                return
            self._lanes[name] = lane
            if len(self._lanes) > MAX_NAMES:
                self._lanes.popitem(last=False)
