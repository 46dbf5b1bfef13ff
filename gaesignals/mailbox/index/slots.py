"""The slots of the index: which of them has a name, and reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gaesignals.errors import StoreError
from gaesignals.format.keys import slot_key, slot_of
from gaesignals.format.slot import Slot
from gaesignals.mailbox.rewrite import MANY_SLOTS
from gaesignals.stores.client import Connection, Seen, State

LONG_OVERDUE_MS = 3600 * 1000


def by_slot(names: Iterable[str]) -> dict[bytes, list[str]]:
    """Group `names` by the key of the slot that lists them."""
    groups: dict[bytes, list[str]] = {}
    for name in names:
        groups.setdefault(slot_key(slot_of(name)), []).append(name)
    return groups


def read_slots(connection: Connection, keys: Iterable[bytes]) -> dict[bytes, Seen[Slot]]:
    """Read these slots. Raises `StoreError` if memcache answers for none of them."""
    slots = connection.look(dict.fromkeys(keys, MANY_SLOTS))
    check_any_read(slots)
    return slots


def check_any_read(slots: Mapping[bytes, Seen[Slot]]) -> None:
    if slots and all(seen.state is State.FAILED for seen in slots.values()):
        raise StoreError("the store did not answer; the index of waiting names cannot be read")
