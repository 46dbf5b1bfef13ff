"""Looking at mailboxes without changing them: what waits, is leased, is to be retried.

The numbers are samples of a cache, one read after another: exact for a quiet name, approximate for a busy one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from .claims import read_pages
from .connection import Connection, Seen, State
from .lease import Lease, Ref
from .message import Record
from .page import Page


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """One lease: about how many messages it holds, until when, whether it is a takeover, and who holds it.

    `holder` is what the delivery's mailbox was given, empty if it was given nothing.
    """

    count: int
    expires_at: datetime
    is_takeover: bool
    holder: str = ""


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """The state of one name's mailbox.

    `waiting`, `leased` and `retrying` count messages. `oldest_sent_at` is the time of the oldest that waits or is
    leased, None where that may be in a segment or a bundle: those are not read. `is_readable` is False where memcache
    did not answer for a page.
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


def look(connection: Connection, names: Iterable[str]) -> dict[str, MailboxStatus]:
    """Return the state of each name's mailbox, in one read, or two where names are widened."""
    pages: dict[str, list[Seen[Page]]] = {name: [] for name in names}
    for address, seen in read_pages(connection, pages).items():
        pages[address.name].append(seen)
    return {name: _status(name, group) for name, group in pages.items()}


def _status(name: str, seen: Sequence[Seen[Page]]) -> MailboxStatus:
    pages = [page.value for page in seen if page.value is not None]
    retries = [ref for page in pages for ref in page.retries]
    leases = [lease for page in pages for lease in page.leases]
    return MailboxStatus(
        name,
        waiting=sum(page.waiting_count for page in pages),
        leased=sum(lease.holding.count for lease in leases),
        retrying=sum(ref.count for ref in retries),
        next_retry_at=_next_retry(retries),
        oldest_sent_at=_oldest_sent_at(pages),
        leases=tuple(_lease_status(lease) for lease in leases),
        width=max((page.width for page in pages), default=1),
        is_readable=all(page.state in (State.FOUND, State.MISSING) for page in seen),
    )


def _oldest_sent_at(pages: Sequence[Page]) -> datetime | None:
    holdings = [lease.holding for page in pages for lease in page.leases]
    entries = [entry for page in pages for entry in page.messages]
    entries += [entry for holding in holdings for entry in holding.entries]
    sent_at = [entry.sent_at for entry in entries if isinstance(entry, Record)]
    has_segments = any(page.first < page.next for page in pages) or any(holding.segments for holding in holdings)
    return None if has_segments or len(sent_at) < len(entries) else min(sent_at, default=None)


def _next_retry(retries: Sequence[Ref]) -> datetime | None:
    return _at(min(ref.not_before_ms for ref in retries)) if retries else None


def _lease_status(lease: Lease) -> LeaseStatus:
    return LeaseStatus(lease.holding.count, _at(lease.expires_ms), lease.position is not None, lease.holder)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(max(0, min(ms, 253_402_300_799_000)) / 1000, timezone.utc)
