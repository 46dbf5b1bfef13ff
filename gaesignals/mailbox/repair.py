"""Repair: finding the lanes of a name whose home page was evicted.

Only the home page says how wide a name is. If memcache forgets it, messages in other lanes wait unseen until somebody
sends on a lane, or until this looks at all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from gaesignals.format.keys import Address
from gaesignals.format.page import MAX_WIDTH, Page
from gaesignals.stores.client import Connection, Seen
from gaesignals.stores.store import Outcome, Write

from .index import list_names

logger = logging.getLogger("gaesignals")

_MAX_ATTEMPTS = 10


def repair(connection: Connection, names: Iterable[str]) -> tuple[str, ...]:
    """Look at all 64 lanes of each name; make wide enough again, and due now, those that have more than they say.

    Returns these names. Costs a call for each fifteen names. Raises `StoreError` if the index cannot be written.
    """
    todo = list(dict.fromkeys(names))
    repaired: list[str] = []
    for _ in connection.attempts(_MAX_ATTEMPTS):
        addresses = [Address(name, lane) for name in todo for lane in range(MAX_WIDTH)]
        seen = connection.read([address.key for address in addresses], Page.from_bytes)
        narrow = _too_narrow(todo, seen)
        if not narrow:
            break
        writes = [_widen(connection, name, width, seen[Address(name).key]) for name, width in narrow.items()]
        outcomes = connection.write(writes)
        repaired += [name for name in narrow if outcomes.get(Address(name).key) is Outcome.STORED]
        todo = [name for name in narrow if name not in repaired]
    if repaired:
        logger.warning("home pages were evicted and are repaired", extra={"signals_count": len(repaired)})
        list_names(connection, dict.fromkeys(repaired, connection.now_ms()))
    return tuple(repaired)


def _too_narrow(names: Iterable[str], seen: Mapping[bytes, Seen[Page]]) -> dict[str, int]:
    """The names with something in a lane beyond their width, and the width that they need."""
    narrow = {}
    for name in names:
        home = seen[Address(name).key]
        width = home.value.width if home.value else 1
        used = [lane for lane in range(width, MAX_WIDTH) if _has_any(seen[Address(name, lane).key])]
        if used and home.is_writable:
            narrow[name] = 1 << max(used).bit_length()
    return narrow


def _has_any(seen: Seen[Page]) -> bool:
    return seen.value is not None and not seen.value.is_empty


def _widen(connection: Connection, name: str, width: int, home: Seen[Page]) -> Write:
    page = home.value or Page(connection.new_id())
    return home.replaced_by(Address(name).key, replace(page, width=width))
