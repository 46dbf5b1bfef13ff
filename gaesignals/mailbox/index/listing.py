"""Listing: putting names into the index.

What waits is listed from the moment its send returns until somebody has seen its mailbox empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gaesignals.errors import StoreError
from gaesignals.format.slot import Slot
from gaesignals.mailbox.rewrite import MANY_SLOTS, Fate, Plan, rewrite
from gaesignals.stores.client import Connection, Kind, Seen

from .slots import by_slot


def list_names(connection: Connection, due_ms: Mapping[str, int]) -> None:
    """List the names of `due_ms` at those times, in place of what their slots say.

    A slot is written even if nothing changes in it: whoever is about to take a name out loses its compare-and-set.
    Raises `StoreError` if a slot could not be written.
    """
    listing = _Listing(connection, due_ms)
    rewrite(connection, listing)
    if listing.failed:
        raise StoreError(
            f"{len(listing.failed)} names could not be listed in the index; they are found when they are "
            "sent to again or delivered by name"
        )


class _Listing:
    """The planner of `list_names`. Listing a name twice makes no difference, so its plans have no mark."""

    def __init__(self, connection: Connection, due_ms: Mapping[str, int]) -> None:
        self._connection = connection
        self._due_ms = due_ms
        self._groups = by_slot(due_ms)
        self.failed: list[str] = []

    def wanted(self) -> Mapping[bytes, Kind[Slot]]:
        return dict.fromkeys(self._groups, MANY_SLOTS)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        now_ms = self._connection.now_ms()
        for key, each in seen.items():
            if each.is_writable:
                due = {name: self._due_ms[name] for name in self._groups[key]}
                yield Plan(key, each, (each.value or Slot()).with_due(due, now_ms))

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate is Fate.STORED:
            del self._groups[plan.key]

    def give_up(self, key: bytes, reason: str) -> None:
        self.failed += self._groups.pop(key)
