"""Changing slots of the index: read, change, compare-and-set, and again for those that were lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from gaesignals.errors import StoreError
from gaesignals.format.entries import is_due
from gaesignals.format.keys import SLOTS, Address, slot_key, slot_of
from gaesignals.format.lease import GRACE_MS
from gaesignals.format.page import Page
from gaesignals.format.slot import Slot
from gaesignals.stores.client import Connection, Seen, State
from gaesignals.stores.store import Outcome

from .box import Mailbox
from .lanes import read_pages

SLOTS_A_CALL = 128
_MAX_ATTEMPTS = 50
_MAX_FAILURES = 3


def by_slot(names: Iterable[str]) -> dict[int, list[str]]:
    """Group `names` by the slot that lists them."""
    groups: dict[int, list[str]] = {}
    for name in names:
        groups.setdefault(slot_of(name), []).append(name)
    return groups


def read_slots(connection: Connection, slots: Iterable[int]) -> dict[int, Seen[Slot]]:
    """Read `slots`, 128 a call: a slot may be large."""
    numbers = list(slots)
    found: dict[int, Seen[Slot]] = {}
    for start in range(0, len(numbers), SLOTS_A_CALL):
        part = numbers[start : start + SLOTS_A_CALL]
        seen = connection.read([slot_key(number) for number in part], Slot.from_bytes)
        found.update((number, seen[slot_key(number)]) for number in part)
    return found


def write_slots(
    connection: Connection, seen: Mapping[int, Seen[Slot]], changed: Mapping[int, Slot]
) -> dict[int, Outcome]:
    """Write `changed` where the slots are still as they were `seen`."""
    writes = [seen[number].replaced_by(slot_key(number), slot) for number, slot in changed.items()]
    outcomes = connection.write(writes)
    return {number: outcomes[slot_key(number)] for number in changed}


def list_names(connection: Connection, due_ms: Mapping[str, int]) -> None:
    """List the names of `due_ms` at those times, in place of what their slots say.

    A slot is written even if nothing changes in it: whoever is about to take a name out loses its compare-and-set.
    Raises `StoreError` if a slot could not be written.
    """
    if due_ms:
        _repeat(connection, by_slot(due_ms), lambda slot, names, now_ms: slot.with_due(_part(due_ms, names), now_ms))


def _part(due_ms: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    return {name: due_ms[name] for name in names}


def _repeat(
    connection: Connection, groups: dict[int, list[str]], change: Callable[[Slot, list[str], int], Slot]
) -> None:
    failures = 0
    for _ in connection.attempts(_MAX_ATTEMPTS):
        seen = read_slots(connection, groups)
        now_ms = connection.now_ms()
        changed = {
            number: change(seen[number].value or Slot(), names, now_ms)
            for number, names in groups.items()
            if seen[number].is_writable
        }
        outcomes = write_slots(connection, seen, changed) if changed else {}
        groups = {number: names for number, names in groups.items() if outcomes.get(number) is not Outcome.STORED}
        if not groups:
            return
        failures += any(
            outcomes.get(number, Outcome.FAILED) is Outcome.FAILED or seen[number].state is State.NEWER
            for number in groups
        )
        if failures >= _MAX_FAILURES:
            break
    raise StoreError(
        f"{sum(map(len, groups.values()))} names could not be listed in the index; they are found when they are "
        "sent to again or delivered by name"
    )


logger = logging.getLogger("gaesignals")

UNMATCHED_OVERDUE_MS = 3600 * 1000
HELD_OVERDUE_MS = 3600 * 1000
MAX_UNMATCHED_A_RUN = 200
_MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class FanOut:
    """What one fan-out found: `names` to dispatch, which are this caller's for the redispatch time.

    `unmatched` are the names that wait and that no receiver matches, `held` those that would have been won and were to
    be held back. `unreadable` counts the slots that memcache did not answer for.
    """

    names: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """`emptied` are no longer in the index; `remaining` are, each with the time (seconds since the epoch) it is due."""

    emptied: tuple[str, ...]
    remaining: Mapping[str, float]


class Pending:
    """The index of one mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def entries(self) -> dict[str, float]:
        """Every listed name with the time, in seconds since the epoch, from which it is due.

        Raises `StoreError` if memcache answers for no slot at all.
        """
        slots = self._read(range(SLOTS))
        return {name: at / 1000 for seen in slots.values() if seen.value for name, at in seen.value.due_ms.items()}

    def _read(self, numbers: Collection[int]) -> dict[int, Seen[Slot]]:
        slots = read_slots(self._mailbox, numbers)
        if slots and all(seen.state is State.FAILED for seen in slots.values()):
            raise StoreError("memcache did not answer; the index of waiting names cannot be read")
        return slots

    def fan_out(
        self,
        matches: Callable[[str], bool],
        *,
        redispatch_seconds: float,
        only: Collection[str] | None = None,
        force: bool = False,
        hold: Collection[str] = (),
    ) -> FanOut:
        """Win the names that are due and match, so that the caller dispatches them and nobody else does.

        Each is due again in `redispatch_seconds`, which makes up for a dispatch that is lost. `only` limits it to those
        names. `force` takes names that are not due yet as well, and those of `only` that are not listed. The names of
        `hold` stay listed as they are and are nobody's. Raises `StoreError` if memcache answers for no slot at all.
        """
        wanted = None if only is None else frozenset(only)
        unlisted = frozenset(name for name in wanted if matches(name)) if force and wanted is not None else frozenset()
        todo: Collection[int] = range(SLOTS) if wanted is None else by_slot(wanted)
        unmatched: dict[str, int] = {}
        held: set[str] = set()
        names: list[str] = []
        unreadable = 0
        for attempt in self._mailbox.attempts(_MAX_ATTEMPTS):
            # What was won already is this caller's, so only the first reading may raise.
            seen = self._read(todo) if not attempt else read_slots(self._mailbox, todo)
            now_ms = self._mailbox.now_ms()
            listed = {name: at for slot in seen.values() for name, at in _listed(slot).items()}
            asked = {name: at for name, at in listed.items() if wanted is None or name in wanted}
            unmatched |= {name: at for name, at in asked.items() if not matches(name)}
            chosen = {name for name, at in asked.items() if name not in unmatched and (force or is_due(at, now_ms))}
            chosen |= {name for name in unlisted - listed.keys() if slot_of(name) in seen}
            held |= chosen.intersection(hold)
            due_ms = dict.fromkeys(chosen - held, now_ms + int(redispatch_seconds * 1000))
            won, lost = self._push(seen, due_ms | _kept(held, listed, now_ms))
            names += [name for name in won if name not in held]
            unreadable += sum(slot.state is State.FAILED for slot in seen.values()) if not attempt else 0
            todo = lost
            if not todo:
                break
        if wanted is None:
            self._settle_unmatched(unmatched)
        return FanOut(tuple(sorted(names)), tuple(sorted(held)), tuple(sorted(unmatched)), unreadable)

    def _push(self, seen: Mapping[int, Seen[Slot]], due_ms: Mapping[str, int]) -> tuple[list[str], list[int]]:
        """Set these due times; return the names for which that was won, and the slots lost to a sender."""
        now_ms = self._mailbox.now_ms()
        groups = {number: names for number, names in by_slot(due_ms).items() if seen[number].is_writable}
        changed = {
            number: (seen[number].value or Slot()).with_due({name: due_ms[name] for name in names}, now_ms)
            for number, names in groups.items()
        }
        outcomes = write_slots(self._mailbox, seen, changed)
        won = [name for number, names in groups.items() if outcomes[number] is Outcome.STORED for name in names]
        lost = [number for number, outcome in outcomes.items() if outcome in (Outcome.CONFLICT, Outcome.MISSING)]
        return won, lost

    def _settle_unmatched(self, unmatched: Mapping[str, int]) -> None:
        """Names that nobody here listens to are delivered elsewhere; long overdue ones may be empty by now.

        Those that do wait become due now, so the next run looks at others.
        """
        long_ago = self._mailbox.now_ms() - UNMATCHED_OVERDUE_MS
        old = [name for name, at in unmatched.items() if at < long_ago]
        if old:
            self.settle(self._mailbox.random.sample(old, min(len(old), MAX_UNMATCHED_A_RUN)))

    def put_back(self, names: Iterable[str]) -> None:
        """Make `names` due now again: they were won and could not be dispatched. Raises `StoreError`."""
        list_names(self._mailbox, dict.fromkeys(names, self._mailbox.now_ms()))

    def settle(self, names: Iterable[str]) -> Settled:
        """Take the names whose mailbox is empty out of the index, and set the others due when something can be done.

        The slots are read first and the mailboxes afterwards, and the slots are written with the ids of that reading:
        whoever sends in between changes the slot, and its entry stays. Raises `StoreError` if memcache does not answer.
        """
        groups = by_slot(dict.fromkeys(names))
        if not groups:
            return Settled((), {})
        seen = self._read(groups)
        due_ms = self._look([name for group in groups.values() for name in group])
        now_ms = self._mailbox.now_ms()
        changed: dict[int, Slot] = {}
        for number, group in groups.items():
            if not seen[number].is_writable:
                continue
            slot = seen[number].value or Slot()
            fresh = {name: slot.due_ms[name] for name in group if due_ms[name] is None and slot.is_fresh(name, now_ms)}
            due_ms |= fresh
            gone = [name for name in group if due_ms[name] is None and name in slot.due_ms]
            due = {name: at for name in group if (at := due_ms[name]) is not None}
            if gone or any(slot.due_ms.get(name) != at for name, at in due.items()):
                changed[number] = slot.with_due(due, now_ms).without(gone)
        outcomes = write_slots(self._mailbox, seen, changed) if changed else {}
        emptied = [name for name, at in due_ms.items() if at is None]
        removed = [
            name
            for number, outcome in outcomes.items()
            if outcome in (Outcome.STORED, Outcome.FAILED)
            for name in groups[number]
            if due_ms[name] is None
        ]
        self._look_again(removed)
        remaining = {name: at / 1000 for name, at in due_ms.items() if at is not None}
        return Settled(tuple(emptied), remaining)

    def _look_again(self, names: Collection[str]) -> None:
        """A sender that died between its page and its slot may have been passed by another that relied on it."""
        if not names:
            return
        try:
            due_ms = {name: at for name, at in self._look(names).items() if at is not None}
        except StoreError:
            # Nobody knows what is in them now, and they are in the index no more.
            due_ms = dict.fromkeys(names, self._mailbox.now_ms())
        list_names(self._mailbox, due_ms)

    def _look(self, names: Collection[str]) -> dict[str, int | None]:
        """When something can be done about each name: None if all its pages are empty."""
        now_ms = self._mailbox.now_ms()
        due: dict[str, int | None] = dict.fromkeys(names)
        pages = read_pages(self._mailbox, names)
        if pages and all(seen.state is State.FAILED for seen in pages.values()):
            raise StoreError("memcache did not answer; nothing was settled")
        for address, seen in pages.items():
            at = _due_ms(address, seen, now_ms)
            known = due[address.name]
            if at is not None:
                due[address.name] = at if known is None else min(known, at)
        return due


def _listed(seen: Seen[Slot]) -> Mapping[str, int]:
    return seen.value.due_ms if seen.value else {}


def _kept(held: Iterable[str], listed: Mapping[str, int], now_ms: int) -> dict[str, int]:
    """Those held back that are long overdue become due now: what is overdue for days is dropped from the index."""
    return {name: now_ms for name in held if name in listed and listed[name] < now_ms - HELD_OVERDUE_MS}


def _due_ms(address: Address, seen: Seen[Page], now_ms: int) -> int | None:
    """The earliest time at which something can be done about a page, never earlier than now; None if it is empty."""
    page = seen.value
    if page is None:
        # What cannot be read may hold something; a corrupt page is replaced by the next delivery.
        return None if seen.state is State.MISSING else now_ms
    if page.is_waiting or (page.width > 1 and address.lane == 0):
        return now_ms
    times = [ref.not_before_ms for ref in page.retries]
    times += [lease.expires_ms + GRACE_MS for lease in page.leases]
    return min(now_ms if is_due(at, now_ms) else at for at in times) if times else None
