"""Sending: messages go into pages, and their names into the index, by compare-and-set.

When `send` returns, every message is in its page and every name in the index. When it raises, the error says which
messages are stored, which are not, and for which that could not be found out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from gaesignals.errors import SendError
from gaesignals.format.entries import Entry, Record, entries_to_bytes
from gaesignals.format.keys import page_key, segment_key, slot_key, slot_of
from gaesignals.format.page import EMPTY_TTL_SECONDS, MAX_WIDTH, Page
from gaesignals.format.slot import Slot
from gaesignals.stores.client import Connection, Seen, State, decoded
from gaesignals.stores.store import Cas, Outcome, Set, Write

from .bundles import TTL_SECONDS, Bundle, body, bundle, in_batches, in_bundles
from .lanes import Lanes

INLINE_BYTES = 2048
_MAX_ATTEMPTS = 100
_MAX_FAILURES = 3
_LOSSES_TO_WIDEN = 2
# Far more than a call takes, and about what a fan-out, its task and their settling do.
_SLOW_MS = 1000


class _Stage(enum.Enum):
    PAGE = "the page is still to be written"
    SLOT = "the messages are in the page, the name may not be in the index"
    DONE = "stored and indexed"
    FAILED = "not stored"
    UNSURE = "perhaps stored"


@dataclass(slots=True)
class _Parcel:
    """The messages of one send for one name, and how far they have come.

    `lane` is the one wanted, `target` the one last written to: the home page where the name is narrower than `lane`.
    """

    name: str
    records: Sequence[Record]
    lane: int
    stage: _Stage = _Stage.PAGE
    entries: tuple[Entry, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    width: int = 1
    target: int = 0
    losses: int = 0
    failures: int = 0
    is_unsure: bool = False
    unsure_cas: object | None = None
    planned_ms: int = 0
    reason: str = ""

    @property
    def is_open(self) -> bool:
        return self.stage in (_Stage.PAGE, _Stage.SLOT)

    @property
    def ids(self) -> list[str]:
        return [record.id for record in self.records]

    def give_up(self, reason: str) -> None:
        in_doubt = self.is_unsure or self.stage is _Stage.SLOT
        self.stage = _Stage.UNSURE if in_doubt else _Stage.FAILED
        self.reason = reason

    def fail_once(self, reason: str) -> None:
        self.failures += 1
        if self.failures >= _MAX_FAILURES:
            self.give_up(reason)


@dataclass(frozen=True, slots=True)
class _Move:
    """What one attempt writes for a parcel: `first` what its page refers to, then the page."""

    parcel: _Parcel
    first: tuple[Set, ...]
    page: Write
    is_touching: bool


def send(connection: Connection, lanes: Lanes, outgoing: Sequence[tuple[str, Record]]) -> None:
    """Store all of `outgoing`, pairs of a name and a record.

    Raises `SendError` unless every one is stored and indexed.
    """
    parcels: list[_Parcel] = []
    for batch in in_batches(outgoing):
        sending = [_Parcel(name, records, lanes.get(name)) for name, records in batch.items()]
        parcels += sending
        _Send(connection, lanes, sending).run()
    if any(parcel.stage is not _Stage.DONE for parcel in parcels):
        raise _error(parcels)


def _error(parcels: Sequence[_Parcel]) -> SendError:
    ids = {stage: [id_ for p in parcels if p.stage is stage for id_ in p.ids] for stage in _Stage}
    reason = next(parcel.reason for parcel in parcels if parcel.reason)
    return SendError(reason, stored=ids[_Stage.DONE], unsure=ids[_Stage.UNSURE], failed=ids[_Stage.FAILED])


class _Send:
    """One batch of parcels on its way. Every pass is one read and one write, and one more for bundles and seals."""

    def __init__(self, connection: Connection, lanes: Lanes, parcels: Sequence[_Parcel]) -> None:
        self._connection = connection
        self._lanes = lanes
        self._parcels = parcels

    def run(self) -> None:
        active = self._parcels
        for _ in self._connection.attempts(_MAX_ATTEMPTS):
            self._pass(active)
            active = [parcel for parcel in active if parcel.is_open]
            if not active:
                return
        for parcel in active:
            parcel.give_up("every attempt at a page or its slot of the index lost to another writer")

    def _pass(self, active: Sequence[_Parcel]) -> None:
        pages, slots = self._read(active)
        active = self._listable(active, slots)
        moves = [
            move for parcel in active if parcel.stage is _Stage.PAGE and (move := self._plan(parcel, pages, slots))
        ]
        moves = self._write_first(moves)
        unlisted = [parcel for parcel in active if parcel.stage is _Stage.SLOT]
        touched = [*unlisted, *(move.parcel for move in moves if move.is_touching)]
        started_ms = self._connection.now_ms()
        outcomes = self._connection.write([*(move.page for move in moves), *self._touches(touched, slots)])
        is_slow = self._connection.now_ms() - started_ms > _SLOW_MS
        for move in moves:
            self._take_page_outcome(move, outcomes[move.page.key])
        # A call is not one moment. Within a slow one, a worker may have seen a name in its slot, found the page still
        # empty and taken the name out again; so it is listed once more.
        for parcel in unlisted if is_slow else touched:
            if parcel.stage is _Stage.SLOT:
                self._take_slot_outcome(parcel, outcomes[slot_key(slot_of(parcel.name))])

    def _read(self, active: Sequence[_Parcel]) -> tuple[_Pages, _Slots]:
        to_pages = [parcel for parcel in active if parcel.stage is _Stage.PAGE]
        page_keys = {page_key(p.name, lane): None for p in to_pages for lane in (0, p.lane, p.target)}
        slot_keys = {slot_key(slot_of(parcel.name)): None for parcel in active}
        reads = self._connection.gets([*page_keys, *slot_keys])
        pages = {key: decoded(key, reads[key], Page.from_bytes) for key in page_keys}
        return pages, {key: decoded(key, reads[key], Slot.from_bytes) for key in slot_keys}

    def _listable(self, active: Sequence[_Parcel], slots: _Slots) -> list[_Parcel]:
        """Nothing is stored that could not be listed in the index."""
        names: dict[bytes, list[str]] = {}
        listable: list[_Parcel] = []
        for parcel in active:
            key = slot_key(slot_of(parcel.name))
            if not self._is_usable(parcel, slots[key]):
                continue
            slot, mates = slots[key].value or Slot(), names.setdefault(key, [])
            if slot.has_room_for([*mates, parcel.name], self._connection.now_ms()):
                mates.append(parcel.name)
                listable.append(parcel)
            else:
                parcel.give_up("too many names wait: a slot of the index has no room for one more until some are empty")
        return listable

    def _is_usable(self, parcel: _Parcel, seen: Seen[Page] | Seen[Slot]) -> bool:
        if seen.state is State.FAILED:
            parcel.fail_once("memcache did not answer a read")
        elif seen.state is State.NEWER:
            parcel.give_up("a later version of gaesignals wrote what is stored; upgrade this sender")
        return seen.is_writable

    def _plan(self, parcel: _Parcel, pages: _Pages, slots: _Slots) -> _Move | None:
        home = pages[page_key(parcel.name)]
        if not self._is_usable(parcel, home):
            return None
        if not parcel.is_unsure:
            parcel.planned_ms = self._connection.now_ms()
            parcel.width = home.value.width if home.value else 1
            parcel.target = parcel.lane if parcel.lane < parcel.width else 0
        key = page_key(parcel.name, parcel.target)
        seen = pages[key]
        if not self._is_usable(parcel, seen) or (parcel.is_unsure and not self._is_repeatable(parcel, seen)):
            return None
        return self._move(parcel, key, seen, slots[slot_key(slot_of(parcel.name))])

    def _is_repeatable(self, parcel: _Parcel, seen: Seen[Page]) -> bool:
        """After an attempt of unknown outcome: is the page as it was, so that trying again cannot duplicate?"""
        if seen.value and seen.value.contains(parcel.entries):
            parcel.stage = _Stage.SLOT
            return False
        # A page that is missing as before may have been there in between: emptied by a delivery, and expired.
        has_expired = seen.cas is None and self._connection.now_ms() >= parcel.planned_ms + EMPTY_TTL_SECONDS * 1000
        if seen.cas != parcel.unsure_cas or has_expired:
            parcel.give_up("memcache failed and the page has changed since")
        return parcel.is_open

    def _move(self, parcel: _Parcel, key: bytes, seen: Seen[Page], slot: Seen[Slot]) -> _Move:
        page = seen.value or Page(self._connection.new_id())
        is_listed = slot.value is not None and slot.value.is_keeping(parcel.name, self._connection.now_ms())
        is_touching = not is_listed or (parcel.width == 1 and not page.is_waiting)
        first: list[Set] = []
        if page.is_full:
            first.append(Set(segment_key(page.epoch, page.next), entries_to_bytes(page.messages), TTL_SECONDS))
            page = page.seal()
        if not parcel.entries:
            parcel.entries, parcel.bundles = self._pack(parcel.records, page)
        first += [bundle.write(self._connection.now_ms()) for bundle in parcel.bundles]
        page = page.append(parcel.entries)
        if parcel.lane >= parcel.width:
            page = replace(page, width=max(page.width, 1 << parcel.lane.bit_length()))
        return _Move(parcel, tuple(first), seen.replaced_by(key, page, ttl_seconds=page.ttl_seconds), is_touching)

    def _pack(self, records: Sequence[Record], page: Page) -> tuple[tuple[Entry, ...], tuple[Bundle, ...]]:
        """Small messages go inline and large ones under a key each, or all in bundles if that is too many."""
        bodies = [body(record, self._connection.new_id) if record.size > INLINE_BYTES else None for record in records]
        entries = tuple(made.ref if made else record for made, record in zip(bodies, records, strict=True))
        if len(entries) == 1 or page.has_room(entries):
            return entries, tuple(made for made in bodies if made)
        bundles = tuple(bundle(self._connection.new_id(), group) for group in in_bundles(records))
        return tuple(bundle.ref for bundle in bundles), bundles

    def _write_first(self, moves: Sequence[_Move]) -> list[_Move]:
        """Write what the pages are going to refer to; a move whose part failed waits for the next pass."""
        outcomes = self._connection.write(list({write.key: write for move in moves for write in move.first}.values()))
        ready = []
        for move in moves:
            if all(outcomes[write.key] is Outcome.STORED for write in move.first):
                move.parcel.bundles = ()
                ready.append(move)
            else:
                move.parcel.fail_once("memcache did not store a message's body or a segment")
        return ready

    def _touches(self, parcels: Sequence[_Parcel], slots: _Slots) -> list[Write]:
        """List the names as due now, listed or not: a drainer about to take one out then loses its compare-and-set."""
        now_ms = self._connection.now_ms()
        names: dict[bytes, dict[str, int]] = {}
        for parcel in parcels:
            names.setdefault(slot_key(slot_of(parcel.name)), {})[parcel.name] = now_ms
        return [
            slots[key].replaced_by(key, (slots[key].value or Slot()).with_due(due, now_ms))
            for key, due in names.items()
        ]

    def _take_page_outcome(self, move: _Move, outcome: Outcome) -> None:
        parcel = move.parcel
        if outcome is Outcome.STORED:
            parcel.stage = _Stage.SLOT if move.is_touching else _Stage.DONE
            spread = self._connection.random.randrange(parcel.width)
            self._lanes.keep(parcel.name, parcel.lane or spread)
        elif outcome is Outcome.FAILED:
            parcel.is_unsure = True
            parcel.unsure_cas = move.page.cas if isinstance(move.page, Cas) else None
            parcel.fail_once("memcache did not say whether it stored a message")
        elif outcome is Outcome.CONFLICT and not parcel.is_unsure:
            self._lose(parcel)

    def _lose(self, parcel: _Parcel) -> None:
        """Two lost in one send double the width at which they were lost, and move to one of the new lanes."""
        parcel.losses += 1
        if parcel.losses < _LOSSES_TO_WIDEN:
            if parcel.width > 1:
                parcel.lane = self._connection.random.randrange(parcel.width)
            return
        new_lanes = range(parcel.width, 2 * parcel.width) if parcel.width < MAX_WIDTH else range(MAX_WIDTH)
        parcel.lane = self._connection.random.choice(new_lanes)

    def _take_slot_outcome(self, parcel: _Parcel, outcome: Outcome) -> None:
        if outcome is Outcome.STORED:
            parcel.stage = _Stage.DONE
        elif outcome is Outcome.FAILED:
            parcel.fail_once("memcache did not store a slot of the index")


_Pages: TypeAlias = dict[bytes, Seen[Page]]
_Slots: TypeAlias = dict[bytes, Seen[Slot]]
