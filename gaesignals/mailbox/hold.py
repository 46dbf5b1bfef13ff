"""Holding on to leases: acknowledge them, renew them, take over those of others that ran out.

A lease that is not in its page any more is somebody else's: nothing of it is changed, and nothing it refers to deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gaesignals.errors import StoreError
from gaesignals.format.entries import Record, Ref
from gaesignals.format.lease import GRACE_MS, Lease, Mark, Position
from gaesignals.format.page import Page
from gaesignals.stores.client import Connection, Seen, State
from gaesignals.stores.store import Outcome, Write

from .bundles import Bundle, bundle, in_bundles
from .claim import Claim
from .index import list_names

logger = logging.getLogger("gaesignals")

_MAX_ATTEMPTS = 50
_MAX_FAILURES = 3


@dataclass(slots=True)
class Settlement:
    """How a claim is to end: `returned` go back to be run later, everything else in it is done.

    `keys` are deleted if, and only if, this acknowledgement wins the lease.
    """

    claim: Claim
    returned: Sequence[Record] = ()
    keys: Sequence[bytes] = ()


@dataclass(slots=True)
class _Ending:
    settlement: Settlement
    bundles: list[Bundle] = field(default_factory=list)
    is_unsure: bool = False
    failures: int = 0

    @property
    def claim(self) -> Claim:
        return self.settlement.claim

    @property
    def lease(self) -> Lease:
        assert self.claim.lease is not None
        return self.claim.lease

    @property
    def refs(self) -> list[Ref]:
        return [bundle.ref for bundle in self.bundles]


class Acknowledger:
    """Ends leases: one read and one write for all, one more for bundles of what goes back, one to delete."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: list[_Ending] = []
        self._won: list[_Ending] = []
        self._missed: list[_Ending] = []

    def acknowledge(self, settlements: Iterable[Settlement]) -> list[Claim]:
        """End the leases of `settlements`; return the claims whose lease could not be ended.

        Those were taken over, or memcache failed until they ran out; whoever takes them over runs them again.
        """
        self._open = [self._ending(settlement) for settlement in settlements]
        self._write_bundles()
        for _ in self._connection.attempts(_MAX_ATTEMPTS):
            if not self._open:
                break
            self._pass()
        self._missed += self._open
        self._connection.delete(self._garbage())
        return [ending.claim for ending in self._missed]

    def _ending(self, settlement: Settlement) -> _Ending:
        records = sorted(settlement.returned, key=_runnable_since_ms)
        groups = in_bundles(records)
        return _Ending(settlement, [bundle(self._connection.new_id(), group) for group in groups])

    def _write_bundles(self) -> None:
        """What goes back is stored before anything refers to it; where that fails, the lease is left to run out."""
        todo = {made.key: made for ending in self._open for made in ending.bundles}
        for _ in self._connection.attempts(_MAX_FAILURES):
            if not todo:
                return
            outcomes = self._connection.write([made.write(self._connection.now_ms()) for made in todo.values()])
            todo = {key: made for key, made in todo.items() if outcomes[key] is not Outcome.STORED}
        for ending in list(self._open):
            if any(made.key in todo for made in ending.bundles):
                self._miss(ending, "memcache did not store the messages that go back")

    def _pass(self) -> None:
        pages = self._connection.read([ending.claim.address.key for ending in self._open], Page.from_bytes)
        writes: dict[bytes, Write] = {}
        for ending in list(self._open):
            key = ending.claim.address.key
            page = self._plan(ending, pages[key])
            if page is not None:
                writes[key] = pages[key].replaced_by(key, page, ttl_seconds=page.ttl_seconds)
        outcomes = self._connection.write(list(writes.values())) if writes else {}
        homeless = {}
        for ending in list(self._open):
            outcome = outcomes.get(ending.claim.address.key)
            if outcome is Outcome.STORED:
                if self._is_gone(ending, pages[ending.claim.address.key]):
                    homeless[ending.claim.name] = min(ref.not_before_ms for ref in ending.refs)
                self._win(ending)
            elif outcome is Outcome.FAILED:
                ending.is_unsure = True
                self._fail_once(ending)
        self._list(homeless)

    def _list(self, due_ms: Mapping[str, int]) -> None:
        try:
            list_names(self._connection, due_ms)
        except StoreError:
            logger.exception("messages that go back could not be listed in the index")

    def _plan(self, ending: _Ending, seen: Seen[Page]) -> Page | None:
        """The page without the lease and with what goes back; None if there is nothing to write, or not now."""
        if seen.state is State.FAILED:
            self._fail_once(ending)
        elif seen.state is State.NEWER:
            self._miss(ending, "a later version of gaesignals wrote the page")
        elif self._is_gone(ending, seen):
            return self._replant(ending, seen)
        elif seen.value is not None and seen.value.find_lease(ending.lease.id) is not None:
            return seen.value.replace_lease(ending.lease.id).with_retries(ending.refs)
        elif ending.is_unsure and seen.value is not None and self._is_ended_by_us(ending, seen.value):
            self._win(ending)
        else:
            self._miss(ending, "somebody took the lease over")
        return None

    def _is_gone(self, ending: _Ending, seen: Seen[Page]) -> bool:
        return seen.value is None or seen.value.epoch != ending.claim.epoch

    def _replant(self, ending: _Ending, seen: Seen[Page]) -> Page | None:
        """The page was lost with its lease: what was to go back goes to the one that is there now."""
        page = seen.value or Page(self._connection.new_id())
        if not ending.refs:
            self._win(ending)
            return None
        return page.with_retries([ref for ref in ending.refs if ref not in page.retries])

    def _is_ended_by_us(self, ending: _Ending, page: Page) -> bool:
        """After a write of unknown outcome the lease is gone: by us, unless there was time to take it over."""
        if ending.refs:
            return set(ending.refs) <= set(page.retries)
        return self._connection.now_ms() < ending.lease.expires_ms + GRACE_MS

    def _fail_once(self, ending: _Ending) -> None:
        ending.failures += 1
        if ending.failures >= _MAX_FAILURES:
            self._miss(ending, "memcache failed")

    def _win(self, ending: _Ending) -> None:
        self._open.remove(ending)
        self._won.append(ending)

    def _miss(self, ending: _Ending, reason: str) -> None:
        self._open.remove(ending)
        self._missed.append(ending)
        logger.warning(
            "a lease could not be acknowledged; its messages may run again",
            extra={"signals_name": ascii(ending.claim.name), "signals_reason": reason},
        )

    def _garbage(self) -> list[bytes]:
        return [key for ending in self._won for key in ending.settlement.keys]


