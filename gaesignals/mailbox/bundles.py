"""Bundles: records under keys of their own, for what is too large or too many for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gaesignals.format.entries import LONGEST_WAIT_MS, Record, Ref, entries_to_bytes
from gaesignals.format.keys import bundle_key
from gaesignals.format.page import FULL_REFERENCED_BYTES
from gaesignals.stores.store import MAX_BYTES_A_CALL, Set

MAX_BUNDLE_BYTES = 500_000
TTL_SECONDS = 7 * 86400
_MAX_BATCH_BYTES = MAX_BYTES_A_CALL - 2 * FULL_REFERENCED_BYTES  # a page that gets it may be almost full before


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a page refers to as `ref`, not yet written."""

    ref: Ref
    records: tuple[Record, ...]

    @property
    def key(self) -> bytes:
        return bundle_key(self.ref.key)

    def write(self, now_ms: int) -> Set:
        """The write that stores it for seven days, from when the last of its records can be run."""
        wait_ms = max(record.not_before_ms for record in self.records) - now_ms
        wait_seconds = max(0, min(wait_ms, LONGEST_WAIT_MS)) // 1000
        return Set(self.key, entries_to_bytes(self.records), TTL_SECONDS + wait_seconds)


def bundle(id_: str, records: Sequence[Record]) -> Bundle:
    size = sum(record.size for record in records)
    return Bundle(Ref(id_, size, len(records), min(record.not_before_ms for record in records)), tuple(records))


def body(record: Record, new_id: Callable[[], str]) -> Bundle:
    """A large message alone.

    Its key is not the message's id: the same message may be stored for other receivers, and one that a delivery sends
    back must not stand where that delivery's own delete, which takes effect late, finds it.
    """
    return bundle(new_id(), [record])


def in_bundles(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Divide `records`, in order, into lists that each fit a bundle."""
    groups: list[tuple[Record, ...]] = []
    group: list[Record] = []
    size = 0
    for record in records:
        if group and size + record.size > MAX_BUNDLE_BYTES:
            groups.append(tuple(group))
            group, size = [], 0
        group.append(record)
        size += record.size
    if group:
        groups.append(tuple(group))
    return groups


def in_batches(outgoing: Sequence[tuple[str, Record]]) -> Iterator[dict[str, list[Record]]]:
    """Divide what is sent so that no page gets more at once than one delivery may claim."""
    batch: dict[str, list[Record]] = {}
    sizes: dict[str, int] = {}
    for name, record in outgoing:
        size = sizes.get(name, 0) + record.size
        if name in batch and size > _MAX_BATCH_BYTES:
            yield batch
            batch, sizes, size = {}, {}, record.size
        batch.setdefault(name, []).append(record)
        sizes[name] = size
    if batch:
        yield batch
