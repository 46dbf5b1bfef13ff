"""Looking at mailboxes without changing them: what waits, is leased, is to be retried.

The numbers are samples of a cache, one read after another: exact for a quiet name, approximate for a busy one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TypeAlias

from gaesignals.format.entries import Entry, Record, Ref, count_messages, entries_from_bytes, refs_of
from gaesignals.format.keys import bundle_key, segment_key
from gaesignals.format.lease import Lease
from gaesignals.format.page import SEGMENT_BYTES, Page
from gaesignals.stores.client import Connection, Seen, State, decoded

from .lanes import read_pages

_Entries: TypeAlias = tuple[Entry, ...]
_Values: TypeAlias = Mapping[bytes, _Entries]


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """One lease: about how many messages it holds, until when, whether it is a takeover, and who holds it.

    `holder` is what the delivery's mailbox was given, empty if that was nothing.
    """

    count: int
    expires_at: datetime
    is_takeover: bool
    holder: str = ""


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """The state of one name's mailbox.

    `waiting`, `leased` and `retrying` count messages; those that a delivery claimed and did not begin wait.
    `oldest_sent_at` is the time of the oldest that waits or is leased, None where that may be in a value that was not
    read. `is_readable` is False where memcache did not answer for a page.
    """

    name: str
    waiting: int = 0
    leased: int = 0
    retrying: int = 0
    next_retry_at: datetime | None = None
    oldest_sent_at: datetime | None = None
    leases: tuple[LeaseStatus, ...] = ()
    width: int = 1
    is_readable: bool = True


def look(connection: Connection, names: Iterable[str], *, deep_bytes: int = 0) -> dict[str, MailboxStatus]:
    """Return the state of each name's mailbox, in one read, or two where names are widened.

    With `deep_bytes` one or two more read about that much each of the segments and bundles that may hold the oldest
    message of a name, those of the fullest names first.
    """
    seen: dict[str, list[Seen[Page]]] = {name: [] for name in names}
    for address, page in read_pages(connection, seen).items():
        seen[address.name].append(page)
    pages = {name: [page.value for page in group if page.value is not None] for name, group in seen.items()}
    old = _read_old(connection, pages, deep_bytes)
    return {name: _status(name, group, pages[name], old) for name, group in seen.items()}


def _read_old(connection: Connection, pages: Mapping[str, Sequence[Page]], max_bytes: int) -> _Values:
    """What is in the values that may hold the oldest messages, as far as they are together within `max_bytes`."""
    if not max_bytes:
        return {}
    fullest_first = sorted(pages, key=lambda name: -sum(page.waiting_count for page in pages[name]))
    values = _read(connection, [_old_values(pages[name]) for name in fullest_first], max_bytes)
    inner = [{bundle_key(ref.key): ref.size for ref in refs_of(entries)} for entries in values.values()]
    return values | _read(connection, inner, max_bytes)


def _read(connection: Connection, groups: Iterable[Mapping[bytes, int]], max_bytes: int) -> dict[bytes, _Entries]:
    """Read groups of keys with their sizes, leaving out those that are too large for what is left of `max_bytes`."""
    chosen: dict[bytes, int] = {}
    for sizes in groups:
        size = sum(sizes.values())
        if size <= max_bytes:
            max_bytes -= size
            chosen |= sizes
    reads = {key: decoded(key, read, entries_from_bytes) for key, read in connection.gets_sized(chosen).items()}
    # What was evicted holds nothing that is old.
    return {key: seen.value or () for key, seen in reads.items() if seen.is_writable}


def _old_values(pages: Iterable[Page]) -> dict[bytes, int]:
    """The keys of what may hold the oldest messages, with their sizes: the first segment of each row, all bundles."""
    sizes: dict[bytes, int] = {}
    for page in pages:
        holdings = [lease.holding for lease in page.leases]
        rows = [range(page.first, page.next), *(holding.segments for holding in holdings)]
        sizes |= {segment_key(page.epoch, row[0]): SEGMENT_BYTES for row in rows if row}
        held = [*page.messages.decoded(), *page.handed_back()]
        held += [entry for holding in holdings for entry in holding.entries.decoded()]
        sizes |= {bundle_key(ref.key): ref.size for ref in refs_of(held)}
    return sizes


def _status(name: str, seen: Sequence[Seen[Page]], pages: Sequence[Page], old: _Values) -> MailboxStatus:
    retries = [ref for page in pages for ref in page.retries if ref.not_before_ms]
    leases = [lease for page in pages for lease in page.leases]
    return MailboxStatus(
        name,
        waiting=sum(page.waiting_count + count_messages(page.handed_back()) for page in pages),
        leased=sum(lease.holding.count for lease in leases),
        retrying=sum(ref.count for ref in retries),
        next_retry_at=_next_retry(retries),
        oldest_sent_at=_oldest_sent_at(pages, old),
        leases=tuple(_lease_status(lease) for lease in leases),
        width=max((page.width for page in pages), default=1),
        is_readable=all(page.state in (State.FOUND, State.MISSING) for page in seen),
    )


def _oldest_sent_at(pages: Sequence[Page], old: _Values) -> datetime | None:
    entries = [entry for page in pages for entry in page.messages.decoded()]
    entries += [entry for page in pages for lease in page.leases for entry in lease.holding.entries.decoded()]
    outer = list(_old_values(pages))
    inner = [bundle_key(ref.key) for key in outer for ref in refs_of(old.get(key, ()))]
    if any(key not in old for key in (*outer, *inner)):
        return None
    entries += [entry for key in (*outer, *inner) for entry in old[key]]
    return min((entry.sent_at for entry in entries if isinstance(entry, Record)), default=None)


def _next_retry(retries: Sequence[Ref]) -> datetime | None:
    return _at(min(ref.not_before_ms for ref in retries)) if retries else None


def _lease_status(lease: Lease) -> LeaseStatus:
    return LeaseStatus(lease.holding.count, _at(lease.expires_ms), lease.position is not None, lease.holder)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(max(0, min(ms, 253_402_300_799_000)) / 1000, timezone.utc)
