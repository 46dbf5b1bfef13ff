"""A world of signals of which only the newest counts: senders that stall, are killed and are answered wrongly.

Values are numbered as they are sent. Whatever happens, the newest one whose `send` returned is handled after it was
sent, or a newer one is: `python -m tests.simulation.latest_world SEED --count N`.
"""

from __future__ import annotations

import argparse
import functools
import logging
import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from unittest import mock

from gaesignals.data import codec
from gaesignals.delivery.deliver import deliver
from gaesignals.errors import StoreError
from gaesignals.format import page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.rescue import Answer, rescue
from gaesignals.observing import Observer
from gaesignals.receivers import Receivers
from gaesignals.stores.store import Outcome, Read, Write
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.testing import ManualClock, MemoryStore
from gaesignals.way import PLAIN, Way

from .scheduler import Scheduler, SwitchingStore

NAME = "user_54_changed"
SAFETY, LATER = "signals-safety", "signals-later"
LARGE = "x" * 3000
SKEW_SECONDS = 5.0


class OnPurposeError(Exception):
    """A handler that fails on purpose."""


class FaultyStore:
    """A store whose writes are now and then lost, carried out without an answer, twice, or late."""

    def __init__(self, store: MemoryStore, chance: random.Random, rate: float) -> None:
        self.store = store
        self.limits = store.limits
        self.rate = rate
        self._chance = chance
        self._late: list[Sequence[Write]] = []

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        self.carry_out(0.2)
        return self.store.gets(keys)

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        self.carry_out(0.2)
        failed = {write.key: Outcome.FAILED for write in writes}
        if self._chance.random() >= self.rate:
            return self.store.write(writes)
        fault = self._chance.choice(("lost", "silent", "twice", "late"))
        if fault == "late":
            self._late.append(writes)
        elif fault != "lost":
            self.store.write(writes)
        return self.store.write(writes) if fault == "twice" else failed

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        return self.store.delete(keys)

    def carry_out(self, rate: float) -> None:
        """Let late writes take effect, each with this probability."""
        for writes in [late for late in self._late if self._chance.random() < rate]:
            self._late.remove(writes)
            self.store.write(writes)


@dataclass
class Send:
    """One call of `send`: at which steps it began and returned, None if it did not."""

    number: int
    began: int
    is_latest: bool = True
    returned: int | None = None


class Counting(Observer):
    """How many messages were replaced."""

    count = 0

    def replaced(self, names: Sequence[str]) -> None:
        self.count += len(names)


