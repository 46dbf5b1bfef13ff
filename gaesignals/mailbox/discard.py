"""Discarding what waits: fresh messages, sealed segments and retries of a name, for good. What a lease holds stays.

One compare-and-set a page decides it: a process that dies before it has changed nothing, one that dies after it leaves
nothing but values that nobody refers to and that expire.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gaesignals.errors import StoreError
from gaesignals.format.entries import count_messages, entries_from_bytes, refs_of
from gaesignals.format.keys import Address, bundle_key, segment_key
from gaesignals.format.page import SEGMENT_BYTES, Page
from gaesignals.stores.client import Seen, decoded
from gaesignals.stores.store import Outcome, Write

from .box import Mailbox
from .index import Pending
from .lanes import read_pages

logger = logging.getLogger("gaesignals")

_MAX_ATTEMPTS = 30
_MAX_FAILURES = 3
_SEGMENTS_A_READ = 500


def emptied(page: Page, token: str) -> Page:
    """`page` with its leases and its width alone.

    The index is burnt, as by a claim: whoever seals the page as it was read writes a segment nobody will look for.
    """
    end = page.next + 1
    return replace(page, messages=(), first=end, next=end, heaviest=0, sealed_count=0, retries=(), claim=token)


def is_discardable(page: Page) -> bool:
    return page.is_waiting or bool(page.retries)


@dataclass(slots=True)
class _Attempt:
    """The last write of unknown outcome of a page: what it would have taken, and the token that it left there."""

    before: Page
    token: str


class Discard:
    """One discard of several names."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._unsure: dict[Address, _Attempt] = {}
        self._taken: list[Page] = []

    def run(self, names: Iterable[str]) -> int:
        """Discard what waits or is to be retried under `names`; return about how many messages that were.

        They are then out of the index, where nothing is leased. Raises `StoreError` if memcache did not answer for all
        of them; what was discarded by then is gone.
        """
        todo = list(dict.fromkeys(names))
        pages = read_pages(self._mailbox, todo)
        failures = 0
        for _ in self._mailbox.attempts(_MAX_ATTEMPTS):
            pages, has_failed = self._pass(pages)
            failures += has_failed
            if not pages or failures >= _MAX_FAILURES:
                break
            pages = read_pages(self._mailbox, {address.name for address in pages})
        self._delete()
        self._settle(todo)
        count = sum(page.waiting_count + count_messages(page.retries) for page in self._taken)
        if pages:
            names_left = len({address.name for address in pages})
            raise StoreError(
                f"memcache failed for {names_left} of the names; {count} messages are discarded, the rest wait"
            )
        return count

    def _pass(self, pages: Mapping[Address, Seen[Page]]) -> tuple[dict[Address, Seen[Page]], bool]:
        """Empty the pages; return those that are not empty yet, and whether memcache failed for one."""
        left: dict[Address, Seen[Page]] = {}
        writes: dict[Address, _Attempt] = {}
        for address, seen in pages.items():
            if not seen.is_writable:
                left[address] = seen
            elif seen.value is not None:
                self._resolve(address, seen.value)
                if is_discardable(seen.value):
                    writes[address] = _Attempt(seen.value, self._mailbox.new_id())
        outcomes = self._mailbox.write(
            [_write(address, pages[address], attempt) for address, attempt in writes.items()]
        )
        for address, attempt in writes.items():
            outcome = outcomes[address.key]
            if outcome is Outcome.STORED:
                self._taken.append(attempt.before)
                continue
            left[address] = pages[address]
            if outcome is Outcome.FAILED:
                self._unsure[address] = attempt
        has_failed = any(not seen.is_writable for seen in left.values()) or Outcome.FAILED in outcomes.values()
        return left, has_failed

    def _resolve(self, address: Address, page: Page) -> None:
        """After a write of unknown outcome: it took effect if its token is there.

        If somebody has written since, nobody can tell. What it may have taken is then left for memcache to expire: it
        may as well be in a lease by now.
        """
        attempt = self._unsure.pop(address, None)
        if attempt is not None and page.claim == attempt.token:
            self._taken.append(attempt.before)

    def _delete(self) -> None:
        """Delete what was referred to; where that fails it expires."""
        refs = [ref for page in self._taken for ref in (*refs_of(page.messages), *page.retries)]
        self._mailbox.delete([bundle_key(ref.key) for ref in refs])
        segments = (segment_key(page.epoch, index) for page in self._taken for index in range(page.first, page.next))
        for some in _in_parts(segments):
            reads = self._mailbox.gets_sized(dict.fromkeys(some, SEGMENT_BYTES))
            found = [decoded(key, read, entries_from_bytes).value or () for key, read in reads.items()]
            inner = [bundle_key(ref.key) for entries in found for ref in refs_of(entries)]
            self._mailbox.delete([*some, *inner])

    def _settle(self, names: Sequence[str]) -> None:
        try:
            Pending(self._mailbox).settle(names)
        except StoreError:
            logger.exception("discarded names could not be settled in the index; the worker does it later")


def discard(mailbox: Mailbox, names: Iterable[str]) -> int:
    """Discard what waits or is to be retried under `names`, as `Discard.run` says."""
    return Discard(mailbox).run(names)


def _write(address: Address, seen: Seen[Page], attempt: _Attempt) -> Write:
    page = emptied(attempt.before, attempt.token)
    return seen.replaced_by(address.key, page, ttl_seconds=page.ttl_seconds)


def _in_parts(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    for key in keys:
        part.append(key)
        if len(part) == _SEGMENTS_A_READ:
            yield part
            part = []
    if part:
        yield part