def _runnable_since_ms(record: Record) -> int:
    """What could be run first is first: none waits for as long as others fail, or come and go back."""
    return max(record.not_before_ms, record.sent_us // 1000)


def renew(connection: Connection, claims: Sequence[Claim], *, expires_ms: int) -> dict[str, Claim]:
    """Extend the leases of `claims` in one read and one write; return those certainly still held, by lease id.

    One whose page memcache lost is still held: nobody can take it over.
    """
    return _change(connection, [(claim, replace(_lease(claim), expires_ms=expires_ms)) for claim in claims])


def take_over(connection: Connection, claim: Claim, *, expires_ms: int, holder: str = "") -> Claim | None:
    """Make an expired lease ours; None if it is not as it was seen any more, or memcache fails."""
    fresh = replace(_lease(claim), id=connection.new_id(), expires_ms=expires_ms, holder=holder)
    return _change(connection, [(claim, fresh)], is_exact=True).get(_lease(claim).id)


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
    return _change(connection, [(claim, lease)], spilled=spilled).get(lease.id)


def _change(
    connection: Connection,
    changes: Sequence[tuple[Claim, Lease]],
    *,
    spilled: Sequence[Ref] = (),
    is_exact: bool = False,
) -> dict[str, Claim]:
    """Replace the lease of each claim, each on a page of its own; return the claims as they are now, by the old id.

    A claim whose lease is gone from its page is left out; with `is_exact`, also one whose lease has changed. One whose
    page is gone is ours for as much longer: nobody else can have its messages, and its end finds a page for them.
    """
    changed: dict[str, Claim] = {}
    todo = {claim.address.key: (claim, lease) for claim, lease in changes}
    failures = 0
    for _ in connection.attempts(_MAX_ATTEMPTS):
        pages = connection.read(todo, Page.from_bytes)
        writes: list[Write] = []
        for key, (claim, lease) in list(todo.items()):
            seen = pages[key]
            if seen.state is State.FAILED:
                continue
            page = _changed_page(claim, lease, seen, spilled, is_exact=is_exact)
            if page is None:
                del todo[key]
                if not is_exact and _is_nobodys(claim, seen, connection.now_ms()):
                    held = replace(_lease(claim), expires_ms=lease.expires_ms)
                    changed[held.id] = claim.with_lease(held)
            elif page is seen.value:
                changed[_lease(claim).id] = claim.with_lease(lease)
                del todo[key]
            else:
                writes.append(seen.replaced_by(key, page, ttl_seconds=page.ttl_seconds))
        outcomes = connection.write(writes) if writes else {}
        for key in [key for key, outcome in outcomes.items() if outcome is Outcome.STORED]:
            claim, lease = todo.pop(key)
            changed[_lease(claim).id] = claim.with_lease(lease)
        failures += any(outcomes.get(key, Outcome.FAILED) is Outcome.FAILED for key in todo)
        if not todo or failures >= _MAX_FAILURES:
            break
    return changed


def _changed_page(
    claim: Claim, lease: Lease, seen: Seen[Page], spilled: Sequence[Ref], *, is_exact: bool
) -> Page | None:
    """The page with the new lease; the same page if it has it already; None if the old one is gone."""
    page = seen.value
    if page is None or page.epoch != claim.epoch:
        return None
    if page.find_lease(lease.id) == lease:
        return page
    held = page.find_lease(_lease(claim).id)
    if held is None or (is_exact and held != claim.lease):
        return None
    return page.replace_lease(held.id, lease).with_retries([ref for ref in spilled if ref not in page.retries])


def _is_nobodys(claim: Claim, seen: Seen[Page], now_ms: int) -> bool:
    """Whether memcache lost the page of a lease that there was no time to take over."""
    is_gone = seen.is_writable and (seen.value is None or seen.value.epoch != claim.epoch)
    return is_gone and now_ms < _lease(claim).expires_ms + GRACE_MS


def _lease(claim: Claim) -> Lease:
    assert claim.lease is not None, "only claims of reliable deliveries have leases to change"
    return claim.lease
