"""Discarding what waits: fresh messages, sealed segments and retries of a name, for good. What a lease holds stays.

One compare-and-set a page decides what is gone: a process that dies before it has changed nothing, one that dies after
it leaves nothing but values that nobody refers to and that expire.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gaesignals.errors import StoreError
from gaesignals.format.entries import Entry, Record, count_messages, entries_from_bytes, refs_of
from gaesignals.format.inline import NOTHING
from gaesignals.format.keys import Address, bundle_key, segment_key
from gaesignals.format.page import SEGMENT_BYTES, Page
from gaesignals.stores.client import Connection, Kind, Seen, decoded

from .box import Mailbox
from .index.unlisting import settle
from .lanes import read_pages
from .rewrite import PAGE, Fate, Plan, plan_page, rewrite

logger = logging.getLogger("gaesignals")

_MAX_ATTEMPTS = 30
_SEGMENTS_A_READ = 500


def discarded(page: Page) -> Page:
    """`page` with its leases and its width alone."""
    return replace(page.burnt(NOTHING), retries=())


def is_discardable(page: Page) -> bool:
    return page.is_waiting or bool(page.retries)


def discard(mailbox: Mailbox, names: Iterable[str]) -> int:
    """Discard what waits or is to be retried under `names`; return about how many messages that were.

    They are then out of the index, where nothing is leased. Raises `StoreError` if memcache did not answer for all of
    them; what was discarded by then is gone.
    """
    todo = list(dict.fromkeys(names))
    pages = read_pages(mailbox, todo)
    discarding = _Discarding(mailbox, pages)
    rewrite(mailbox, discarding, attempts=_MAX_ATTEMPTS, seen={at.key: seen for at, seen in pages.items()})
    _delete(mailbox, discarding.taken)
    try:
        settle(mailbox, todo)
    except StoreError:
        logger.exception("discarded names could not be settled in the index; the worker does it later")
    count = sum(page.waiting_count + count_messages(page.retries) for page in discarding.taken)
    if discarding.failed:
        raise StoreError(
            f"the store failed for {len(discarding.failed)} of the names; {count} messages are discarded, the rest wait"
        )
    return count


class _Discarding:
    """The planner of a discard. `taken` are the pages as they were before, `failed` the names where memcache failed.

    After a write of unknown outcome, if somebody has written since, nobody can tell. What the write may have taken is
    then left for memcache to expire: somebody may as well have it on a lease by now.
    """

    def __init__(self, connection: Connection, pages: Iterable[Address]) -> None:
        self._connection = connection
        self._todo = {address.key: address.name for address in pages}
        self._before: dict[bytes, Page] = {}
        self.taken: list[Page] = []
        self.failed: set[str] = set()

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._todo, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            page: Page | None = each.value
            if page is not None and is_discardable(page):
                yield self._empty(key, each, page)
            elif each.is_writable:
                del self._todo[key]

    def _empty(self, key: bytes, seen: Seen[Page], page: Page) -> Plan:
        self._before[key] = page
        return plan_page(self._connection, key, seen, discarded(page))

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate in (Fate.STORED, Fate.FOUND):
            self.taken.append(self._before[plan.key])
            del self._todo[plan.key]

    def give_up(self, key: bytes, reason: str) -> None:
        self.failed.add(self._todo.pop(key))


def _delete(mailbox: Mailbox, taken: Sequence[Page]) -> None:
    """Delete what the pages referred to, which expires where that fails, and then the tasks of durable messages."""
    entries = [entry for page in taken for entry in (*page.messages.decoded(), *page.retries)]
    durable = _taken(mailbox, entries)
    segments = (segment_key(page.epoch, index) for page in taken for index in range(page.first, page.next))
    for some in _in_parts(segments):
        reads = mailbox.gets_sized(dict.fromkeys(some, SEGMENT_BYTES))
        found = [entry for key, read in reads.items() for entry in decoded(key, read, entries_from_bytes).value or ()]
        durable += _taken(mailbox, found)
        mailbox.delete(some)
    mailbox.safety.release(durable)


def _taken(mailbox: Mailbox, entries: Sequence[Entry]) -> list[Record]:
    """Delete the bundles among entries; return the durable messages of all."""
    sizes = {bundle_key(ref.key): ref.size for ref in refs_of(entries)}
    reads = mailbox.gets_sized(sizes)
    mailbox.delete(sizes)
    inner = [entry for key, read in reads.items() for entry in decoded(key, read, entries_from_bytes).value or ()]
    return [entry for entry in (*entries, *inner) if isinstance(entry, Record) and entry.is_durable]


def _in_parts(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for key in keys:
        part.append(key)
        if len(part) == _SEGMENTS_A_READ:
            yield part
            part = []
    if part:
        yield part
