"""Unlisting: taking names whose mailbox is empty out of the index, and saying when something can be done for others.

The slots are read first, the mailboxes afterwards, and the slots are written with the ids of the first reading: whoever
sends in between changes the slot, and its entry stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gaesignals.errors import StoreError
from gaesignals.format.entries import is_due
from gaesignals.format.keys import Address, bundle_key
from gaesignals.format.lease import GRACE_MS
from gaesignals.format.page import Page
from gaesignals.format.slot import MAX_OVERDUE_MS, Slot
from gaesignals.mailbox.lanes import read_pages
from gaesignals.stores.client import Connection, Seen, State
from gaesignals.stores.store import Absent

from .listing import list_names
from .slots import LONG_OVERDUE_MS, by_slot, read_slots

MAX_UNMATCHED_A_RUN = 200


@dataclass(frozen=True, slots=True)
class Settled:
    """`unlisted` are no longer in the index; `remaining` are, each with the time (seconds since the epoch) it is due.

    What could be done already for retries and leases that ran out has the time since when, before now. `waking` are the
    remaining names that have nothing waiting and whose senders want their messages handled at once: for what waits,
    senders have seen to that themselves.
    """

    unlisted: tuple[str, ...]
    remaining: Mapping[str, float]
    waking: frozenset[str] = frozenset()


def settle(connection: Connection, names: Iterable[str]) -> Settled:
    """Take the names whose mailbox is empty out of the index, and set the others due when something can be done.

    Raises `StoreError` if memcache does not answer.
    """
    groups = by_slot(dict.fromkeys(names))
    if not groups:
        return Settled((), {})
    slots = read_slots(connection, groups)
    due_ms, waking = due_times(connection, [name for group in groups.values() for name in group])
    now_ms = connection.now_ms()
    changed: dict[bytes, Slot] = {}
    for key, group in groups.items():
        if slots[key].is_writable:
            slot = slots[key].value or Slot()
            # The message that a sender has just listed may be on its way to the page still.
            due_ms |= {n: slot.due_ms[n] for n in group if due_ms[n] is None and slot.is_fresh(n, now_ms)}
            if (after := _settled(slot, {name: due_ms[name] for name in group}, now_ms)) is not None:
                changed[key] = after
    # Once, whatever comes of it: an entry whose slot was lost to a sender stays.
    connection.write([slots[key].replaced_by(key, slot) for key, slot in changed.items()])
    empty = [name for name, at in due_ms.items() if at is None]
    removed = {name for key in changed for name in groups[key]}
    _look_again(connection, [name for name in empty if name in removed])
    remaining = {name: at / 1000 for name, at in due_ms.items() if at is not None}
    return Settled(tuple(empty), remaining, waking & remaining.keys())


def _settled(slot: Slot, due_ms: Mapping[str, int | None], now_ms: int) -> Slot | None:
    """The slot without names that have no due time, and with the times of others; None if that changes nothing."""
    gone = [name for name, at in due_ms.items() if at is None and name in slot.due_ms]
    due = {name: at for name, at in due_ms.items() if at is not None}
    if gone or any(slot.due_ms.get(name) != at for name, at in due.items()):
        return slot.with_due(due, now_ms).without(gone)
    return None


def settle_unmatched(connection: Connection, due_ms: Mapping[str, int]) -> None:
    """Settle some of the names that no receiver here matches: they are delivered elsewhere, and may be empty by now.

    Those that do wait become due now, so the next run looks at others. Raises `StoreError` as `settle` does.
    """
    long_ago = connection.now_ms() - LONG_OVERDUE_MS
    old = [name for name, at in due_ms.items() if at < long_ago]
    if old:
        settle(connection, connection.random.sample(old, min(len(old), MAX_UNMATCHED_A_RUN)))


def _look_again(connection: Connection, names: Sequence[str]) -> None:
    """A sender that died between its page and its slot may have been passed by another that relied on it.

    Also where the store did not say that the names are out: the write may have been carried out all the same.
    """
    if not names:
        return
    try:
        due_ms = {name: at for name, at in due_times(connection, names)[0].items() if at is not None}
    except StoreError:
        # Nobody knows what is in them now, and they are in the index no more.
        due_ms = dict.fromkeys(names, connection.now_ms())
    list_names(connection, due_ms)


def due_times(connection: Connection, names: Collection[str]) -> tuple[dict[str, int | None], frozenset[str]]:
    """When something can be done about each name, None if all its pages are empty; and those of `Settled.waking`.

    Raises `StoreError`.
    """
    now_ms = connection.now_ms()
    due: dict[str, int | None] = dict.fromkeys(names)
    pages = read_pages(connection, names)
    if pages and all(seen.state is State.FAILED for seen in pages.values()):
        raise StoreError("the store did not answer; nothing was settled")
    forgotten = _forgotten(connection, pages, now_ms)
    for address, seen in pages.items():
        at = None if address in forgotten else _due_ms(address, seen, now_ms)
        known = due[address.name]
        if at is not None:
            due[address.name] = at if known is None else min(known, at)
    waking = {address.name for address, seen in pages.items() if seen.value and seen.value.wake_ms}
    return due, frozenset(waking.difference(at.name for at, seen in pages.items() if _is_busy(at, seen.value)))


def _forgotten(connection: Connection, pages: Mapping[Address, Seen[Page]], now_ms: int) -> set[Address]:
    """The pages with nothing but failed messages that nobody retried for seven days, and memcache has none of these.

    As where a receiver is weak by now: its deliveries leave them alone.
    """
    old = {
        address: [bundle_key(ref.key) for ref in seen.value.retries]
        for address, seen in pages.items()
        if seen.value is not None and _has_old_retries_alone(address, seen.value, now_ms)
    }
    sizes = {bundle_key(ref.key): ref.size for at in old if (page := pages[at].value) for ref in page.retries}
    reads = connection.gets_sized(sizes)
    return {address for address, keys in old.items() if all(reads[key] is Absent.MISSING for key in keys)}


def _has_old_retries_alone(address: Address, page: Page, now_ms: int) -> bool:
    has_more = page.is_waiting or page.leases or (page.width > 1 and address.lane == 0)
    # Those that were handed back say nothing of their age.
    times = [ref.not_before_ms for ref in page.retries]
    return bool(times) and not has_more and all(times) and max(times) < now_ms - MAX_OVERDUE_MS


def _due_ms(address: Address, seen: Seen[Page], now_ms: int) -> int | None:
    """The earliest time at which something can be done about a page, or could have been; None if the page is empty."""
    page = seen.value
    if page is None:
        # What cannot be read may hold something; a corrupt page is replaced by the next delivery.
        return None if seen.state is State.MISSING else now_ms
    if _is_busy(address, page):
        return now_ms
    times = [ref.not_before_ms for ref in page.retries]
    times += [lease.expires_ms + GRACE_MS for lease in page.leases]
    return min(min(at, now_ms) if is_due(at, now_ms) else at for at in times) if times else None


def _is_busy(address: Address, page: Page | None) -> bool:
    """Whether something waits, or may in other lanes at any time."""
    return page is not None and (page.is_waiting or (page.width > 1 and address.lane == 0))
