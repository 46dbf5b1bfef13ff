"""The messages of a name one by one, without changing anything: what is to be retried, is leased, and waits.

The list is a sample, as all that is read of a cache: what stands in it may be run, or gone, a moment later.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from gaesignals.errors import StoreError
from gaesignals.format.entries import Entry, Record, Ref, count_messages, entries_from_bytes, refs_of
from gaesignals.format.keys import bundle_key, segment_key
from gaesignals.format.lease import Lease, Position
from gaesignals.format.page import SEGMENT_BYTES, Page
from gaesignals.stores.client import Connection, Seen, State, decoded

from .lanes import read_pages

MOST: Final = 100
"""Messages that one look lists."""
MAX_BYTES: Final = 8_000_000
"""About what one look reads of values beside the pages, and as much again of the large messages in segments."""

_Values: TypeAlias = Mapping[bytes, Seen[tuple[Entry, ...]]]


class Standing(enum.Enum):
    """How a message stands: it failed and is `RETRYING`, a delivery has it `LEASED`, or it is `WAITING` to be run."""

    RETRYING = "retrying"
    LEASED = "leased"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Listed:
    """A message of a name. `lease` is the one that holds it, if it is leased."""

    standing: Standing
    record: Record
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """The first messages of a name, those to be retried first, and about how many there are of each standing.

    `missing` of them are counted and cannot be read: memcache has forgotten them. About `omitted` more stand as was
    asked for. `is_readable` is False where memcache did not answer for some, or they are in a later format.
    """

    messages: tuple[Listed, ...]
    counts: Mapping[Standing, int]
    omitted: int = 0
    missing: int = 0
    is_readable: bool = True


def contents(
    connection: Connection, name: str, standings: Collection[Standing] = tuple(Standing), *, most: int = MOST
) -> Contents:
    """List the first messages of `name` that stand so: a read of its pages, and one or two of the values they refer to.

    Large ones count against about eight megabytes, so fewer may be listed. Raises `StoreError` if memcache does not
    answer for any page.
    """
    seen = read_pages(connection, [name]).values()
    if all(each.state is State.FAILED for each in seen):
        raise StoreError("the store did not answer; the messages cannot be read")
    pages = [each.value for each in seen if each.value is not None]
    wanted = [standing for standing in Standing if standing in standings]
    # Not all at once: a page that somebody planted may promise millions of segments.
    chosen = _first((part for standing in wanted for part in _parts(pages, standing)), most)
    values = _read(connection, {part.key: part.size for part in chosen if part.key})
    values |= _read(connection, _within(_inner(chosen, values)))
    listed, done, missing = _listed(chosen, values)
    counts = {standing: sum(_count(page, standing) for page in pages) for standing in Standing}
    counts[Standing.LEASED] = max(0, counts[Standing.LEASED] - done)
    return Contents(
        tuple(listed[:most]),
        counts,
        omitted=max(0, sum(counts[each] for each in wanted) - len(listed[:most]) - missing),
        missing=missing,
        is_readable=all(each.is_writable for each in seen) and all(each.is_writable for each in values.values()),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Some messages of a page that stand alike: a record, a reference to a bundle, or the key of a segment.

    `at` is where the part stands in its lease: the segment's index, and the number of the entry behind the segments.
    """

    standing: Standing
    count: int
    size: int
    entry: Entry | None = None
    key: bytes = b""
    lease: Lease | None = None
    at: tuple[int, int] = (0, 0)


def _count(page: Page, standing: Standing) -> int:
    if standing is Standing.RETRYING:
        return count_messages(_failed(page))
    if standing is Standing.LEASED:
        return sum(lease.holding.count for lease in page.leases)
    return page.waiting_count + count_messages(page.handed_back())


def _failed(page: Page) -> list[Ref]:
    """The bundles of failed messages, due or not."""
    return [ref for ref in page.retries if ref.not_before_ms]


def _parts(pages: Sequence[Page], standing: Standing) -> Iterator[_Part]:
    if standing is Standing.RETRYING:
        refs = sorted((ref for page in pages for ref in _failed(page)), key=lambda ref: ref.not_before_ms)
        return (_entry_part(standing, ref) for ref in refs)
    if standing is Standing.LEASED:
        leases = sorted(((lease, page) for page in pages for lease in page.leases), key=lambda each: each[0].expires_ms)
        return (part for lease, page in leases for part in _of_lease(page, lease))
    return (part for page in pages for part in _waiting(page))


def _waiting(page: Page) -> Iterator[_Part]:
    yield from (_entry_part(Standing.WAITING, ref) for ref in page.handed_back())
    yield from _segments(Standing.WAITING, page, range(page.first, page.next), page.sealed_count)
    yield from (_entry_part(Standing.WAITING, entry) for entry in page.messages.decoded())


