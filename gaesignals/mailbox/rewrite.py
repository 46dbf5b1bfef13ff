"""The one loop around compare-and-set: read, plan, write, find out what became of it, and plan again.

A planner says which keys it wants, what to write to them as they were read, and how a write of its own is recognised.
Everything else is here: calls for many keys together, jitter, bounds, and giving up.

After any answer that is not "stored" the key is read again and the plan's own mark looked for, before that counts as a
loss: the network may carry a write out twice, and answer for the second time. A write of unknown outcome whose key is
as it was is repeated as it is. If the key has changed and the mark is not there, nobody can tell, unless the mark of
the writer before is there still.

A value that a later version of gaesignals wrote is left alone: no other reading makes it older, so its key is given up.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Protocol

from gaesignals.format.page import EMPTY_TTL_SECONDS, MARK_BYTES, Page
from gaesignals.format.pauses import PausedNames
from gaesignals.format.slot import Slot
from gaesignals.stores.client import Connection, Kind, Seen, State, Storable
from gaesignals.stores.store import Add, Cas, Outcome, Set

from .known import Known, Recollection

MAX_ATTEMPTS: Final = 100
CONTENDED: Final = "every attempt lost to another writer"
NEWER: Final = "a later version of gaesignals wrote what is stored; upgrade this one"
MAX_FAILURES: Final = 3

PAGE: Final = Kind(Page.from_bytes)
SLOT: Final = Kind(Slot.from_bytes)
PAUSED: Final = Kind(PausedNames.from_bytes)
# 128 a call, since each may be large.
MANY_SLOTS: Final = Kind(Slot.from_bytes, 2**17 - 300)


class Fate(enum.Enum):
    """What became of a plan.

    `STORED`: the store said so. `FOUND`: its mark was found after another answer, so its parts may have taken effect at
    any time before; or it was stored, and something else that it was made of was out of date. `LOST`: somebody else
    wrote first, and nothing of it is there. `UNSURE`: nobody can tell. `UNPREPARED`: what comes before it could not be
    written, so it was not.
    """

    STORED = "stored"
    FOUND = "found"
    LOST = "lost"
    UNSURE = "unsure"
    UNPREPARED = "unprepared"


@dataclass(slots=True)
class Plan:
    """What to write to `key`, which is as `seen` says. `before` is what `value` refers to: it is written first.

    `is_mine` recognises the write in a value that was read later. Without it the write may be repeated whatever became
    of it: it is one that makes no difference the second time. `last_mark` is that of the writer before; as long as it
    is there, so are those of all who came after.

    The rest is the loop's: when the calls began that wrote it first and last, whether one has an unknown outcome, and
    whether it was made of a recollection, which may be old.
    """

    key: bytes
    seen: Seen[Any]
    value: Storable
    ttl_seconds: int = 0
    before: Sequence[Set] = ()
    is_mine: Callable[[Any], bool] | None = None
    last_mark: bytes = b""
    begun_ms: int = 0
    written_ms: int = 0
    is_unsure: bool = False
    is_recalled: bool = False

    def write(self, new_cas: bytes | None) -> Add | Cas:
        return self.seen.replaced_by(self.key, self.value, ttl_seconds=self.ttl_seconds, new_cas=new_cas)


def plan_page(
    connection: Connection,
    key: bytes,
    seen: Seen[Page],
    page: Page,
    before: Sequence[Set] = (),
    is_mine: Callable[[Page], bool] | None = None,
) -> Plan:
    """The plan of a page that leaves a mark in it, and is known by that whatever others have taken out since.

    `is_mine` knows it, too, after so many others that the mark is gone.
    """
    mark = connection.random.randbytes(MARK_BYTES)
    marked = page.marked(mark)

    def is_known(stored: Page) -> bool:
        return stored.has_mark(mark) or (is_mine is not None and is_mine(stored))

    last_mark = seen.value.marks[-MARK_BYTES:] if seen.value else b""
    return Plan(key, seen, marked, marked.ttl_seconds, before, is_known, last_mark)


class Planner(Protocol):
    """Who wants something changed. Ends when it wants no more keys."""

    def wanted(self) -> Mapping[bytes, Kind[Any]]:
        """The keys to read next, with what their values are."""

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        """What to write now. Keys whose last write has still to be found out are left out of `seen`."""

    def learn(self, plan: Plan, fate: Fate) -> None:
        """What became of `plan`. Called once for each, in the order of the plans."""

    def give_up(self, key: bytes, reason: str) -> None:
        """Called where the store failed too often for `key`, others changed it at every attempt, or it is newer."""


def rewrite(
    connection: Connection,
    planner: Planner,
    *,
    attempts: int = MAX_ATTEMPTS,
    failures: int = MAX_FAILURES,
    seen: Mapping[bytes, Seen[Any]] | None = None,
    known: Known | None = None,
) -> None:
    """Carry out what `planner` plans. Every pass is one read and one write, and one more for what comes before.

    A key is given up after so many `failures`, reads and writes together, and all of them after so many `attempts`.
    `seen` stands for the first reading, where the caller has made that already. What is `known` is not decoded again,
    and from a store that takes ids not even read for the first pass: its write finds out whether it is so.
    """
    _Rewriting(connection, planner, failures, Recollection(connection, known)).run(attempts, seen)


class _Rewriting:
    def __init__(
        self, connection: Connection, planner: Planner, most_failures: int, recollection: Recollection
    ) -> None:
        self._connection = connection
        self._planner = planner
        self._most_failures = most_failures
        self._recollection = recollection
        self._kinds: dict[bytes, Kind[Any]] = {}
        # What was written, and not answered with "stored".
        self._open: dict[bytes, Plan] = {}
        self._failures: dict[bytes, int] = {}
        self._written: set[bytes] = set()

    def run(self, attempts: int, first: Mapping[bytes, Seen[Any]] | None) -> None:
        for attempt in self._connection.attempts(attempts):
            wanted = self._planner.wanted()
            if not wanted and not self._open:
                return
            self._kinds.update(wanted)
            if first is None and attempt == 0:
                first = self._recollection.recall(wanted)
            if first is None:
                seen = self._read(wanted)
            else:
                seen, first = {key: first[key] for key in wanted if key in first}, None
            again: list[Plan] = []
            if self._open:
                again = self._resolve(seen)
                # What was found out may have changed what is wanted.
                wanted = self._planner.wanted()
                seen = {key: each for key, each in seen.items() if key in wanted and key not in self._open}
            self._write([*again, *self._prepared(list(self._planner.plan(seen)))])
            if self._failures or State.NEWER in map(_state_of, seen.values()):
                self._give_up_on(self._failing() | _newer(seen))
        if self._open:
            self._resolve(self._read({}))
        left = [*self._open, *self._planner.wanted()]
        self._give_up_on(dict.fromkeys(left, CONTENDED))

    def _read(self, wanted: Mapping[bytes, Kind[Any]]) -> Mapping[bytes, Seen[Any]]:
        started_ms = self._connection.now_ms()
        kinds = {**wanted, **{key: self._kinds[key] for key in self._open}}
        seen = self._connection.look(kinds, self._recollection.decoded)
        if State.FAILED in map(_state_of, seen.values()):
            self._count_failures([key for key, each in seen.items() if each.state is State.FAILED], started_ms)
        return seen

    def _count_failures(self, keys: Collection[bytes], started_ms: int) -> None:
        """`keys` are those that failed in the call which began then.

        Where the store hangs, two such calls are enough: a request may be waiting for this.
        """
        cost = (self._most_failures + 1) // 2 if self._connection.took_long(started_ms) else 1
        self._failures.update({key: self._failures.get(key, 0) + cost for key in keys})

    def _resolve(self, seen: Mapping[bytes, Seen[Any]]) -> list[Plan]:
        """Find out what became of the last writes; return those to be repeated as they are."""
        again = []
        for key, plan in list(self._open.items()):
            if seen[key].state is State.FAILED:
                continue
            fate = self._fate(plan, seen[key])
            if fate is None:
                again.append(plan)
                continue
            del self._open[key]
            self._planner.learn(plan, fate)
        return again

    def _fate(self, plan: Plan, seen: Seen[Any]) -> Fate | None:
        """None where the key is as it was before a write of unknown outcome."""
        if plan.is_mine is not None and seen.value is not None and plan.is_mine(seen.value):
            return Fate.FOUND
        if plan.is_mine is None or not plan.is_unsure:
            return Fate.LOST
        # A key that is missing as before may have been there in between: emptied by somebody, and expired.
        has_expired = seen.cas is None and self._connection.now_ms() >= plan.begun_ms + EMPTY_TTL_SECONDS * 1000
        if seen.cas == plan.seen.cas and not has_expired:
            return None
        is_other = plan.last_mark and seen.value is not None and seen.value.has_mark(plan.last_mark)
        return Fate.LOST if is_other else Fate.UNSURE

    def _prepared(self, plans: list[Plan]) -> list[Plan]:
        """Write what comes before; a plan whose part failed is made anew in the next pass."""
        if not any(plan.before for plan in plans):
            return plans
        parts = {part.key: part for plan in plans for part in plan.before if part.key not in self._written}
        if not parts:
            return plans
        started_ms = self._connection.now_ms()
        outcomes = self._connection.write(list(parts.values()))
        self._written.update(key for key, outcome in outcomes.items() if outcome is Outcome.STORED)
        # The other writes of this pass would hang as well.
        hangs = Outcome.FAILED in outcomes.values() and self._connection.took_long(started_ms)
        ready, unready = [], []
        for plan in plans:
            if not hangs and self._written.issuperset(part.key for part in plan.before):
                ready.append(plan)
            else:
                unready.append(plan.key)
                self._planner.learn(plan, Fate.UNPREPARED)
        self._count_failures(unready, started_ms)
        return ready

    def _write(self, plans: Sequence[Plan]) -> None:
        writes = [plan.write(self._recollection.new_cas()) for plan in plans]
        now_ms = self._connection.now_ms()
        is_recalled = self._recollection.is_in_use
        checks = self._recollection.checks(writes) if is_recalled else []
        outcomes = self._connection.write([*writes, *checks])
        if Outcome.FAILED in outcomes.values():
            self._count_failures([key for key, outcome in outcomes.items() if outcome is Outcome.FAILED], now_ms)
        marked = [plan.key for plan in plans if plan.is_mine] if is_recalled else ()
        is_confirmed = not is_recalled or self._recollection.learn(outcomes, marked, now_ms)
        for plan, write in zip(plans, writes, strict=True):
            outcome = outcomes[plan.key]
            # Of a plan that is repeated nothing else is checked any more.
            is_sure = is_confirmed and not plan.is_recalled
            plan.begun_ms, plan.written_ms = plan.begun_ms or now_ms, now_ms
            plan.is_recalled = plan.is_recalled or is_recalled
            if outcome is Outcome.STORED:
                self._open.pop(plan.key, None)
                self._recollection.keep(write, plan.value, now_ms)
                self._planner.learn(plan, Fate.STORED if is_sure else Fate.FOUND)
                continue
            # Once is enough: a later answer says nothing of an earlier write.
            plan.is_unsure = plan.is_unsure or outcome is Outcome.FAILED
            self._open[plan.key] = plan

    def _failing(self) -> dict[bytes, str]:
        return {key: "the store failed" for key, count in self._failures.items() if count >= self._most_failures}

    def _give_up_on(self, reasons: Mapping[bytes, str]) -> None:
        for key, reason in reasons.items():
            plan = self._open.pop(key, None)
            if plan is not None:
                # Nobody has looked for its mark, and that somebody else was first may be the answer of a second time.
                self._planner.learn(plan, Fate.LOST if plan.is_mine is None else Fate.UNSURE)
            if key in self._planner.wanted():
                self._planner.give_up(key, reason)
            self._failures.pop(key, None)


_state_of = attrgetter("state")


def _newer(seen: Mapping[bytes, Seen[Any]]) -> dict[bytes, str]:
    return {key: NEWER for key, each in seen.items() if each.state is State.NEWER}
