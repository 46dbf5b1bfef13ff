"""A deterministic scheduler: participants switch at every store call, in an order drawn from a seed.

Random order alone does not find the bugs that matter here. They need one participant that is held back for a long
stretch, between its read and its write, while the others do a lot; so the order also holds participants back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from gaesignals.stores.store import Outcome, Read, Store, Write
from tests.one_thread import left_as_new

T = TypeVar("T")
A = TypeVar("A")


class Killed(GreenletExit):
    """The participant's process died. Not an Exception, so no handler of the library's can swallow it."""


@dataclass
class Participant:
    name: str
    run: Callable[[], None]
    kill_after: int | None = None
    calls: int = 0
    held_for: int = 0
    is_killed: bool = False
    thread: greenlet = field(init=False)


class Scheduler:
    """Runs participants to their end, switching between them at each store call."""

    def __init__(self, seed: int, *, hold_back: bool = True, max_steps: int = 200_000) -> None:
        self.random = random.Random(seed)
        self.steps = 0
        self._participants: list[Participant] = []
        self._hold_back = hold_back
        self._max_steps = max_steps
        self._hub = getcurrent()
        self._held: Participant | None = None

    def add(self, name: str, run: Callable[[], None], *, kill_after: int | None = None) -> Participant:
        """Add a participant; it dies at a random side of its call number `kill_after`."""
        participant = Participant(name, run, kill_after)
        participant.thread = greenlet(run, parent=self._hub)
        self._participants.append(participant)
        return participant

    def run(self) -> None:
        """Run everybody to the end. An exception of a participant's ends the run and is raised here."""
        while True:
            alive = [participant for participant in self._participants if not participant.thread.dead]
            if not alive:
                return
            self.steps += 1
            if self.steps > self._max_steps:
                raise AssertionError("the participants do not come to an end")
            self._choose(alive).thread.switch()

    def _choose(self, alive: Sequence[Participant]) -> Participant:
        if self._hold_back and self._held is None and self.random.random() < 0.05:
            self._held = self.random.choice(alive)
            self._held.held_for = self.random.choice((5, 20, 60, 200))
        if self._held is not None:
            self._held.held_for -= 1
            if self._held.held_for <= 0 or self._held.thread.dead:
                self._held = None
        free = [participant for participant in alive if participant is not self._held]
        return self.random.choice(free or list(alive))

    def pause(self) -> None:
        """Let somebody else go on. Called at each side of a store call, and by `sleep`."""
        if getcurrent() is not self._hub:
            with left_as_new():
                self._hub.switch()

    def enter_call(self) -> Participant | None:
        """Count a call of the running participant; kill it here if its time has come."""
        me = next((p for p in self._participants if p.thread is getcurrent()), None)
        if me is None:
            return None
        if me.is_killed:
            raise Killed  # A dead process's clean-up code makes no calls.
        self.pause()
        me.calls += 1
        if me.kill_after is not None and me.calls >= me.kill_after and self.random.random() < 0.5:
            self.kill(me)
        return me

    def leave_call(self, me: Participant | None) -> None:
        if me is not None and me.kill_after is not None and me.calls >= me.kill_after:
            self.kill(me)

    def kill(self, participant: Participant) -> None:
        participant.is_killed = True
        raise Killed


class SwitchingStore:
    """A store whose every call is a point where the scheduler may switch or kill.

    With `is_split` it may do so between the keys of a call, too, which are then taken in any order: a call over many
    keys is one call and not one moment. `take_time` lets the time pass that a call takes.
    """

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        *,
        is_split: bool = False,
        take_time: Callable[[], object] | None = None,
    ) -> None:
        self._store = store
        self.limits = store.limits
        self.takes_ids = getattr(store, "takes_ids", False)
        self._scheduler = scheduler
        self._is_split = is_split
        self._take_time = take_time

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        return self._call(lambda part: self._store.gets(part), list(keys))

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        return self._call(lambda part: self._store.write(part), list(writes))

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        return self._call(lambda part: self._store.delete(part), list(keys))

    def _call(self, call: Callable[[list[T]], Mapping[bytes, A]], items: list[T]) -> dict[bytes, A]:
        me = self._scheduler.enter_call()
        answer: dict[bytes, A] = {}
        if self._take_time is not None:
            self._take_time()
        for number, part in enumerate(self._parts(items)):
            if number:
                self._scheduler.pause()
            answer.update(call(part))
        self._scheduler.leave_call(me)
        return answer

    def _parts(self, items: list[T]) -> list[list[T]]:
        if not self._is_split:
            return [items]
        return [[item] for item in self._scheduler.random.sample(items, len(items))]
