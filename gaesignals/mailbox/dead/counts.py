"""Counting dead letters: how many each name has, as far as this version can read the index of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gaesignals.format.keys import DEAD_NAME_PAGES, dead_names_key, dead_names_page_of
from gaesignals.format.letter import DeadNames
from gaesignals.mailbox.box import Mailbox
from gaesignals.stores.client import State

from .pages import readable


@dataclass(frozen=True, slots=True)
class DeadCounts:
    """How many dead letters each name has, without those on the `hidden` pages of the index.

    A later version has stored these, and this one cannot read them.
    """

    by_name: Mapping[str, int] = field(default_factory=dict)
    hidden: frozenset[int] = frozenset()

    def of(self, name: str) -> int | None:
        """How many a name has; None where only a later version can tell."""
        return None if dead_names_page_of(name) in self.hidden else self.by_name.get(name, 0)

    @property
    def total(self) -> int | None:
        """How many all names have; None where only a later version can tell."""
        return None if self.hidden else sum(self.by_name.values())


def count_dead(mailbox: Mailbox) -> DeadCounts:
    """Read the index, in one call. Raises `StoreError` if memcache does not answer for some of it."""
    pages = {number: dead_names_key(number) for number in range(DEAD_NAME_PAGES)}
    seen = mailbox.read(pages.values(), DeadNames.from_bytes)
    hidden = frozenset(number for number, key in pages.items() if seen[key].state is State.NEWER)
    by_name: dict[str, int] = {}
    for number, key in pages.items():
        if number not in hidden:
            by_name |= readable(seen[key], DeadNames()).counts
    return DeadCounts(by_name, hidden)
