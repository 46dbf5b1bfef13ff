"""Fanning out: handing the names of the index that are due to whoever dispatches them.

A name's due time is pushed forward before it is dispatched, so that two fan-outs that overlap do not dispatch it twice,
and one whose task is lost comes up again. So what is dispatched stays listed: `unlisting` takes it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gaesignals.format.keys import SLOTS, slot_key
from gaesignals.format.slot import Slot
from gaesignals.mailbox.rewrite import MANY_SLOTS, Fate, Plan, rewrite
from gaesignals.stores.client import Connection, Kind, Seen, State

from .listing import list_names
from .slots import LONG_OVERDUE_MS, by_slot, check_any_read, read_slots
from .unlisting import Settled, settle, settle_unmatched

_FAN_OUT_ATTEMPTS = 3
# So much at most is added to a due time, by which a fan-out knows its own.
_MARK_MS = 1000


@dataclass(frozen=True, slots=True)
class FanOut:
    """What one fan-out found: `names` to dispatch, which are this caller's for the redispatch time.

    `unmatched` are the names that wait and that no receiver matches, each with the time it is due, `paused` those that
    would have been won if they were not paused. `unreadable` counts the slots that memcache did not answer for.
    `listed` is everything that the slots which were read have, due or not.
    """

    names: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    unmatched: Mapping[str, int] = field(default_factory=dict)
    unreadable: int = 0
    listed: frozenset[str] = frozenset()


class Index:
    """The index of one mailbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def entries(self) -> dict[str, float]:
        """Every listed name with the time, in seconds since the epoch, from which it is due.

        Raises `StoreError` if memcache answers for no slot at all.
        """
        slots = read_slots(self._connection, map(slot_key, range(SLOTS)))
        return {name: at / 1000 for seen in slots.values() if seen.value for name, at in seen.value.due_ms.items()}

    def fan_out(
        self, matches: Callable[[str], bool], *, redispatch_seconds: float, paused: Collection[str] = ()
    ) -> FanOut:
        """Win the names that are due and match, so that the caller dispatches them and nobody else does.

        Each is due again in `redispatch_seconds`, which makes up for a dispatch that is lost, and then in twice as long
        each time, up to an hour, until somebody delivers it. The names of `paused` stay listed as they are and are
        nobody's. Raises `StoreError` if memcache answers for no slot at all.
        """
        return self._take(_FanningOut(self._connection, matches, redispatch_seconds, paused=paused))

    def fan_out_all(
        self, matches: Callable[[str], bool], *, redispatch_seconds: float, paused: Collection[str] = ()
    ) -> FanOut:
        """As `fan_out`, and the names that are not due yet as well."""
        return self._take(_FanningOutAll(self._connection, matches, redispatch_seconds, paused=paused))

    def fan_out_named(
        self, names: Collection[str], *, redispatch_seconds: float, paused: Collection[str] = ()
    ) -> FanOut:
        """As `fan_out_all`, of `names` alone, which are listed if they are not. The slots of others are not read."""
        return self._take(_FanningOutNamed(self._connection, names, redispatch_seconds, paused=paused))

    def postpone(self, names: Collection[str], *, seconds: float) -> None:
        """Have `names` due in `seconds`, or seven minutes: somebody is at work on them. Raises `StoreError`."""
        list_names(self._connection, dict.fromkeys(names, self._connection.now_ms() + int(seconds * 1000)))

    def settle(self, names: Iterable[str]) -> Settled:
        """Take the names whose mailbox is empty out of the index, as `settle.settle` does."""
        return settle(self._connection, names)

    def settle_unmatched(self, due_ms: Mapping[str, int]) -> None:
        """Settle some of the names that no receiver here matches, as `settle.settle_unmatched` does."""
        settle_unmatched(self._connection, due_ms)

    def put_back(self, names: Iterable[str]) -> None:
        """Make `names` due now again: they were won and could not be dispatched. Raises `StoreError`."""
        list_names(self._connection, dict.fromkeys(names, self._connection.now_ms()))

    def _take(self, fanning_out: _FanningOut) -> FanOut:
        rewrite(self._connection, fanning_out, attempts=_FAN_OUT_ATTEMPTS)
        return FanOut(
            tuple(sorted(fanning_out.won)),
            tuple(sorted(fanning_out.left_alone)),
            fanning_out.unmatched,
            len(fanning_out.unreadable),
            frozenset(fanning_out.listed),
        )


