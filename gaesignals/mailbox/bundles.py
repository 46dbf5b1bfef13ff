"""Bundles: records under keys of their own, for what is too large or too many for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from gaesignals.format import page
from gaesignals.format.entries import LONGEST_WAIT_MS, Record, Ref, entries_from_bytes
from gaesignals.format.inline import Inline
from gaesignals.format.keys import bundle_key
from gaesignals.format.page import FULL_REFERENCED_BYTES, Page
from gaesignals.stores.client import Connection, decoded
from gaesignals.stores.store import CallLimits, Set
from gaesignals.values import value

MAX_BUNDLE_BYTES = 500_000
MAX_BUNDLE_MESSAGES = 10_000
_MAX_BATCH_MESSAGES = 16_000
INLINE_BYTES = 2048
TTL_SECONDS = 7 * 86400


@value
class Bundle:
    """What a page refers to as `ref`, not yet written."""

    ref: Ref
    records: tuple[Record, ...]

    @property
    def key(self) -> bytes:
        return bundle_key(self.ref.key)

    def write(self, now_ms: int) -> Set:
        """The write that stores the bundle for seven days, from when the last of its records can be run."""
        wait_ms = max(record.not_before_ms for record in self.records) - now_ms
        wait_seconds = max(0, min(wait_ms, LONGEST_WAIT_MS)) // 1000
        return Set(self.key, Inline.of(self.records).to_bytes(), TTL_SECONDS + wait_seconds)


def bundle(id_: str, records: Sequence[Record]) -> Bundle:
    size = sum(record.size for record in records)
    return Bundle(Ref(id_, size, len(records), min(record.not_before_ms for record in records)), tuple(records))


def body(record: Record, new_id: Callable[[], str]) -> Bundle:
    """A large message alone.

    Its key is not the message's id: the same message may be stored for other receivers, and one that a delivery sends
    back must not stand where that delivery's own delete, which takes effect late, finds it.
    """
    made = bundle(new_id(), [record])
    return replace(made, ref=replace(made.ref, latest=record.latest))


def in_bundles(records: Iterable[Record], *, most: int | None = None) -> list[tuple[Record, ...]]:
    """Divide `records`, in order, into lists of at most `most`, or what fills a page, that each fit a bundle."""
    most = most or page.FULL_MESSAGES
    groups: list[tuple[Record, ...]] = []
    group: list[Record] = []
    size = 0
    for record in records:
        if group and (len(group) == most or size + record.size > MAX_BUNDLE_BYTES):
            groups.append(tuple(group))
            group, size = [], 0
        group.append(record)
        size += record.size
    if group:
        groups.append(tuple(group))
    return groups


def packed(records: Sequence[Record], page: Page, new_id: Callable[[], str]) -> tuple[Inline, tuple[Bundle, ...]]:
    """Small messages go inline and large ones under a key each, or all in bundles if that is too many."""
    entries, bodies = Inline.of(records), {}
    if len(entries.encoded) > INLINE_BYTES:
        bodies = {at: body(record, new_id) for at, record in enumerate(records) if record.size > INLINE_BYTES}
        entries = Inline.of([bodies[at].ref if at in bodies else record for at, record in enumerate(records)])
    if len(records) == 1 or page.has_room(entries):
        return entries, tuple(bodies.values())
    bundles = tuple([bundle(new_id(), group) for group in in_bundles(records)])
    return Inline.of([made.ref for made in bundles]), bundles


def read_bundles(connection: Connection, refs: Iterable[Ref]) -> dict[Ref, tuple[Record, ...]]:
    """The records of those of the bundles that can be read."""
    wanted = {bundle_key(ref.key): ref for ref in refs}
    reads = connection.gets_sized({key: ref.size for key, ref in wanted.items()})
    found = {key: decoded(key, read, entries_from_bytes).value for key, read in reads.items()}
    return {
        wanted[key]: tuple(entry for entry in entries if isinstance(entry, Record))
        for key, entries in found.items()
        if entries
    }


def in_batches(outgoing: Sequence[tuple[str, Record]], limits: CallLimits) -> Iterable[dict[str, list[Record]]]:
    """Divide what is sent so that no page gets more at once than one delivery may claim, by names.

    So few messages that one delivery may claim them whatever their sizes are not divided.
    """
    if len(outgoing) >= limits.sure_keys:
        # A page that gets them may be almost full before.
        return _divided(outgoing, limits.bytes - 2 * FULL_REFERENCED_BYTES)
    batch: dict[str, list[Record]] = {}
    for name, record in outgoing:
        batch.setdefault(name, []).append(record)
    return [batch]


def _divided(outgoing: Sequence[tuple[str, Record]], max_bytes: int) -> Iterator[dict[str, list[Record]]]:
    batch: dict[str, list[Record]] = {}
    sizes: dict[str, int] = {}
    for name, record in outgoing:
        size = sizes.get(name, 0) + record.size
        if name in batch and (size > max_bytes or len(batch[name]) == _MAX_BATCH_MESSAGES):
            yield batch
            batch, sizes, size = {}, {}, record.size
        batch.setdefault(name, []).append(record)
        sizes[name] = size
    if batch:
        yield batch
