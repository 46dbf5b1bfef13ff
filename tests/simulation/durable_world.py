"""A world with durable messages: memcache and queues that forget, fail and stall, and processes that die at any call.

A step is one thing that somebody does. Whatever happens in it, durable messages whose `send` returned are handled in
the end, or are dead letters.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gaesignals.data import codec
from gaesignals.delivery.deliver import deliver
from gaesignals.errors import SignalsError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.contents import Standing, contents
from gaesignals.mailbox.current import use_mailbox_everywhere
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.rescue import Answer, rescue
from gaesignals.raised import Retry
from gaesignals.receivers import Receivers
from gaesignals.sending import send_many
from gaesignals.signal import Signal
from gaesignals.stores.memory import Call, Hook, MemoryStore
from gaesignals.tasks.memory import MemoryTasks, QueuedTask
from gaesignals.tasks.queue import TaskError
from gaesignals.testing import ManualClock

SAFETY, LATER = "signals-safety", "signals-later"
NAMES = ("one", "two")
HOUR = 3600.0


class DiedError(BaseException):
    """The process is gone; nothing of ours may catch it."""


@dataclass
class DurableWorld:
    """`dies_at` is the call, counted from one, before or after which a process dies; None for no death.

    The worker's clock is `skew_seconds` ahead of that of senders and queues.
    """

    seed: int = 0
    skew_seconds: float = 0.0
    fails: float = 0.0
    clock: ManualClock = field(default_factory=ManualClock)
    handled: Counter[int] = field(default_factory=Counter)
    sent: set[int] = field(default_factory=set)
    dies_at: int | None = None
    is_after: bool = False
    calls: int = 0
    is_memcache_away: bool = False
    is_queue_away: bool = False
    has_faults: bool = False

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.number = 0
        self.store = MemoryStore(clock=self.clock)
        self.tasks = MemoryTasks(clock=self.clock)
        self.store.before, self.store.after = self._store_hook(False), self._store_hook(True)
        self.tasks.before, self.tasks.after = self._task_hook(False), self._task_hook(True)
        self.mailbox = self._mailbox(self.clock, 1)
        # The worker is another machine.
        self.worker = self._mailbox(lambda: self.clock() + self.skew_seconds, 2)
        self.receivers = Receivers()
        for name in NAMES:
            self.receivers.connect(name, self._handle, id=f"first {name}", reliable=True, max_attempts=4)
            self.receivers.connect(name, self._second, id=f"second {name}", reliable=True, max_attempts=4)

    def _mailbox(self, clock: Callable[[], float], place: int) -> Mailbox:
        # Of different ones: ids are random.
        chance = random.Random(f"{self.seed} {place}")
        return Mailbox(self.store, clock=clock, tasks=self.tasks, random=chance, sleep=lambda _: None)

    def _handle(self, number: int) -> None:
        self._maybe_fail()
        self.handled[number] += 1

    def _second(self, number: int) -> None:
        self._maybe_fail()

    def _maybe_fail(self) -> None:
        if self.chance.random() < self.fails:
            raise Retry(after_seconds=self.chance.choice([0, 30, 2000]))

    def _store_hook(self, is_after: bool) -> Hook:
        def hook(call: Call) -> Collection[bytes] | None:
            self._count(is_after)
            return call.keys if self.is_memcache_away else None

        return hook

    def _task_hook(self, is_after: bool) -> Callable[[str], None]:
        def hook(kind: str) -> None:
            self._count(is_after)
            if self.is_queue_away:
                raise TaskError("away")

        return hook

    def _count(self, is_after: bool) -> None:
        if not is_after:
            self.calls += 1
        if self.calls == self.dies_at and is_after == self.is_after:
            self.dies_at = None
            raise DiedError

    def die_at(self, call: int | None, *, is_after: bool) -> None:
        """Let a process die at the call of that number from now on."""
        self.calls, self.dies_at, self.is_after = 0, call, is_after

    def send(self, count: int = 1, *, delay_seconds: float | None = None) -> None:
        """Send durable messages, or some for later; those of a send that returned count."""
        numbers = range(self.number, self.number + count)
        self.number += count
        # What is for later is durable from then on, whatever its signal declares.
        is_durable = delay_seconds is None
        signals = [Signal(self.chance.choice(NAMES), durable=is_durable) for _ in numbers]
        try:
            with use_mailbox_everywhere(self.mailbox):
                if count == 1:
                    signals[0].send(numbers[0], delay_seconds=delay_seconds)
                else:
                    send_many(list(zip(signals, numbers, strict=True)), delay_seconds=delay_seconds)
        except SignalsError:
            return
        self.sent.update(numbers)

    def deliver(self) -> None:
        with contextlib.suppress(SignalsError):
            deliver(self.receivers, mailbox=self.worker, lease_seconds=60)

    def run_tasks(self, *, twice: bool = False) -> None:
        """Let the queues call the worker for all that is due."""
        for queue, again in ((LATER, 60.0), (SAFETY, 600.0)):
            for queued in self.tasks.due(queue):
                for _ in range(1 + twice):
                    answer = self._rescue(queued)
                if answer is Answer.DONE:
                    self.tasks.finish(queued)
                else:
                    self.tasks.try_again(queued, due=self.clock() + again)

    def _rescue(self, queued: QueuedTask) -> Answer:
        return rescue(self.worker, queued.task.body, task=queued.name, tries=queued.tries).answer

    def requeue(self) -> None:
        letters = DeadLetters(self.worker)
        with contextlib.suppress(SignalsError):
            for name in letters.names():
                letters.requeue(name)

    def change_retries(self, move: Callable[[Mailbox, str, Collection[str]], object]) -> set[int]:
        """Have a person do something with all that is to be retried; return the numbers of these messages."""
        numbers: set[int] = set()
        for name in NAMES:
            found = contents(self.worker, name, [Standing.RETRYING]).messages
            numbers |= {codec.loads(each.record.payload) for each in found}
            with contextlib.suppress(SignalsError):
                move(self.worker, name, {each.record.id for each in found})
        return numbers

    def settle(self, hours: float = 40.0) -> None:
        """No more faults: let everything come to its end."""
        self.is_memcache_away = self.is_queue_away = False
        self.dies_at, self.fails = None, 0.0
        end = self.clock() + hours * HOUR
        while self.clock() < end:
            self.run_tasks()
            self.deliver()
            self.requeue()
            if not self.tasks.waiting(SAFETY) and not self.tasks.waiting(LATER):
                return
            self.clock.advance(600)

    @property
    def lost(self) -> set[int]:
        return {number for number in self.sent if not self.handled[number]}

    @property
    def repeated(self) -> int:
        return sum(count - 1 for count in self.handled.values() if count > 1)
