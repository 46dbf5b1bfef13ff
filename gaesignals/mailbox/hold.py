"""Holding on to leases: acknowledge them, renew them, take over those of others that ran out.

A lease that is not in its page any more is somebody else's: nothing of it is changed, and nothing it refers to deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gaesignals.errors import StoreError
from gaesignals.format.entries import Record, Ref
from gaesignals.format.lease import GRACE_MS, Lease, Mark, Position
from gaesignals.format.page import Page
from gaesignals.stores.client import Connection, Seen, State

from .bundles import Bundle, bundle, in_bundles
from .claim import Claim
from .rewrite import PAGE, Fate, Kind, Plan, rewrite
from .slots import list_names

logger = logging.getLogger("gaesignals")


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a claim is to end: `returned` go back to be run later, everything else in it is done.

    `keys` are deleted if, and only if, this acknowledgement wins the lease.
    """

    claim: Claim
    returned: Sequence[Record] = ()
    keys: Sequence[bytes] = ()


def acknowledge(connection: Connection, settlements: Iterable[Settlement]) -> list[Claim]:
    """End the leases of `settlements`: a read and a write for all, one write more for bundles of what goes back.

    Returns the claims whose lease could not be ended. Those were taken over, or memcache failed; whoever takes them
    over runs them again. What the others referred to is deleted.
    """
    ending = _Ending(connection, settlements)
    rewrite(connection, ending)
    ending.list_homeless()
    connection.delete([key for settlement in ending.won for key in settlement.keys])
    return ending.missed


class _Ending:
    """The planner of `acknowledge`. Each settlement is of another page."""

    def __init__(self, connection: Connection, settlements: Iterable[Settlement]) -> None:
        self._connection = connection
        self._open = {settlement.claim.address.key: settlement for settlement in settlements}
        self._bundles = {key: self._bundled(settlement.returned) for key, settlement in self._open.items()}
        self._homeless: dict[str, int] = {}
        self.won: list[Settlement] = []
        self.missed: list[Claim] = []

    def _bundled(self, returned: Iterable[Record]) -> list[Bundle]:
        groups = in_bundles(sorted(returned, key=_runnable_since_ms))
        return [bundle(self._connection.new_id(), group) for group in groups]

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._open, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            plan = self._end(key, self._open[key].claim, each)
            if plan is not None:
                yield plan

    def _end(self, key: bytes, claim: Claim, seen: Seen[Page]) -> Plan | None:
        """The page without the lease and with what goes back; None if there is nothing to write, or not now."""
        refs = [made.ref for made in self._bundles[key]]
        page = seen.value
        if seen.state is State.NEWER:
            self._miss(key, "a later version of gaesignals wrote the page")
        elif not seen.is_writable:
            return None
        elif page is None or page.epoch != claim.epoch:
            return self._replant(key, refs, seen)
        elif page.find_lease(_lease(claim).id) is not None:
            ended = page.replace_lease(_lease(claim).id).with_retries(refs)
            return self._plan(key, seen, ended, lambda stored: self._is_ended_by_us(claim, refs, stored))
        else:
            self._miss(key, "somebody took the lease over")
        return None

    def _replant(self, key: bytes, refs: Sequence[Ref], seen: Seen[Page]) -> Plan | None:
        """The page was lost with its lease: what was to go back goes to the one that is there now."""
        if not refs:
            self._win(key)
            return None
        page = (seen.value or Page(self._connection.new_id())).with_retries(refs)
        self._homeless[self._open[key].claim.name] = min(ref.not_before_ms for ref in refs)
        return self._plan(key, seen, page, lambda stored: set(refs) <= set(stored.retries))

    def _plan(self, key: bytes, seen: Seen[Page], page: Page, is_mine: Callable[[Page], bool]) -> Plan:
        # What goes back is stored before anything refers to it; where that fails, the lease is left to run out.
        before = [made.write(self._connection.now_ms()) for made in self._bundles[key]]
        return Plan(key, seen, page, page.ttl_seconds, before, is_mine)

    def _is_ended_by_us(self, claim: Claim, refs: Sequence[Ref], page: Page) -> bool:
        """Whether the lease is gone by our own hand: its messages are back, or there was no time to take it over."""
        if page.epoch != claim.epoch or page.find_lease(_lease(claim).id) is not None:
            return False
        if refs:
            return set(refs) <= set(page.retries)
        return self._connection.now_ms() < _lease(claim).expires_ms + GRACE_MS

    def settle(self, plan: Plan, fate: Fate) -> None:
        if fate in (Fate.STORED, Fate.FOUND):
            self._win(plan.key)
        elif fate is Fate.UNSURE:
            self._miss(plan.key, "memcache failed and the page has changed since")

    def give_up(self, key: bytes, reason: str) -> None:
        self._miss(key, reason)

    def _win(self, key: bytes) -> None:
        self.won.append(self._open.pop(key))

    def _miss(self, key: bytes, reason: str) -> None:
        claim = self._open.pop(key).claim
        self.missed.append(claim)
        self._homeless.pop(claim.name, None)
        logger.warning(
            "a lease could not be acknowledged; its messages may run again",
            extra={"signals_name": ascii(claim.name), "signals_reason": reason},
        )

    def list_homeless(self) -> None:
        """List the names whose page was lost: what went back to the new one waits there."""
        try:
            list_names(self._connection, self._homeless)
        except StoreError:
            logger.exception("messages that go back could not be listed in the index")


