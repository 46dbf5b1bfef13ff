"""Lanes: which one of a hot name this process sends on, and reading all of them.

The memory is a bounded cache, and lasts as long as the name is hot: forgetting an entry costs one send through the home
page, nothing more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gaesignals.format.keys import Address
from gaesignals.format.page import HOT_MS, Page
from gaesignals.stores.client import Connection, Seen

MAX_NAMES = 10_000


class Lanes:
    """The lane that last worked for each name. Safe in threads; no lock is held across a call."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, now_ms: int) -> int:
        with self._lock:
            lane, hot_ms = self._lanes.get(name, (0, 0))
            return lane if abs(now_ms - hot_ms) < HOT_MS else 0

    def keep(self, name: str, lane: int, hot_ms: int) -> None:
        """Stay on `lane` of a name that was hot at that time; lane 0 needs no remembering."""
        with self._lock:
            self._lanes.pop(name, None)
            if not lane:
                return
            self._lanes[name] = lane, hot_ms
            if len(self._lanes) > MAX_NAMES:
                self._lanes.popitem(last=False)


def read_pages(connection: Connection, names: Iterable[str]) -> dict[Address, Seen[Page]]:
    """Read the home pages of `names`, and the other lanes of those that are widened in one more call."""
    return with_lanes(connection, read_addresses(connection, [Address(name) for name in names]))


def with_lanes(connection: Connection, homes: dict[Address, Seen[Page]]) -> dict[Address, Seen[Page]]:
    """These home pages as they were read, and the other lanes of those that are widened, read in one call."""
    lanes = [
        Address(address.name, lane)
        for address, seen in homes.items()
        if seen.value
        for lane in range(1, seen.value.width)
    ]
    return homes | (read_addresses(connection, lanes) if lanes else {})


def read_addresses(connection: Connection, addresses: Sequence[Address]) -> dict[Address, Seen[Page]]:
    seen = connection.read([address.key for address in addresses], Page.from_bytes)
    return {address: seen[address.key] for address in addresses}
