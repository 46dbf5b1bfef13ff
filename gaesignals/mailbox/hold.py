"""Ending leases: what was done is acknowledged, what was not goes back.

A lease that is not in its page any more is somebody else's: nothing of it is changed, and nothing it refers to deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gaesignals.errors import StoreError
from gaesignals.format import page as pages
from gaesignals.format.entries import Record, Ref, is_due
from gaesignals.format.keys import bundle_key, page_key
from gaesignals.format.lease import GRACE_MS
from gaesignals.format.page import MAX_RETRIES, SMALL_BUNDLE_BYTES, Page
from gaesignals.stores.client import Connection, Kind, Seen, State
from gaesignals.values import value

from .bundles import MAX_BUNDLE_MESSAGES, Bundle, bundle, in_bundles, read_bundles
from .claim import Claim, lease_of
from .index.listing import list_names
from .rewrite import PAGE, Fate, Plan, plan_page, rewrite

logger = logging.getLogger("gaesignals")

MAX_MERGED = 512


@value
class LeaseEnd:
    """How the lease of a claim is to end: `returned` go back to be run later, everything else in it is done.

    `keys` are deleted if, and only if, this acknowledgement wins the lease. `lost` counts messages of the claim that
    memcache has forgotten: the page gets another mark of losses, so that tasks bring back the durable ones among them.
    """

    claim: Claim
    returned: Sequence[Record] = ()
    keys: Sequence[bytes] = ()
    lost: int = 0


def acknowledge(connection: Connection, ends: Iterable[LeaseEnd]) -> list[Claim]:
    """End leases as `ends` say: a read and a write for all, one write more for bundles of what goes back.

    Returns the claims whose lease could not be ended. Those leases were taken over, or memcache failed; whoever takes
    one over runs its messages again. What the others referred to is deleted.
    """
    acknowledging = _Acknowledging(connection, ends)
    rewrite(connection, acknowledging)
    planting = _Planting(connection, acknowledging.homeless)
    rewrite(connection, planting)
    won = acknowledging.won + planting.won
    connection.delete([key for end in won for key in end.keys] + acknowledging.merged)
    return acknowledging.missed + planting.missed


@dataclass(slots=True)
class _Return:
    """How a lease ends, with the bundles of what goes back."""

    end: LeaseEnd
    bundles: list[Bundle]

    @property
    def claim(self) -> Claim:
        return self.end.claim

    @property
    def refs(self) -> list[Ref]:
        return [made.ref for made in self.bundles]


class _Acknowledging:
    """The planner of `acknowledge`. Each lease is in another page.

    `homeless` are the leases whose page memcache lost, with what was to go back to that page. `merged` are the keys of
    bundles that nothing refers to any more, since they were written together.
    """

    def __init__(self, connection: Connection, ends: Iterable[LeaseEnd]) -> None:
        self._connection = connection
        self._open = {each.claim.address.key: _Return(each, self._bundled(each.returned)) for each in ends}
        self._merging: dict[bytes, list[bytes]] = {}
        self.won: list[LeaseEnd] = []
        self.missed: list[Claim] = []
        self.homeless: list[_Return] = []
        self.merged: list[bytes] = []

    def _bundled(self, returned: Iterable[Record]) -> list[Bundle]:
        """What was not begun goes back in two halves at least, so that two deliveries may go on with it, and small."""
        now_ms = self._connection.now_ms()
        records = sorted(returned, key=_runnable_since_ms)
        due = [record for record in records if is_due(record.not_before_ms, now_ms)]
        later = [record for record in records if not is_due(record.not_before_ms, now_ms)]
        half = max(1, min(pages.FULL_MESSAGES, -(-len(due) // 2)))
        groups = in_bundles(due, most=half) + in_bundles(later, most=MAX_BUNDLE_MESSAGES)
        return [bundle(self._connection.new_id(), group) for group in groups]

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._open, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            plan = self._end(key, self._open[key], each)
            if plan is not None:
                yield plan

    def _end(self, key: bytes, back: _Return, seen: Seen[Page]) -> Plan | None:
        """The page without the lease and with what goes back; None if there is nothing to write, or not now."""
        page, lease = seen.value, lease_of(back.claim)
        if seen.state is State.NEWER:
            self._miss(key, "a later version of gaesignals wrote the page")
        elif not seen.is_writable:
            return None
        elif page is None or page.epoch != back.claim.epoch:
            # Memcache lost the page with its lease.
            self.homeless.append(self._open.pop(key))
        elif page.find_lease(lease.id) is not None:
            refs = back.refs
            ended = self._with_room(key, page.replace_lease(lease.id), back).with_retries(refs)
            if back.end.lost:
                ended = replace(ended, loss=self._connection.new_id())
            return plan_page(
                self._connection,
                key,
                seen,
                ended,
                # What goes back is stored before anything refers to it; where that fails, the lease is left to run out.
                [made.write(self._connection.now_ms()) for made in back.bundles],
                lambda stored: self._is_ended_by_us(back.claim, refs, stored),
            )
        else:
            self._miss(key, "somebody took the lease over")
        return None

    def _with_room(self, key: bytes, page: Page, back: _Return) -> Page:
        """The page with room for the bundles: small ones that wait in it are written together, if need be."""
        if len(page.retries) + len(back.bundles) <= MAX_RETRIES:
            return page
        small = [ref for ref in page.retries if ref.size < SMALL_BUNDLE_BYTES][: len(back.bundles) + MAX_MERGED]
        found = read_bundles(self._connection, small)
        records = sorted((record for group in found.values() for record in group), key=_runnable_since_ms)
        merged = [bundle(self._connection.new_id(), some) for some in in_bundles(records, most=MAX_BUNDLE_MESSAGES)]
        self._merging[key] = [bundle_key(ref.key) for ref in found]
        kept = tuple(ref for ref in page.retries if ref not in found)
        back.bundles = [*merged, *back.bundles]
        return replace(page, retries=kept)

    def _is_ended_by_us(self, claim: Claim, refs: Sequence[Ref], page: Page) -> bool:
        """Whether the lease is gone by our own hand: its messages are back, or there was no time to take it over."""
        if page.epoch != claim.epoch or page.find_lease(lease_of(claim).id) is not None:
            return False
        if refs:
            return set(refs) <= set(page.retries)
        return self._connection.now_ms() < lease_of(claim).expires_ms + GRACE_MS

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate in (Fate.STORED, Fate.FOUND):
            self.won.append(self._open.pop(plan.key).end)
            self.merged += self._merging.pop(plan.key, [])
        elif fate is Fate.UNSURE:
            self._miss(plan.key, "the store failed and the page has changed since")

    def give_up(self, key: bytes, reason: str) -> None:
        self._miss(key, reason)

    def _miss(self, key: bytes, reason: str) -> None:
        self.missed.append(_missed(self._open.pop(key), reason))


class _Planting:
    """The planner that gives what was to go back to lost pages to the home pages that are there now.

    A lane's, too: the name may have fewer lanes by now.
    """

    def __init__(self, connection: Connection, homeless: Iterable[_Return]) -> None:
        self._connection = connection
        self._open: dict[bytes, list[_Return]] = {}
        self.won: list[LeaseEnd] = []
        self.missed: list[Claim] = []
        for back in homeless:
            if back.refs:
                self._open.setdefault(page_key(back.claim.name), []).append(back)
            else:
                self.won.append(back.end)

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._open, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            if each.is_writable:
                bundles = [made for back in self._open[key] for made in back.bundles]
                yield self._plant(key, each, bundles)

    def _plant(self, key: bytes, seen: Seen[Page], bundles: Sequence[Bundle]) -> Plan:
        refs = [made.ref for made in bundles]
        page = (seen.value or Page(self._connection.new_id())).with_retries(refs)
        before = [made.write(self._connection.now_ms()) for made in bundles]
        return plan_page(self._connection, key, seen, page, before, lambda stored: set(refs) <= set(stored.retries))

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate in (Fate.STORED, Fate.FOUND):
            planted = self._open.pop(plan.key)
            self.won += [back.end for back in planted]
            self._list(planted)
        elif fate is Fate.UNSURE:
            self.give_up(plan.key, "the store failed and the page has changed since")

    def _list(self, planted: Sequence[_Return]) -> None:
        """What went back to the new page waits there."""
        name = planted[0].claim.name
        try:
            list_names(self._connection, {name: min(ref.not_before_ms for back in planted for ref in back.refs)})
        except StoreError:
            logger.exception("messages that go back could not be listed in the index")

    def give_up(self, key: bytes, reason: str) -> None:
        self.missed += [_missed(back, reason) for back in self._open.pop(key)]


def _missed(back: _Return, reason: str) -> Claim:
    logger.warning(
        "a lease could not be acknowledged; its messages may run again",
        extra={"signals_name": ascii(back.claim.name), "signals_reason": reason},
    )
    return back.claim


def _runnable_since_ms(record: Record) -> int:
    """What could be run first is first: none waits for as long as others fail, or come and go back."""
    return max(record.not_before_ms, record.sent_us // 1000)
