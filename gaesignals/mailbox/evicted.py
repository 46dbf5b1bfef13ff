"""Passing over waiting segments that memcache has forgotten, a thousand at a time.

A page may promise many more than a claim takes, and whoever can write to memcache may plant one that promises more than
there ever were. Each segment is looked for before it is passed over, so what is still there is delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from gaesignals.format.keys import Address, segment_key
from gaesignals.format.page import SEGMENT_BYTES, Page
from gaesignals.stores.client import Connection, Kind, Seen
from gaesignals.stores.store import Absent

from .rewrite import PAGE, Fate, Plan, plan_page, rewrite

logger = logging.getLogger("gaesignals")

_MAX_SEGMENTS = 1000
_MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Passed:
    """About how many messages of each name were passed over, and the pages that may have more of that kind."""

    lost: Mapping[str, int]
    more: tuple[Address, ...]


def pass_over(connection: Connection, addresses: Iterable[Address]) -> Passed:
    """Take the segments that wait first in these pages, and are missing, out of them: two reads and a write.

    At most a thousand of all pages together. What a page holds else stays as it is, and where memcache fails, all.
    """
    passing = _Passing(connection, addresses)
    rewrite(connection, passing, attempts=_MAX_ATTEMPTS)
    for name, count in passing.lost.items():
        fields = {"signals_name": ascii(name), "signals_count": count, "signals_reason": Absent.MISSING.value}
        logger.error("messages cannot be read", extra=fields)
    return Passed(passing.lost, tuple(passing.more))


class _Passing:
    """The planner of `pass_over`. A page whose write was of unknown outcome is left as it then is."""

    def __init__(self, connection: Connection, addresses: Iterable[Address]) -> None:
        self._connection = connection
        self._todo = {address.key: address for address in addresses}
        self._lost: dict[bytes, int] = {}
        self._more: set[bytes] = set()
        self.lost: dict[str, int] = {}
        self.more: list[Address] = []

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._todo, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        pages: dict[bytes, Page] = {key: each.value for key, each in seen.items() if each.value is not None}
        gaps = self._look(pages)
        for key, each in seen.items():
            if not gaps.get(key):
                del self._todo[key]
                continue
            yield self._without(key, each, pages[key], gaps[key])

    def _look(self, pages: Mapping[bytes, Page]) -> dict[bytes, int]:
        """How many segments of each page are missing before the first that is there."""
        most = max(1, _MAX_SEGMENTS // max(1, len(pages)))
        looked = {
            key: [segment_key(page.epoch, index) for index in range(page.first, min(page.next, page.first + most))]
            for key, page in pages.items()
        }
        sizes = {segment: SEGMENT_BYTES for segments in looked.values() for segment in segments}
        reads = self._connection.gets_sized(sizes)
        gaps = {
            key: sum(1 for _ in takewhile(lambda segment: reads[segment] is Absent.MISSING, segments))
            for key, segments in looked.items()
        }
        self._more = {key for key, gap in gaps.items() if gap == len(looked[key]) < len(pages[key].segments)}
        return gaps

    def _without(self, key: bytes, seen: Seen[Any], page: Page, gap: int) -> Plan:
        # Tasks of durable messages know by the mark that some may have been forgotten.
        after = replace(page.without_segments(gap), loss=self._connection.new_id())
        self._lost[key] = max(gap, page.count_of_segments(gap))
        return plan_page(self._connection, key, seen, after, is_mine=lambda stored: stored.loss == after.loss)

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate is Fate.LOST:
            return  # to a sender or another delivery: look again
        address = self._todo.pop(plan.key)
        if fate in (Fate.STORED, Fate.FOUND):
            self.lost[address.name] = self.lost.get(address.name, 0) + self._lost[plan.key]
            if plan.key in self._more:
                self.more.append(address)

    def give_up(self, key: bytes, reason: str) -> None:
        """The next claim finds what is there."""
        self._todo.pop(key, None)