class LatestWorld:
    """One run: build it, `run()` it, `recover()`, and see what is `broken`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = drawn = random.Random(f"latest {seed}")
        self.clock = ManualClock()
        self.memory = MemoryStore(clock=self.clock)
        self.tasks = MemoryTasks(clock=self.clock)
        self.scheduler = Scheduler(seed, hold_back=drawn.random() < 0.8)
        self.faulty = FaultyStore(self.memory, random.Random(f"faults {seed}"), drawn.choice((0.0, 0.05, 0.2)))
        pass_time = functools.partial(self.clock.advance, 0.01)
        self.store = SwitchingStore(self.faulty, self.scheduler, is_split=drawn.random() < 0.2, take_time=pass_time)
        self.has_skew = drawn.random() < 0.4
        self.is_durable = drawn.random() < 0.3
        self.forgets = self.is_durable and drawn.random() < 0.5
        self.full = drawn.choice((2, 3, 16))
        self.plain_rate = drawn.choice((0.0, 0.0, 0.3))
        self.failure_rate = drawn.choice((0.0, 0.3))
        self.sends: dict[int, Send] = {}
        self.handled: list[tuple[int, int]] = []
        self.observer = Counting()
        self.receivers = Receivers()
        self.receivers.connect(NAME, self._handle, id="it", reliable=True, max_attempts=2, backoff_seconds=1)
        self._boxes = 0
        self._add_participants()

    def _handle(self, data: list[object]) -> None:
        began = self.scheduler.steps
        self.scheduler.pause()
        if self.random.random() < self.failure_rate:
            raise OnPurposeError
        self.handled.append((int(str(data[0])), began))

    def box(self, *, is_switching: bool = True) -> Mailbox:
        """A process of its own, with a clock of its own where clocks differ."""
        self._boxes += 1
        ahead = self.random.uniform(-SKEW_SECONDS, SKEW_SECONDS) if self.has_skew else 0.0
        return Mailbox(
            self.store if is_switching else self.memory,
            clock=lambda: self.clock() + ahead,
            random=random.Random(f"{self.seed} {self._boxes}"),
            sleep=lambda _: self.scheduler.pause(),
            tasks=self.tasks,
            observer=self.observer,
        )

    def _add_participants(self) -> None:
        kinds: list[Callable[[Mailbox], None]] = [self._send] * self.random.randint(2, 4)
        kinds += [self._work] * self.random.randint(1, 2)
        kinds += [self._requeue] * self.random.randint(0, 1)
        kinds += [self._forget] * self.forgets
        victim = self.random.choice((None, self.random.randrange(len(kinds))))
        for number, act in enumerate(kinds):
            kill_after = self.random.randint(1, 30) if number == victim else None
            self.scheduler.add(f"{act.__name__} {number}", self._process(act), kill_after=kill_after)
        if self.random.random() < 0.3:
            self.scheduler.add("clock", self._jump)

    def _process(self, act: Callable[[Mailbox], None]) -> Callable[[], None]:
        return lambda: act(self.box())

    def _send(self, box: Mailbox) -> None:
        for _ in range(self.random.randint(1, 5)):
            way = Way(is_latest=True, is_durable=self.is_durable)
            ways = [PLAIN if self.random.random() < self.plain_rate else way]
            ways *= self.random.choice((1, 1, 1, 3))
            self.clock.advance(0.001)  # No two are sent in the same moment.
            began, first = self.scheduler.steps, len(self.sends)
            made = [Send(number, began, way.is_latest) for number, way in enumerate(ways, first)]
            self.sends |= {each.number: each for each in made}
            large = self.random.choice(("", "", LARGE))
            with suppress(StoreError):
                box.send([(NAME, codec.dumps([each.number, large])) for each in made], ways=ways)
                for each in made:
                    each.returned = self.scheduler.steps

    def _work(self, box: Mailbox) -> None:
        for _ in range(self.random.randint(2, 8)):
            self._run_tasks(box)
            with suppress(StoreError):
                most = self.random.choice((None, 1, 3))
                deliver(self.receivers, lease_seconds=60, max_messages=most, mailbox=box)

    def _requeue(self, box: Mailbox) -> None:
        letters = DeadLetters(box)
        for _ in range(8):
            self.scheduler.pause()
            with suppress(StoreError):
                for name in letters.names():
                    letters.requeue(name)

    def _forget(self, box: Mailbox) -> None:
        for _ in range(self.random.randint(5, 60)):
            self.scheduler.pause()
        self.memory.evict(list(self.memory.keys()))

    def _jump(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            for _ in range(self.random.randint(5, 60)):
                self.scheduler.pause()
            self.clock.advance(self.random.choice((1, 31, 75, 700)))

    def _run_tasks(self, box: Mailbox) -> None:
        for queue, again in ((LATER, 60.0), (SAFETY, 600.0)):
            for queued in self.tasks.due(queue):
                if rescue(box, queued.task.body, task=queued.name, tries=queued.tries).answer is Answer.DONE:
                    self.tasks.finish(queued)
                else:
                    self.tasks.try_again(queued, due=self.clock() + again)

    @contextmanager
    def _small(self) -> Iterator[None]:
        with mock.patch.object(page, "FULL_MESSAGES", self.full):
            yield

    def run(self) -> None:
        """Let everybody come to an end, or be killed."""
        with self._small():
            self.scheduler.run()

    def recover(self) -> None:
        """No more faults: let time pass, and the worker find what is left."""
        self.faulty.carry_out(1.0)
        self.failure_rate = 0.0
        box = self.box(is_switching=False)
        with self._small():
            for _ in range(60):
                self.clock.advance(2000)  # A day and a half together: a dead letter's task comes after a day.
                self._run_tasks(box)
                self._requeue_all(box)
                names = Index(box).fan_out(lambda name: True, redispatch_seconds=300).names
                for _ in range(50):
                    if deliver(self.receivers, names=names, lease_seconds=60, mailbox=box).is_idle:
                        break
                Index(box).settle(names)
                if not (self.tasks.waiting(SAFETY) or self.tasks.waiting(LATER) or Index(box).entries()):
                    return

    def _requeue_all(self, box: Mailbox) -> None:
        letters = DeadLetters(box)
        for name in letters.names():
            letters.requeue(name)

    @property
    def broken(self) -> list[str]:
        """A line for each value that was sent and never handled, nor a newer one after it was sent."""
        lines = []
        for send in self.sends.values():
            if send.returned is None or (self.forgets and not send.is_latest):
                continue
            stands_in = self._replaces if send.is_latest else Send.__eq__
            if not any(began >= send.began and stands_in(self.sends[each], send) for each, began in self.handled):
                lines.append(f"seed {self.seed}: {send} was sent and never handled")
        return lines

    def _replaces(self, other: Send, send: Send) -> bool:
        """Whether another value may be handled in place of it: itself, or one that was not sent before it."""
        if not other.is_latest:
            return False
        is_not_older = other.returned is None or other.returned > send.began if self.has_skew else False
        return other.number >= send.number or is_not_older


def run_world(seed: int) -> LatestWorld:
    """Run the world of `seed` from start to end."""
    world = LatestWorld(seed)
    world.run()
    world.recover()
    return world


def main() -> int:
    """Print a line for each value that was lost, and what all the worlds came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--count", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    sent = handled = replaced = broken = 0
    for seed in range(options.seed, options.seed + options.count):
        world = run_world(seed)
        broken += bool(world.broken)
        for line in world.broken[:1]:
            print(line, flush=True)
        sent += len(world.sends)
        handled += len(world.handled)
        replaced += world.observer.count
    print(f"{options.count} worlds: {broken} broken; {sent} sent, {handled} handled, {replaced} replaced")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
