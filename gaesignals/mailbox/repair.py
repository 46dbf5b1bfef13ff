"""Repair: finding the lanes of a name whose home page was evicted.

Only the home page says how wide a name is. If memcache forgets it, messages in other lanes wait unseen until somebody
sends on a lane, or until this looks at all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gaesignals.format.keys import Address
from gaesignals.format.page import MAX_WIDTH, Page
from gaesignals.stores.client import Connection, Kind, Seen

from .index.listing import list_names
from .rewrite import PAGE, Fate, Plan, rewrite

logger = logging.getLogger("gaesignals")

_MAX_ATTEMPTS = 10


def repair(connection: Connection, names: Iterable[str]) -> tuple[str, ...]:
    """Look at all 64 lanes of each name; make wide enough again, and due now, those that have more than they say.

    Returns these names. Costs a call for each fifteen names. Raises `StoreError` if the index cannot be written.
    """
    widening = _Widening(connection, names)
    rewrite(connection, widening, attempts=_MAX_ATTEMPTS)
    if widening.repaired:
        logger.warning("home pages were evicted and are repaired", extra={"signals_count": len(widening.repaired)})
        list_names(connection, dict.fromkeys(widening.repaired, connection.now_ms()))
    return tuple(widening.repaired)


class _Widening:
    """The planner of `repair`. A page is as wide as it was made, however often, so its plans have no mark."""

    def __init__(self, connection: Connection, names: Iterable[str]) -> None:
        self._connection = connection
        self._todo = {Address(name).key: name for name in names}
        self.repaired: list[str] = []

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return {Address(name, lane).key: PAGE for name in self._todo.values() for lane in range(MAX_WIDTH)}

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, name in list(self._todo.items()):
            home = seen.get(key)
            if home is None or not home.is_writable:
                continue
            page: Page = home.value or Page(self._connection.new_id())
            used = [lane for lane in range(page.width, MAX_WIDTH) if _has_any(seen.get(Address(name, lane).key))]
            if used:
                yield Plan(key, home, replace(page, width=1 << max(used).bit_length()))
            else:
                del self._todo[key]

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate is Fate.STORED:
            self.repaired.append(self._todo.pop(plan.key))

    def give_up(self, key: bytes, reason: str) -> None:
        """What cannot be read or written now is looked at again with the next repair."""
        self._todo.pop(key, None)


def _has_any(seen: Seen[Page] | None) -> bool:
    return seen is not None and seen.value is not None and not seen.value.is_empty
