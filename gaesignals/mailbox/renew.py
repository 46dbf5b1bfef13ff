"""Changing leases: take over those of others that ran out, renew a takeover's own, and keep less than was claimed.

A lease that is not in its page any more is somebody else's: nothing of it is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gaesignals.format.entries import Record, Ref
from gaesignals.format.inline import Inline
from gaesignals.format.lease import GRACE_MS, Holding, Lease, Mark, Position
from gaesignals.format.page import Page
from gaesignals.stores.client import Connection, Kind, Seen, State
from gaesignals.stores.store import Set

from .bundles import bundle, in_bundles
from .claim import Claim, lease_of
from .rewrite import PAGE, Fate, Plan, rewrite


def take_over(connection: Connection, claim: Claim, *, expires_ms: int, holder: str = "") -> Claim | None:
    """Make an expired lease ours; None if the lease is not as it was seen any more, or memcache fails."""
    fresh = replace(lease_of(claim), id=connection.new_id(), expires_ms=expires_ms, holder=holder)
    taking = _TakingOver(connection, claim, fresh)
    rewrite(connection, taking)
    return taking.changed


def keep(connection: Connection, claim: Claim, kept: Sequence[Record], back: Sequence[Record]) -> Claim | None:
    """Have a lease hold `kept` alone, in bundles of its own, and let `back` go, to be run by anybody at once.

    Together `kept` and `back` are what the lease held. Returns the claim as it is then; as it was if memcache lost its
    page, for nobody can take that lease over; None if the lease is not ours any more. What the claim referred to before
    is then nobody's.
    """
    held = [bundle(connection.new_id(), group) for group in in_bundles(kept)]
    others = [bundle(connection.new_id(), group) for group in in_bundles(back)]
    lease = lease_of(claim)
    entries = Inline.of([made.ref for made in held])
    holding = Holding(lease.holding.next, lease.holding.next, entries, 0, entries.size)
    renewing = _Renewing(
        connection,
        claim,
        replace(lease, holding=holding),
        spilled=[made.ref for made in others],
        before=[made.write(connection.now_ms()) for made in (*held, *others)],
    )
    rewrite(connection, renewing)
    return renewing.changed


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
    lease = replace(lease_of(claim), position=position, marks=tuple(marks), expires_ms=expires_ms)
    renewing = _Renewing(connection, claim, lease, spilled=spilled)
    rewrite(connection, renewing)
    return renewing.changed


class _Renewing:
    """The planner that puts another lease in the place of a claim's.

    `changed` is the claim with that lease; None before that, or where the lease is gone from its page. A lease whose
    page is gone is ours for as much longer: nobody else can have its messages, and its end finds a page for them.
    """

    def __init__(
        self,
        connection: Connection,
        claim: Claim,
        lease: Lease,
        *,
        spilled: Sequence[Ref] = (),
        before: Sequence[Set] = (),
    ) -> None:
        self._connection = connection
        self._before = before
        self._claim = claim
        self._lease = lease
        self._spilled = spilled
        self._is_over = False
        self.changed: Claim | None = None

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return {} if self._is_over else {self._claim.address.key: PAGE}

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            if each.state is State.FAILED:
                continue
            page: Page | None = each.value
            if page is None or page.epoch != self._claim.epoch:
                self._end(self._lease_without_page(each))
            elif not self.is_ours(self._claim, page):
                self._end(None)
            else:
                spilled = [ref for ref in self._spilled if ref not in page.retries]
                changed = page.replace_lease(lease_of(self._claim).id, self._lease).with_retries(spilled)
                yield Plan(key, each, changed, changed.ttl_seconds, self._before, _has(self._lease))

    def is_ours(self, claim: Claim, page: Page) -> bool:
        return page.find_lease(lease_of(claim).id) is not None

    def _lease_without_page(self, seen: Seen[Page]) -> Lease | None:
        lease = lease_of(self._claim)
        is_left = seen.is_writable and self._connection.now_ms() < lease.expires_ms + GRACE_MS
        return replace(lease, expires_ms=self._lease.expires_ms) if is_left else None

    def _end(self, lease: Lease | None) -> None:
        self._is_over = True
        self.changed = None if lease is None else self._claim.with_lease(lease)

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate in (Fate.STORED, Fate.FOUND):
            self._end(self._lease)

    def give_up(self, key: bytes, reason: str) -> None:
        self._end(None)


class _TakingOver(_Renewing):
    """Takes leases over that are exactly as they were seen; others are somebody else's by now."""

    def is_ours(self, claim: Claim, page: Page) -> bool:
        return page.find_lease(lease_of(claim).id) == claim.lease

    def _lease_without_page(self, seen: Seen[Page]) -> Lease | None:
        return None


def _has(lease: Lease) -> Callable[[Page], bool]:
    """Whether a page has `lease` now. That it had is not enough: somebody may have taken the lease over since."""
    return lambda page: page.find_lease(lease.id) == lease