class _FanningOut:
    """The planner of a fan-out: what is listed, what of it may be taken, and pushing those forward.

    What nobody here listens to is taken out when it is seven days overdue: hardly anything that old is still stored.
    """

    def __init__(
        self,
        connection: Connection,
        matches: Callable[[str], bool],
        redispatch_seconds: float,
        *,
        slots: Iterable[bytes] = tuple(map(slot_key, range(SLOTS))),
        paused: Collection[str] = (),
    ) -> None:
        self._connection = connection
        self._matches = matches
        self._paused = frozenset(paused)
        self._redispatch_ms = int(redispatch_seconds * 1000)
        # Nobody else is likely to have chosen the same millisecond.
        self._mark_ms = connection.random.randrange(_MARK_MS)
        self._todo = dict.fromkeys(slots, MANY_SLOTS)
        self._names: dict[bytes, list[str]] = {}
        self._is_first = True
        self.won: set[str] = set()
        self.left_alone: set[str] = set()
        self.unmatched: dict[str, int] = {}
        self.unreadable: set[bytes] = set()
        self.listed: set[str] = set()

    def wanted(self) -> Mapping[bytes, Kind[Slot]]:
        return self._todo

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        # What was won already is this caller's, so only the first reading may raise.
        if self._is_first:
            check_any_read(seen)
            self._is_first = False
        for key, each in seen.items():
            if each.state is State.FAILED:
                self.unreadable.add(key)
            plan = self._push(key, each) if each.is_writable else None
            if plan is None:
                del self._todo[key]
            else:
                yield plan

    def _push(self, key: bytes, seen: Seen[Slot]) -> Plan | None:
        now_ms = self._connection.now_ms()
        slot = seen.value or Slot()
        self.listed.update(slot.due_ms)
        chosen = self.takeable(key, slot, self._matching(slot.due_ms), now_ms)
        self.left_alone |= chosen & self._paused
        won = chosen - self._paused
        # Paused ones that are long overdue become due now: what is overdue for days is dropped from the index.
        kept = {
            name: now_ms for name in chosen & self._paused if slot.due_ms.get(name, now_ms) < now_ms - LONG_OVERDUE_MS
        }
        old = slot.overdue(now_ms) & self.unmatched.keys()
        if not won and not kept and not old:
            return None
        self._names[key] = list(won)
        left = slot.without(old).with_due(kept, now_ms)
        pushed = left.pushed({name: self.push_ms(left, name) for name in won}, now_ms, mark_ms=self._mark_ms)
        mine = {name: pushed.due_ms[name] for name in won}
        return Plan(key, seen, pushed, is_mine=lambda slot: bool(mine) and mine.items() <= slot.due_ms.items())

    def _matching(self, due_ms: Mapping[str, int]) -> Mapping[str, int]:
        """Those of the listed names that a receiver matches; the others are noted."""
        unmatched = {name: at for name, at in due_ms.items() if not self._matches(name)}
        self.unmatched |= unmatched
        return {name: at for name, at in due_ms.items() if name not in unmatched}

    def takeable(self, key: bytes, slot: Slot, names: Iterable[str], now_ms: int) -> set[str]:
        """Those of the listed names that match which this fan-out is after."""
        return {name for name in names if slot.is_due(name, now_ms)}

    def push_ms(self, slot: Slot, name: str) -> int:
        return slot.next_push_ms(name, self._redispatch_ms)

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate is Fate.LOST:
            return  # to a sender, as a rule: its names are as they were
        if fate is not Fate.UNSURE:
            self.won.update(self._names[plan.key])
        del self._todo[plan.key]

    def give_up(self, key: bytes, reason: str) -> None:
        self._todo.pop(key, None)


class _FanningOutAll(_FanningOut):
    def takeable(self, key: bytes, slot: Slot, names: Iterable[str], now_ms: int) -> set[str]:
        return set(names)

    def push_ms(self, slot: Slot, name: str) -> int:
        return self._redispatch_ms


class _FanningOutNamed(_FanningOutAll):
    def __init__(
        self, connection: Connection, names: Collection[str], redispatch_seconds: float, *, paused: Collection[str]
    ) -> None:
        self._groups = by_slot(names)
        super().__init__(connection, lambda _: True, redispatch_seconds, slots=self._groups, paused=paused)

    def takeable(self, key: bytes, slot: Slot, names: Iterable[str], now_ms: int) -> set[str]:
        return set(self._groups[key])
