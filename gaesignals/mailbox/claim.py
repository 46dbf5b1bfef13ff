"""Claiming: taking what waits out of many pages, for good (weak) or into leases (reliable), in one read and one write.

What a compare-and-set won is this delivery's alone. One name's trouble never touches the others of the call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gaesignals.format.entries import count_messages
from gaesignals.format.keys import PAUSED_NAMES, Address
from gaesignals.format.lease import Holding, Lease, is_expired
from gaesignals.format.page import Page
from gaesignals.format.pauses import PausedNames
from gaesignals.format.taking import FAILED_FIRST, FAILED_LAST, Budget, lease, take
from gaesignals.stores.client import Connection, Kind, Seen, State
from gaesignals.values import value

from .lanes import with_lanes
from .rewrite import CONTENDED, PAGE, PAUSED, Fate, Plan, plan_page, rewrite

logger = logging.getLogger("gaesignals")

_MAX_ATTEMPTS = 20


@value
class Claim:
    """What one claim took from one page. Without a lease that is this process's for good."""

    address: Address
    epoch: str
    holding: Holding
    lease: Lease | None = None

    @property
    def name(self) -> str:
        return self.address.name

    def with_lease(self, lease: Lease) -> Claim:
        return replace(self, lease=lease, holding=lease.holding)


def lease_of(claim: Claim) -> Lease:
    """The lease of a claim of a reliable delivery."""
    assert claim.lease is not None, "only claims of reliable deliveries have leases to change"
    return claim.lease


@dataclass(slots=True)
class Claimed:
    """What a round of claims came to.

    `expired` are claims of others whose leases ran out, to be taken over. `unclaimed` counts what could be done at once
    and still waits, by name; `more` are the names where there is such. `live` counts the leases of others that hold
    some of a name. `unreadable` are the names that memcache did not answer for, at least in part, `silent` those for
    which it did not answer at all, and `contended` those that others changed at every attempt. `narrowed` are those
    that have their home page alone again, and `paused` those that were left alone because somebody paused them.
    """

    claims: list[Claim] = field(default_factory=list)
    expired: list[Claim] = field(default_factory=list)
    unclaimed: dict[str, int] = field(default_factory=dict)
    more: set[str] = field(default_factory=set)
    live: dict[str, int] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    contended: set[str] = field(default_factory=set)
    narrowed: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    lost: int = 0


@value
class Order:
    """What is wanted of a name: whether on leases, how many messages at most, and for how long."""

    is_reliable: bool
    messages: int
    lease_ms: int


@value
class _Attempt:
    """What a claim that is being written takes, and the page as it leaves it."""

    claim: Claim | None
    page: Page
    is_narrowing: bool = False