def _of_lease(page: Page, lease: Lease) -> Iterator[_Part]:
    holding = lease.holding
    yield from _segments(Standing.LEASED, page, holding.segments, holding.sealed_count, lease)
    for number, entry in enumerate(holding.entries.decoded()):
        yield replace(_entry_part(Standing.LEASED, entry), lease=lease, at=(holding.next, number))


def _segments(
    standing: Standing, page: Page, indexes: range, count: int, lease: Lease | None = None
) -> Iterator[_Part]:
    for number, index in enumerate(indexes):
        # So divided that the parts come to the whole.
        share = count * (number + 1) // len(indexes) - count * number // len(indexes)
        key = segment_key(page.epoch, index)
        yield _Part(standing, share, SEGMENT_BYTES, key=key, lease=lease, at=(index, 0))


def _entry_part(standing: Standing, entry: Entry) -> _Part:
    key = bundle_key(entry.key) if isinstance(entry, Ref) else b""
    return _Part(standing, entry.count, entry.size if key else 0, entry, key)


def _first(parts: Iterable[_Part], most: int) -> list[_Part]:
    """The first of the parts that have so many messages together and are not too large to be read; one at least."""
    chosen: list[_Part] = []
    count = size = 0
    for part in parts:
        if count >= most or (chosen and size + part.size > MAX_BYTES):
            break
        chosen.append(part)
        count += part.count
        size += part.size
    return chosen


def _inner(parts: Iterable[_Part], values: _Values) -> Iterator[Ref]:
    """The references in the segments among the parts."""
    for part in parts:
        if part.entry is None:
            yield from refs_of(values[part.key].value or ())


def _within(refs: Iterable[Ref]) -> dict[bytes, int]:
    sizes: dict[bytes, int] = {}
    for ref in refs:
        if sizes and sum(sizes.values()) + ref.size > MAX_BYTES:
            break
        sizes[bundle_key(ref.key)] = ref.size
    return sizes


def _read(connection: Connection, sizes: Mapping[bytes, int]) -> dict[bytes, Seen[tuple[Entry, ...]]]:
    return {key: decoded(key, read, entries_from_bytes) for key, read in connection.gets_sized(sizes).items()}


def _listed(chosen: Sequence[_Part], values: _Values) -> tuple[list[Listed], int, int]:
    """The messages of the parts, how many of these a takeover is done with, and how many are missing."""
    listed: list[Listed] = []
    done = missing = 0
    for part in chosen:
        found = list(_records(part, values))
        left = [(at, record) for at, record in found if not _is_done(part.lease, at)]
        listed += [Listed(part.standing, _marked(part.lease, at, record), part.lease) for at, record in left]
        done += len(found) - len(left)
        missing += _missing(part, values)
    # A bundle's earliest message says when the bundle is due; the others may be due much later.
    listed.sort(key=lambda each: each.record.not_before_ms if each.standing is Standing.RETRYING else 2**62)
    return listed, done, missing


def _missing(part: _Part, values: _Values) -> int:
    """How many messages of a part memcache has forgotten."""
    if part.key and _is_gone(values, part.key):
        return part.count
    inner = refs_of(values[part.key].value or ()) if part.entry is None else ()
    return sum(ref.count for ref in inner if _is_gone(values, bundle_key(ref.key)))


def _is_gone(values: _Values, key: bytes) -> bool:
    return key in values and values[key].value is None and values[key].is_writable


def _records(part: _Part, values: _Values) -> Iterator[tuple[Position, Record]]:
    """The records of a part with their positions in its lease, as far as they were read."""
    segment, first = part.at
    entries = (part.entry,) if part.entry is not None else values[part.key].value or ()
    for number, entry in enumerate(entries, first):
        if isinstance(entry, Record):
            yield (segment, number, 0), entry
        elif (seen := values.get(bundle_key(entry.key))) is not None:
            records = [record for record in seen.value or () if isinstance(record, Record)]
            yield from (((segment, number, inner), record) for inner, record in enumerate(records))


def _is_done(lease: Lease | None, at: Position) -> bool:
    """Whether a takeover has passed a message, and nothing of it is to go back."""
    if lease is None or lease.position is None or at >= lease.position:
        return False
    return all(mark.position != at for mark in lease.marks)


def _marked(lease: Lease | None, at: Position, record: Record) -> Record:
    """The record as a takeover gives it back, where the takeover has passed it."""
    marks = [mark for mark in lease.marks if mark.position == at] if lease else []
    return marks[-1].apply(record) if marks else record
