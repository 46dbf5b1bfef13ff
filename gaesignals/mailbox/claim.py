"""Claiming: taking what waits out of many pages, for good (weak) or into leases (reliable), in one read and one write.

What a compare-and-set won is this delivery's alone. One name's trouble never touches the others of the call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gaesignals.format.keys import Address
from gaesignals.format.lease import Holding, Lease, is_expired
from gaesignals.format.page import MAX_LEASES, Budget, Page
from gaesignals.stores.client import Connection, Seen, State
from gaesignals.stores.store import MAX_BYTES_A_CALL

from .lanes import read_pages
from .rewrite import CONTENDED, PAGE, Fate, Kind, Plan, rewrite

logger = logging.getLogger("gaesignals")

_MAX_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took from one page. Without a lease it is this process's for good."""

    address: Address
    epoch: str
    holding: Holding
    lease: Lease | None = None

    @property
    def name(self) -> str:
        return self.address.name

    def with_lease(self, lease: Lease) -> Claim:
        return replace(self, lease=lease)


@dataclass(slots=True)
class Claimed:
    """What a round of claims came to.

    `expired` are claims of others whose leases ran out, to be taken over. `left` counts what still waits, by name;
    `more` are the names where something could be done at once. `unreadable` are those that memcache did not answer for,
    at least in part, `silent` those for which it did not answer at all, and `contended` those that others changed at
    every attempt.
    """

    claims: list[Claim] = field(default_factory=list)
    expired: list[Claim] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    more: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    contended: set[str] = field(default_factory=set)
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What a claim that is being written takes, and the page as it leaves it."""

    claim: Claim | None
    page: Page


class Claimer:
    """The planner of one round of claims over names, each of them reliable or not.

    With `expired_first` nothing is claimed where a lease has run out: the time is for taking it over. With
    `retries_first` nothing fresh is claimed from a page that has retries which are due.
    """

    def __init__(
        self,
        connection: Connection,
        modes: Mapping[str, bool],
        *,
        lease_seconds: float,
        max_messages: int | None,
        holder: str = "",
        expired_first: bool = False,
        retries_first: bool = False,
    ) -> None:
        self._connection = connection
        self._modes = modes
        self._lease_ms = int(lease_seconds * 1000)
        self._max_messages = max_messages
        self._holder = holder
        self._expired_first = expired_first
        self._retries_first = retries_first
        self._is_claiming = True
        self._todo: dict[bytes, Address] = {}
        self._attempts: dict[bytes, _Attempt] = {}
        self._unreadable: set[Address] = set()
        self._result = Claimed()

    def run(self) -> Claimed:
        names = list(self._modes)
        seen = list(read_pages(self._connection, names).items())
        turn = self._connection.random.randrange(len(seen)) if seen else 0
        # Where the budget ends before the pages do, it is not always the same names, or lanes, that go without.
        turned = seen[turn:] + seen[:turn]
        self._todo = {address.key: address for address, _ in turned}
        self._is_claiming = not (self._expired_first and any(self._expired(*each) for each in seen))
        first = {address.key: each for address, each in turned}
        # A claim that nobody knows the outcome of may have taken messages: it is not given up early.
        rewrite(self._connection, self, attempts=_MAX_ATTEMPTS, failures=_MAX_ATTEMPTS, seen=first)
        self._result.silent = set(names) - {address.name for address, _ in seen if address not in self._unreadable}
        order = {name: number for number, name in enumerate(names)}
        self._result.claims.sort(key=lambda claim: (order[claim.name], claim.address.lane))
        return self._result

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._todo, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        budget = self._budget()
        for key, each in seen.items():
            address = self._todo[key]
            if each.state is State.CORRUPT:
                self._result.lost += 1
                yield self._try(address, None, Page(self._connection.new_id()), each)
            elif each.value is not None:
                claim, page = self._claim(address, each.value, budget) if self._is_claiming else (None, each.value)
                if claim is not None:
                    budget = budget.less(claim.holding)
                    yield self._try(address, claim, page, each)
                else:
                    self._note(address, each.value)
                    del self._todo[key]
            else:
                if each.state is State.FAILED:
                    # A first read that fails leaves the name alone.
                    self._miss(address)
                del self._todo[key]

    def _budget(self) -> Budget:
        """What may still be claimed, beside what was won and what may turn out to be."""
        budget = Budget(MAX_BYTES_A_CALL, self._max_messages)
        for claim in (*self._result.claims, *(attempt.claim for attempt in self._attempts.values())):
            budget = budget.less(claim.holding) if claim else budget
        return budget

    def _claim(self, address: Address, page: Page, budget: Budget) -> tuple[Claim | None, Page]:
        token = self._connection.new_id()
        if not self._modes[address.name]:
            taken, holding = page.take(token, budget)
            is_anything = holding.entries or holding.segments
            return (Claim(address, page.epoch, holding) if is_anything else None), taken
        now_ms = self._connection.now_ms()
        expires_ms = now_ms + self._lease_ms
        leased = page.lease(
            token,
            now_ms=now_ms,
            expires_ms=expires_ms,
            budget=budget,
            holder=self._holder,
            retries_first=self._retries_first,
        )
        if leased is None:
            return None, page
        return Claim(address, page.epoch, leased[1].holding, leased[1]), leased[0]

    def _try(self, address: Address, claim: Claim | None, page: Page, seen: Seen[Page]) -> Plan:
        """The write that is to make a claim. The page knows it again by its token, and as long as it is held."""
        self._attempts[address.key] = _Attempt(claim, page)
        token = page.claim

        def is_mine(stored: Page) -> bool:
            return claim is not None and (stored.claim == token or stored.find_lease(token) is not None)

        return Plan(address.key, seen, page, page.ttl_seconds, is_mine=is_mine)

    def settle(self, plan: Plan, fate: Fate) -> None:
        address, attempt = self._todo[plan.key], self._attempts.pop(plan.key)
        if fate in (Fate.STORED, Fate.FOUND):
            self._note(address, attempt.page)
            if attempt.claim is not None:
                self._result.claims.append(attempt.claim)
            del self._todo[plan.key]
        elif fate is Fate.UNSURE:
            logger.error("the outcome of a claim could not be found out", extra={"signals_name": ascii(address.name)})

    def give_up(self, key: bytes, reason: str) -> None:
        address = self._todo.pop(key)
        logger.error(
            "a page could not be claimed", extra={"signals_name": ascii(address.name), "signals_reason": reason}
        )
        if reason == CONTENDED:
            self._result.contended.add(address.name)
            self._result.more.add(address.name)
        else:
            self._miss(address)

    def _note(self, address: Address, page: Page) -> None:
        """Take down what `page` holds after this round."""
        name, now_ms = address.name, self._connection.now_ms()
        if page.waiting_count:
            self._result.left[name] = self._result.left.get(name, 0) + page.waiting_count
        if not self._modes[name]:
            if page.is_waiting:
                self._result.more.add(name)
            return
        expired = [lease for lease in page.leases if is_expired(lease, now_ms)]
        has_room = len(page.leases) - len(expired) < MAX_LEASES
        if has_room and (page.is_waiting or page.due_retries(now_ms)):
            self._result.more.add(name)
        self._result.expired += [Claim(address, page.epoch, lease.holding, lease) for lease in expired]

    def _expired(self, address: Address, seen: Seen[Page]) -> bool:
        now_ms = self._connection.now_ms()
        leases = seen.value.leases if seen.value and self._modes[address.name] else ()
        return any(is_expired(lease, now_ms) for lease in leases)

    def _miss(self, address: Address) -> None:
        self._unreadable.add(address)
        self._result.unreadable.add(address.name)
