"""Sending: messages go into pages, and their names into the index, by compare-and-set.

When `send` returns, every message is in its page and every name in the index, or with a task that brings it there. When
it raises, the error says which messages are stored, which are not, and for which that could not be found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gaesignals.errors import SendError
from gaesignals.format.entries import Record
from gaesignals.format.inline import Inline
from gaesignals.format.keys import page_key, segment_key
from gaesignals.format.page import Page
from gaesignals.format.slot import Slot
from gaesignals.stores.client import Connection, Kind, Seen
from gaesignals.stores.store import Set

from .bundles import TTL_SECONDS, in_batches, packed
from .cover import Cover, add, close, entrust
from .known import Known
from .lanes import Lanes
from .parcel import OPEN, Parcel, Stage
from .replacer import Replacer
from .rewrite import PAGE, SLOT, Fate, Plan, plan_page, rewrite
from .safety import Safety
from .waker import Waker
from .widening import lane_after_losses

# More than the calls of an attempt may take together, and far less than a name stays wide that senders use no more.
_LATE_MS = 30_000
# Far more than a call takes, and about what a fan-out, its task and their settling do.
_SLOW_MS = 1000


def send(
    connection: Connection,
    lanes: Lanes,
    outgoing: Sequence[tuple[str, Record]],
    *,
    safety: Safety,
    waker: Waker,
    known: Known | None = None,
    replacer: Replacer | None = None,
    uncover: Callable[[Safety, Cover, str], None] = entrust,
) -> None:
    """Store all of `outgoing`, pairs of a name and a record, and add the tasks that they want.

    Raises `SendError` unless every one is stored and indexed, or left to a task that brings it. `uncover` says what
    becomes of the tasks of durable ones that are not stored. With `replacer` they are sent for the first time, and
    those of which only the newest counts take the place of older ones.
    """
    parcels: list[Parcel] = []
    for batch in in_batches(outgoing, connection.store.limits):
        now_ms = connection.now_ms()
        sending = [
            Parcel(name, records, lanes.get(name, now_ms), may_replace=replacer is not None)
            for name, records in batch.items()
        ]
        parcels += sending
        is_plain = False not in [parcel.is_plain for parcel in sending]
        rewrite(connection, _Sending(connection, lanes, sending, safety), known=known if is_plain else None)
    for parcel in parcels:
        if parcel.cover and not parcel.is_refused:
            if parcel.stage is Stage.DONE:
                close(safety, parcel.cover, now_ms=connection.now_ms())
            else:
                uncover(safety, parcel.cover, parcel.reason)
            parcel.stage = Stage.DONE if parcel.cover.is_brought else parcel.stage
    if due_ms := {p.name: p.task_ms for p in parcels if p.stage is Stage.DONE and p.task_ms is not None}:
        waker.wake(due_ms)
    if replacer is not None and (replaced := [(parcel.name, entry) for parcel in parcels for entry in parcel.replaced]):
        replacer.forget(replaced)
    if [parcel for parcel in parcels if parcel.stage is not Stage.DONE]:
        raise _error(parcels)


def _segments(page: Page, groups: Sequence[Inline]) -> list[Set]:
    return [
        Set(segment_key(page.epoch, index), group.to_bytes(), TTL_SECONDS)
        for index, group in enumerate(groups, page.next)
    ]


def _error(parcels: Sequence[Parcel]) -> SendError:
    ids: dict[Stage, list[str]] = {stage: [] for stage in Stage}
    for parcel in parcels:
        is_open = parcel.cover is not None and parcel.cover.is_open
        entrusted = parcel.cover.entrusted if parcel.cover else ()
        for record in parcel.records:
            stage = Stage.UNSURE if parcel.stage is Stage.FAILED and is_open else parcel.stage
            ids[Stage.DONE if record.id in entrusted else stage].append(record.id)
    reason = next(parcel.reason for parcel in parcels if parcel.reason)
    return SendError(reason, stored=ids[Stage.DONE], unsure=ids[Stage.UNSURE], failed=ids[Stage.FAILED])


class _Sending:
    """The planner of one batch of parcels, each of another name."""

    def __init__(self, connection: Connection, lanes: Lanes, parcels: Sequence[Parcel], safety: Safety) -> None:
        self._connection = connection
        self._safety = safety
        self._lanes = lanes
        self._parcels = parcels
        self._touched: dict[bytes, list[Parcel]] = {}
        self._unlisted: list[Parcel] = []
        self._by_page: dict[bytes, Parcel] = {}

    def wanted(self) -> Mapping[bytes, Kind[Any]]:
        pages: dict[bytes, Kind[Page]] = {}
        slots: dict[bytes, Kind[Slot]] = {}
        for parcel in self._parcels:
            if parcel.stage not in OPEN:
                continue
            slots[parcel.slot_key] = SLOT
            if parcel.stage is not Stage.SLOT:
                pages[parcel.home_key] = PAGE
            if parcel.stage is Stage.PAGE:
                for lane in self._lanes_of(parcel):
                    pages[page_key(parcel.name, lane)] = PAGE
        return {**pages, **slots}

    def _lanes_of(self, parcel: Parcel) -> list[int]:
        """The lanes besides the home page that a parcel may be written to, or was."""
        if parcel.is_written and parcel.next_lane is None:
            # The last write was not stored. If it is lost, the next one is made after this same reading.
            losses = parcel.losses + parcel.counts_losses
            parcel.next_lane = lane_after_losses(losses, parcel.width, self._connection.random)
        if not (parcel.lane or parcel.target or parcel.next_lane):
            return []
        return sorted({parcel.lane, parcel.target, parcel.next_lane or 0} - {0})

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        seen = {key: each for key, each in seen.items() if each.is_writable}
        self._touched = {}
        plans = [self._filled(parcel, seen) for parcel in self._covered(self._aimed(seen))]
        self._unlisted = []
        for parcel in self._parcels:
            if parcel.stage is Stage.LANE and parcel.home_key in seen:
                plans.append(self._vouch(parcel, seen))
            elif parcel.stage is Stage.SLOT:
                self._unlisted.append(parcel)
                self._touched.setdefault(parcel.slot_key, []).append(parcel)
        return plans + [self._slot(key, seen[key]) for key in self._touched if key in seen]

    def _aimed(self, seen: Mapping[bytes, Seen[Any]]) -> list[Parcel]:
        """The parcels whose page can be written now, and is chosen."""
        aimed: list[Parcel] = []
        listed: dict[bytes, list[str]] = {}
        now_ms = self._connection.now_ms()
        for parcel in self._parcels:
            if parcel.stage is not Stage.PAGE or parcel.is_written or parcel.slot_key not in seen:
                continue
            names = listed.setdefault(parcel.slot_key, [])
            names.append(parcel.name)
            # Nothing is stored that could not be listed in the index.
            if not (seen[parcel.slot_key].value or Slot()).has_room_for(names, now_ms):
                names.pop()
                reason = "too many names wait: a slot of the index has no room for one more until some are empty"
                parcel.end(Stage.FAILED, reason)
            elif parcel.home_key in seen:
                parcel.aim(seen[parcel.home_key].value, now_ms)
                if parcel.key in seen:
                    parcel.page = seen[parcel.key].value or self._new_page(parcel)
                    aimed.append(parcel)
        return aimed

    def _new_page(self, parcel: Parcel) -> Page:
        parcel.new_epoch = parcel.new_epoch or self._connection.new_id()
        return Page(parcel.new_epoch)

    def _covered(self, aimed: list[Parcel]) -> list[Parcel]:
        """Add the tasks that say where durable messages are put; where that fails nothing is stored of their names."""
        places = [(parcel.cover, place) for parcel in aimed if parcel.cover and (place := parcel.place)]
        if not places:
            return aimed
        failure = add(self._safety, places, now_ms=self._connection.now_ms())
        for parcel in aimed:
            if parcel.cover:
                parcel.records = parcel.cover.records
            if parcel.cover and failure:
                parcel.is_refused = not parcel.cover.is_added
                parcel.end(Stage.UNSURE if failure.is_unsure else Stage.FAILED, failure.reason)
        return [parcel for parcel in aimed if parcel.stage is Stage.PAGE]

    def _filled(self, parcel: Parcel, seen: Mapping[bytes, Seen[Any]]) -> Plan:
        """The page with the parcel's messages; a full one is sealed first."""
        page, now_ms = parcel.page, parcel.planned_ms
        assert page is not None
        parcel.is_touching = parcel.has_to_list(page, seen[parcel.slot_key].value or Slot())
        if parcel.is_touching:
            self._touched.setdefault(parcel.slot_key, []).append(parcel)
        self._by_page[parcel.key], parcel.is_written = parcel, True
        left = parcel.replacing(page)
        if parcel.packed is not parcel.records:
            parcel.packed = parcel.records
            parcel.entries, parcel.bundles = packed(parcel.records, left, self._connection.new_id)
        filled, groups = left.fill(parcel.entries)
        before = _segments(page, groups) if groups else []
        if parcel.bundles:
            before += [bundle.write(self._connection.now_ms()) for bundle in parcel.bundles]
        if parcel.lane != parcel.target:
            parcel.hot_ms = parcel.planned_ms
            filled = filled.heated(parcel.lane, parcel.hot_ms)
        if parcel.is_touching:
            filled = replace(filled, listed_ms=now_ms)
        entries, filled = parcel.entries, parcel.promising(page, filled)
        return plan_page(
            self._connection, parcel.key, seen[parcel.key], filled, before, lambda stored: stored.contains(entries)
        )

    def _vouch(self, parcel: Parcel, seen: Mapping[bytes, Seen[Any]]) -> Plan:
        """Let the home page have the lane that the messages are in, which took too long to be sure of it."""
        home = seen[parcel.home_key]
        page = (home.value or Page(self._connection.new_id())).heated(parcel.target, self._connection.now_ms())
        self._by_page[parcel.home_key] = parcel
        return Plan(parcel.home_key, home, page)

    def _slot(self, key: bytes, seen: Seen[Slot]) -> Plan:
        """List the names as due now, listed or not: a drainer about to take one out then loses its compare-and-set."""
        now_ms = self._connection.now_ms()
        due = {parcel.name: now_ms for parcel in self._touched[key]}
        return Plan(key, seen, (seen.value or Slot()).with_due(due, now_ms))

    def learn(self, plan: Plan, fate: Fate) -> None:
        parcel = self._by_page.pop(plan.key, None)
        if parcel is None:
            self._learn_of_slot(plan, fate)
            return
        parcel.is_written = False
        if parcel.stage is Stage.LANE:
            parcel.stage = Stage.SLOT if fate is Fate.STORED else Stage.LANE
        elif fate is Fate.UNSURE:
            parcel.end(Stage.UNSURE, "the store failed and the page has changed since")
        elif fate is Fate.LOST:
            if not plan.is_recalled:
                parcel.losses += parcel.counts_losses
            parcel.lane, parcel.next_lane = parcel.next_lane or 0, None
        elif fate is not Fate.UNPREPARED:
            self._place(parcel, is_certain=fate is Fate.STORED)

    def _place(self, parcel: Parcel, *, is_certain: bool) -> None:
        """The messages are in their page. A late write to a lane is vouched for: the name may be narrow by now."""
        parcel.replaced = parcel.outdated
        if parcel.target and (self._is_late(parcel) or not is_certain):
            parcel.stage = Stage.LANE
        else:
            parcel.stage = Stage.SLOT if parcel.is_touching or not is_certain else Stage.DONE
        lane = parcel.lane
        if not lane and parcel.width > 1:
            lane = self._connection.random.randrange(parcel.width)
        self._lanes.keep(parcel.name, lane, parcel.hot_ms)

    def _is_late(self, parcel: Parcel) -> bool:
        return self._connection.now_ms() - parcel.planned_ms > _LATE_MS

    def _learn_of_slot(self, plan: Plan, fate: Fate) -> None:
        if fate is not Fate.STORED:
            return
        for parcel in self._touched.get(plan.key, ()):
            # A call is not one moment. Within a slow one, a worker may have seen a name in its slot, found the page
            # still empty and taken the name out again; so it is listed once more.
            is_slow = self._connection.now_ms() - plan.written_ms > _SLOW_MS
            if parcel.stage is Stage.SLOT and (parcel in self._unlisted or not is_slow):
                parcel.stage = Stage.DONE

    def give_up(self, key: bytes, reason: str) -> None:
        for parcel in self._parcels:
            if parcel.stage not in OPEN or key not in (parcel.home_key, parcel.key, parcel.slot_key):
                continue
            if parcel.stage is Stage.PAGE:
                # What becomes of a page that was written is learnt before or after this, and then counts.
                parcel.end(Stage.FAILED, reason)
            elif parcel.stage is Stage.LANE or key == parcel.slot_key:
                parcel.end(Stage.UNSURE, f"{reason}: the messages are stored, and may not be found")
