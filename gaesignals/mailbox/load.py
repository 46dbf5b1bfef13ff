"""Loading: from what a claim holds to the records in it, in two calls however many claims there are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gaesignals.format.entries import Entry, Record, entries_from_bytes, refs_of
from gaesignals.format.keys import bundle_key, segment_key
from gaesignals.format.lease import Position
from gaesignals.format.page import SEGMENT_BYTES
from gaesignals.stores.client import Connection, Seen, State, decoded

from .claim import Claim

logger = logging.getLogger("gaesignals")

_Entries: TypeAlias = tuple[Entry, ...]
_Blobs: TypeAlias = dict[bytes, Seen[_Entries]]
_MAX_ATTEMPTS = 3


@dataclass(slots=True)
class Loaded:
    """A claim with its records, in the order of their positions.

    `lost` counts the messages whose segment or bundle is gone. `is_whole` is False where memcache did not answer for
    some: those are not lost yet. `keys` are what can be deleted once the records are done with.

    A bundle counts once, and for no more messages than its reference says: pages and bundles that were planted would
    multiply otherwise.
    """

    claim: Claim
    items: list[tuple[Position, Record]] = field(default_factory=list)
    lost: int = 0
    is_whole: bool = True
    keys: list[bytes] = field(default_factory=list)
    unread: Counter[State] = field(default_factory=Counter)

    @property
    def is_forgotten(self) -> bool:
        """Whether of its segments nothing was found, so that those behind them may be gone as well."""
        return self.is_whole and bool(self.claim.holding.segments) and not self.items


def load(connection: Connection, claims: Sequence[Claim]) -> list[Loaded]:
    """Read the segments and bundles of `claims`, then the bundles that the segments refer to."""
    inline = [claim.holding.entries.decoded() for claim in claims]
    segments = {segment_key(claim.epoch, index): SEGMENT_BYTES for claim in claims for index in claim.holding.segments}
    refs = {bundle_key(ref.key): ref.size for entries in inline for ref in refs_of(entries)}
    blobs = _read(connection, segments | refs)
    inner = {bundle_key(ref.key): ref.size for key in segments for ref in refs_of(blobs[key].value or ())}
    blobs |= _read(connection, inner)
    return [_assemble(claim, entries, blobs) for claim, entries in zip(claims, inline, strict=True)]


def _read(connection: Connection, sizes: dict[bytes, int]) -> _Blobs:
    blobs: _Blobs = {}
    for _ in connection.attempts(_MAX_ATTEMPTS):
        todo = {key: size for key, size in sizes.items() if key not in blobs or blobs[key].state is State.FAILED}
        if not todo:
            break
        reads = connection.gets_sized(todo)
        blobs.update((key, decoded(key, read, entries_from_bytes)) for key, read in reads.items())
    return blobs


def _assemble(claim: Claim, inline: _Entries, blobs: _Blobs) -> Loaded:
    loaded = Loaded(claim)
    holding = claim.holding
    sealed = len(holding.segments)
    counted: set[bytes] = set()
    for index in holding.segments:
        key = segment_key(claim.epoch, index)
        loaded.keys.append(key)
        seen = blobs[key]
        if seen.value is None:
            _miss(loaded, seen, max(1, round(holding.sealed_count / sealed)))
        else:
            _add_entries(loaded, index, seen.value, blobs, counted)
    if holding.entries.entries and not inline:
        _miss(loaded, Seen(State.CORRUPT), holding.entries.count)
    _add_entries(loaded, holding.next, inline, blobs, counted)
    _log_unread(loaded)
    return loaded


def _add_entries(loaded: Loaded, segment: int, entries: _Entries, blobs: _Blobs, counted: set[bytes]) -> None:
    for number, entry in enumerate(entries):
        if isinstance(entry, Record):
            loaded.items.append(((segment, number, 0), entry))
            continue
        key = bundle_key(entry.key)
        loaded.keys.append(key)
        seen = blobs[key]
        promised = () if key in counted or not seen.value else seen.value[: entry.count]
        counted.add(key)
        records = [record for record in promised if isinstance(record, Record)]
        loaded.items += [((segment, number, inner), record) for inner, record in enumerate(records)]
        if len(records) < entry.count:
            _miss(loaded, seen, entry.count - len(records))


def _miss(loaded: Loaded, seen: Seen[_Entries], count: int) -> None:
    if seen.state in (State.FAILED, State.NEWER):
        loaded.is_whole = False
    loaded.lost += count
    loaded.unread[seen.state] += count


def _log_unread(loaded: Loaded) -> None:
    """Log once a claim, however many segments of it are gone."""
    for state, count in loaded.unread.items():
        fields = {"signals_name": ascii(loaded.claim.name), "signals_count": count, "signals_reason": state.value}
        logger.error("messages cannot be read", extra=fields)
