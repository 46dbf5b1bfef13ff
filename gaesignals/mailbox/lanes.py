"""Which lane of a widened name this process sends on.

A bounded cache: forgetting an entry costs one send through the home page, nothing more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from random import Random

from gaesignals.format.keys import Address
from gaesignals.format.page import MAX_WIDTH, Page
from gaesignals.stores.client import Connection, Seen

MAX_NAMES = 10_000
LOSSES_TO_WIDEN = 2


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


def lane_after_losses(lane: int, losses: int, width: int, random: Random) -> int:
    """The lane for the next attempt of a send that lost so often, the last time at `width`.

    Two lost double the width, and move to one of the new lanes.
    """
    if losses < LOSSES_TO_WIDEN:
        return random.randrange(width) if width > 1 else lane
    return random.choice(range(width, 2 * width) if width < MAX_WIDTH else range(MAX_WIDTH))


def read_pages(connection: Connection, names: Iterable[str]) -> dict[Address, Seen[Page]]:
    """Read the home pages of `names`, and the other lanes of those that are widened in one more call."""
    pages = read_addresses(connection, [Address(name) for name in names])
    lanes = [
        Address(address.name, lane)
        for address, seen in pages.items()
        if seen.value
        for lane in range(1, seen.value.width)
    ]
    return pages | (read_addresses(connection, lanes) if lanes else {})


def read_addresses(connection: Connection, addresses: Sequence[Address]) -> dict[Address, Seen[Page]]:
    seen = connection.read([address.key for address in addresses], Page.from_bytes)
    return {address: seen[address.key] for address in addresses}
