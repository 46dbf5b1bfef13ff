"""A network that carries some writes out twice, and some late: after their caller was told that nobody knows."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from gaesignals.stores.store import Outcome, Read, Store, Write

from .scheduler import Scheduler

_STEPS = (0, 1, 3, 10, 40)


@dataclass(eq=False)
class _Copy:
    """Writes that reach the store when the scheduler has come to a step; what became of them then."""

    writes: Sequence[Write]
    at_step: int
    outcomes: Mapping[bytes, Outcome] | None = None


class Network:
    """A store as it is seen through such a network. A write is compared and set each time that it arrives.

    The answer for a write that came twice is that of the first time or that of the second, which hides that the first
    was stored; the second may be some steps on its way while its caller waits.
    """

    def __init__(self, store: Store, scheduler: Scheduler, seed: int) -> None:
        self.limits = store.limits
        self.takes_ids = getattr(store, "takes_ids", False)
        self._store = store
        self._scheduler = scheduler
        self._random = random.Random(f"network {seed}")
        self._rate = self._random.choice((0.05, 0.15, 0.4))
        self._copies: list[_Copy] = []

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        self._arrive()
        return self._store.gets(keys)

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        self._arrive()
        if self._random.random() >= self._rate:
            return self._store.write(writes)
        some = self._random.sample(writes, self._random.randint(1, len(writes))) if writes else []
        others = self._store.write([write for write in writes if write not in some])
        fault: Callable[[Sequence[Write]], Mapping[bytes, Outcome]]
        fault = self._random.choice((self._write_twice, self._write_late))
        return {**others, **fault(some)}

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        self._arrive()
        return self._store.delete(keys)

    def arrive(self) -> None:
        """Let everything arrive that is on its way."""
        copies, self._copies = self._copies, []
        for copy in copies:
            copy.outcomes = self._store.write(copy.writes)

    def _arrive(self) -> None:
        due = [copy for copy in self._copies if copy.at_step <= self._scheduler.steps]
        for copy in due:
            self._copies.remove(copy)
            copy.outcomes = self._store.write(copy.writes)

    def _write_late(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        self._send_off(writes, self._random.choice(_STEPS))
        return {write.key: Outcome.FAILED for write in writes}

    def _write_twice(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        first = self._store.write(writes)
        copy = self._send_off(writes, self._random.choice(_STEPS))
        return self._second(copy) if self._random.random() < 0.5 else first

    def _send_off(self, writes: Sequence[Write], steps: int) -> _Copy:
        copy = _Copy(writes, self._scheduler.steps + steps)
        self._copies.append(copy)
        self._arrive()
        return copy

    def _second(self, copy: _Copy) -> Mapping[bytes, Outcome]:
        while copy.outcomes is None:
            self._scheduler.pause()
            self._arrive()
        return copy.outcomes