def _runnable_since_ms(record: Record) -> int:
    """What could be run first is first: none waits for as long as others fail, or come and go back."""
    return max(record.not_before_ms, record.sent_us // 1000)


def renew(connection: Connection, claims: Sequence[Claim], *, expires_ms: int) -> dict[str, Claim]:
    """Extend the leases of `claims` in one read and one write; return those certainly still held, by lease id.

    One whose page memcache lost is still held: nobody can take it over.
    """
    changing = _Changing(connection, [(claim, replace(_lease(claim), expires_ms=expires_ms)) for claim in claims])
    rewrite(connection, changing)
    return changing.changed


def take_over(connection: Connection, claim: Claim, *, expires_ms: int, holder: str = "") -> Claim | None:
    """Make an expired lease ours; None if it is not as it was seen any more, or memcache fails."""
    fresh = replace(_lease(claim), id=connection.new_id(), expires_ms=expires_ms, holder=holder)
    changing = _Taking(connection, [(claim, fresh)])
    rewrite(connection, changing)
    return changing.changed.get(_lease(claim).id)


def advance(
    connection: Connection,
    claim: Claim,
    *,
    position: Position,
    marks: Sequence[Mark],
    spilled: Sequence[Ref],
    expires_ms: int,
) -> Claim | None:
    """Note that everything before `position` is done but for `marks`; None if the lease is not ours any more.

    The claim without that position if memcache lost the page: nothing could be noted, and nobody can take over.
    `spilled` are bundles with what earlier marks stood for; they join the page's retries in the same write.
    """
    lease = replace(_lease(claim), position=position, marks=tuple(marks), expires_ms=expires_ms)
    changing = _Changing(connection, [(claim, lease)], spilled=spilled)
    rewrite(connection, changing)
    return changing.changed.get(lease.id)


class _Changing:
    """The planner that replaces the lease of each claim, each on a page of its own.

    `changed` are the claims as they are now, by the old id. A claim whose lease is gone from its page is left out. One
    whose page is gone is ours for as much longer: nobody else can have its messages, and its end finds a page for them.
    """

    def __init__(
        self, connection: Connection, changes: Iterable[tuple[Claim, Lease]], *, spilled: Sequence[Ref] = ()
    ) -> None:
        self._connection = connection
        self._todo = {claim.address.key: (claim, lease) for claim, lease in changes}
        self._spilled = spilled
        self.changed: dict[str, Claim] = {}

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._todo, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            if each.state is State.FAILED:
                continue
            claim, lease = self._todo[key]
            page: Page | None = each.value
            if page is None or page.epoch != claim.epoch:
                self._hold_without_page(key, each)
            elif not self.is_held(claim, page):
                del self._todo[key]
            else:
                spilled = [ref for ref in self._spilled if ref not in page.retries]
                changed = page.replace_lease(_lease(claim).id, lease).with_retries(spilled)
                yield Plan(key, each, changed, changed.ttl_seconds, is_mine=_has(lease))

    def is_held(self, claim: Claim, page: Page) -> bool:
        return page.find_lease(_lease(claim).id) is not None

    def _hold_without_page(self, key: bytes, seen: Seen[Page]) -> None:
        claim, lease = self._todo.pop(key)
        if seen.is_writable and self._connection.now_ms() < _lease(claim).expires_ms + GRACE_MS:
            self._change(claim, replace(_lease(claim), expires_ms=lease.expires_ms))

    def _change(self, claim: Claim, lease: Lease) -> None:
        self.changed[_lease(claim).id] = claim.with_lease(lease)

    def settle(self, plan: Plan, fate: Fate) -> None:
        if fate in (Fate.STORED, Fate.FOUND):
            self._change(*self._todo.pop(plan.key))

    def give_up(self, key: bytes, reason: str) -> None:
        del self._todo[key]


class _Taking(_Changing):
    """Takes leases over that are exactly as they were seen; others are somebody else's by now."""

    def is_held(self, claim: Claim, page: Page) -> bool:
        return page.find_lease(_lease(claim).id) == claim.lease

    def _hold_without_page(self, key: bytes, seen: Seen[Page]) -> None:
        del self._todo[key]


def _has(lease: Lease) -> Callable[[Page], bool]:
    return lambda page: page.find_lease(lease.id) == lease


def _lease(claim: Claim) -> Lease:
    assert claim.lease is not None, "only claims of reliable deliveries have leases to change"
    return claim.lease