class Claimer:
    """The planner of one round of claims, by what `orders` say of each name.

    In no order: where the bytes or messages end before the pages do, it is not always the same names, or lanes, that go
    without. `paused` is given the page of paused names, read in the call that reads the home pages, and says which
    names to leave alone. A claimer makes one round.
    """

    def __init__(
        self,
        connection: Connection,
        orders: Mapping[str, Order],
        *,
        max_messages: int | None = None,
        holder: str = "",
        paused: Callable[[Seen[PausedNames]], Collection[str]] | None = None,
    ) -> None:
        self._connection = connection
        self._orders = orders
        self._max_messages = max_messages
        self._holder = holder
        self._paused = paused
        self._todo: dict[bytes, Address] = {}
        self._lanes: Mapping[Address, Seen[Page]] = {}
        self._attempts: dict[bytes, _Attempt] = {}
        self._unreadable: set[Address] = set()
        self._result = Claimed()

    def claim(self) -> Claimed:
        return self._claim_of(with_lanes(self._connection, self._read_homes()))

    def claim_unless_expired(self) -> Claimed:
        """As `claim`, and nothing at all where a lease has run out: those are taken over first."""
        seen = with_lanes(self._connection, self._read_homes())
        if not any(self._expired(address, each.value) for address, each in seen.items()):
            return self._claim_of(seen)
        for address, each in seen.items():
            self._note(address, each.value or Page(""))
        return self._result

    def _claim_of(self, seen: Mapping[Address, Seen[Page]]) -> Claimed:
        self._lanes = seen
        drawn = self._connection.random.sample(sorted(seen, key=lambda at: (at.name, at.lane)), len(seen))
        self._todo = {address.key: address for address in drawn}
        first = {address.key: seen[address] for address in drawn}
        # A claim that nobody knows the outcome of may have taken messages: it is not given up early.
        rewrite(self._connection, self, attempts=_MAX_ATTEMPTS, failures=_MAX_ATTEMPTS, seen=first)
        answered = {at.name for at in seen if at not in self._unreadable}
        self._result.silent = set(self._orders) - answered - self._result.paused
        return self._result

    def _read_homes(self) -> dict[Address, Seen[Page]]:
        """The home pages of the names that are not paused."""
        homes = [Address(name) for name in self._orders]
        kinds: dict[bytes, Kind[Any]] = {home.key: PAGE for home in homes}
        if self._paused is None:
            seen = self._connection.look(kinds)
        else:
            seen = self._connection.look(kinds | {PAUSED_NAMES: PAUSED})
            self._result.paused = self._orders.keys() & set(self._paused(seen[PAUSED_NAMES]))
        return {home: seen[home.key] for home in homes if home.name not in self._result.paused}

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return dict.fromkeys(self._todo, PAGE)

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        budget = Budget(self._connection.store.limits.bytes, self._max_messages)
        sizes = {name: order.messages for name, order in self._orders.items()}
        for taken in self._taken():
            budget = budget.less(taken.holding)
            sizes[taken.name] -= taken.holding.count
        for key, each in seen.items():
            address = self._todo[key]
            if each.state is State.CORRUPT:
                self._result.lost += 1
                yield self._try(address, _Attempt(None, Page(self._connection.new_id())), each)
            elif each.value is not None:
                claim, page = self._taken_from(address, each.value, budget.at_most(sizes[address.name]))
                if claim is not None:
                    budget = budget.less(claim.holding)
                    sizes[address.name] -= claim.holding.count
                    yield self._try(address, _Attempt(claim, page), each)
                elif self._is_unused(address, each.value):
                    yield self._try(address, _Attempt(None, each.value.narrowed(), is_narrowing=True), each)
                else:
                    self._note(address, each.value)
                    del self._todo[key]
            else:
                if each.state is State.FAILED:
                    # A first read that fails leaves the name alone.
                    self._miss(address)
                del self._todo[key]

    def _taken(self) -> list[Claim]:
        """What was won, and what may turn out to be."""
        return self._result.claims + [attempt.claim for attempt in self._attempts.values() if attempt.claim]

    def _taken_from(self, address: Address, page: Page, budget: Budget) -> tuple[Claim | None, Page]:
        order = self._orders[address.name]
        if not order.is_reliable:
            taken, holding = take(page, budget)
            return (None if taken is page else Claim(address, page.epoch, holding)), taken
        now_ms = self._connection.now_ms()
        leased = lease(
            page,
            self._connection.new_id(),
            now_ms=now_ms,
            expires_ms=now_ms + order.lease_ms,
            budget=budget,
            holder=self._holder,
            kinds=FAILED_FIRST if self._connection.random.random() < 0.5 else FAILED_LAST,
        )
        if leased is None:
            return None, page
        return Claim(address, page.epoch, leased[1].holding, leased[1]), leased[0]

    def _is_unused(self, address: Address, page: Page) -> bool:
        """Whether a name was widened long ago and all its lanes, read after its home page, are empty."""
        if address.lane or not page.is_cold(self._connection.now_ms()) or not page.narrowed().is_empty:
            return False
        lanes = [self._lanes.get(Address(address.name, lane)) for lane in range(1, page.width)]
        return all(each is not None and _is_empty(each) for each in lanes)

    def _try(self, address: Address, attempt: _Attempt, seen: Seen[Page]) -> Plan:
        """The write that is to make a claim. It is known as well for as long as the page has its lease."""
        self._attempts[address.key] = attempt
        lease_id = attempt.claim.lease.id if attempt.claim and attempt.claim.lease else None

        def is_mine(stored: Page) -> bool:
            return lease_id is not None and stored.find_lease(lease_id) is not None

        return plan_page(self._connection, address.key, seen, attempt.page, is_mine=is_mine)

    def learn(self, plan: Plan, fate: Fate) -> None:
        address, attempt = self._todo[plan.key], self._attempts.pop(plan.key)
        if fate in (Fate.STORED, Fate.FOUND):
            self._note(address, attempt.page, mine=attempt.claim)
            if attempt.claim is not None:
                self._result.claims.append(attempt.claim)
            if attempt.is_narrowing:
                self._result.narrowed.add(address.name)
            del self._todo[plan.key]
        elif attempt.is_narrowing:
            # Whoever changed the home page may use its lanes: they would have to be read again.
            self._lanes = {}
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

    def _note(self, address: Address, page: Page, *, mine: Claim | None = None) -> None:
        """Take down what `page` holds after this round."""
        name, now_ms = address.name, self._connection.now_ms()
        is_reliable = self._orders[name].is_reliable
        due = page.due_retries(now_ms) if is_reliable else ()
        count = page.waiting_count + count_messages(due)
        if count:
            self._result.unclaimed[name] = self._result.unclaimed.get(name, 0) + count
        if not is_reliable:
            if page.is_waiting:
                self._result.more.add(name)
            return
        expired = self._expired(address, page)
        live = len(page.leases) - len(expired) - (mine is not None)
        self._result.live[name] = self._result.live.get(name, 0) + live
        if page.has_room_for_lease and (page.is_waiting or due):
            self._result.more.add(name)
        self._result.expired += expired

    def _expired(self, address: Address, page: Page | None) -> list[Claim]:
        now_ms = self._connection.now_ms()
        leases = page.leases if page and self._orders[address.name].is_reliable else ()
        return [Claim(address, page.epoch, each.holding, each) for each in leases if page and is_expired(each, now_ms)]

    def _miss(self, address: Address) -> None:
        self._unreadable.add(address)
        self._result.unreadable.add(address.name)


def _is_empty(seen: Seen[Page]) -> bool:
    return seen.value.is_empty if seen.value else seen.state is State.MISSING
