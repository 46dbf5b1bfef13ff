"""A fleet of workers in virtual time, with what it was sent and what it ran.

It is the worker's own fan-out and deliveries, over the library's own mailbox and `queue.yaml`; what is not real is the
clock, which handlers and calls to memcache move on, and the two services.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gaesignals import Message, Receivers, Signal, send_many
from gaesignals.appyaml.queues import load_queues
from gaesignals.errors import StoreError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import look
from gaesignals.mailbox.pause import Pauses
from gaesignals.observing import Observer
from gaesignals.stores.memory import MemoryStore
from worker.app import TASK_SECONDS
from worker.dispatcher import Dispatcher
from worker.pauses import KnownPauses
from worker.queue import Task
from worker.tasks import Deliverer
from worker.travel import Travel

from .services import Queue, SlowStore
from .timeline import Process, Timeline

CALL_SECONDS = 0.005
QUEUE_YAML = Path(__file__).parents[2] / "queue.yaml"
QUEUE = "signals"
REDISPATCH_SECONDS = 300.0
LEASE_SECONDS = 300.0
MINUTE = 60.0
HOUR = 3600.0
# Longer than a lease and the grace after it, a redispatch and the life of an empty page.
AFTERMATH_SECONDS = 25 * MINUTE


class HandlerError(Exception):
    """A handler that fails on purpose."""


@dataclass
class Ledger:
    """What was sent and what became of it, by the data: `begun` and `done` count runs, `done_at` is the first end's."""

    sent: list[str] = field(default_factory=list)
    begun: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    done_at: dict[str, float] = field(default_factory=dict)
    running: int = 0
    most_at_once: int = 0

    @property
    def repeats(self) -> int:
        """How many runs were begun that were not asked for: a failure asks for one more."""
        return sum(count - 1 - self.failed[key] for key, count in self.begun.items())

    @property
    def is_done(self) -> bool:
        return len(self.done) == len(self.sent)


@dataclass(slots=True)
class Instance:
    """One instance of the worker: what it keeps between tasks is its own."""

    mailbox: Mailbox
    process: Process | None = None


class Fleet:
    """Twenty workers unless `workers` says otherwise; a call to memcache takes 5 ms.

    Connect handlers, send to them while nothing runs, `start` cron, and let time pass.
    """

    def __init__(self, *, workers: int = 20, seed: int = 1, task_seconds: float = TASK_SECONDS) -> None:
        self.timeline = Timeline()
        self.memory = MemoryStore(clock=self.timeline)
        self.random = random.Random(seed)
        self.store = SlowStore(self.memory, self.timeline, CALL_SECONDS)
        self.senders = SlowStore(self.memory, self.timeline, CALL_SECONDS, self.random)
        self.receivers = Receivers()
        self.ledger = Ledger()
        self.woken_at: dict[str, float] = {}
        self.lost = 0
        self.killed = 0
        self._kill_after: int | None = None
        self._task_seconds = task_seconds
        settings = replace(load_queues(QUEUE_YAML.read_text())[QUEUE], max_concurrent_requests=workers)
        self.queue = Queue(self.timeline, settings, self._run_task)
        self._idle = deque(Instance(self.mailbox(self.store)) for _ in range(workers))
        self._busy: list[Instance] = []
        self._cron = self.mailbox(self.store)
        self._started_at = self.timeline()
        self._is_over = False

    # What a test prepares

    def mailbox(self, store: SlowStore | MemoryStore) -> Mailbox:
        """A process of its own."""
        return Mailbox(
            store,
            clock=self.timeline,
            random=random.Random(self.random.random()),
            sleep=self.timeline.sleep,
            observer=Observer(),
        )

    def connect(self, name: str, seconds: float, *, reliable: bool = True, fails: float = 0.0, **options: Any) -> None:
        """Let a handler take so many virtual seconds for each message of `name`, and fail for this share of runs."""

        def handle(data: str, **captures: str) -> None:
            self._handle(data, seconds, fails)

        def handle_batch(messages: list[Message]) -> None:
            for message in messages:
                self._handle(message.data, seconds, 0.0)

        handler: Any = handle_batch if "batch" in options else handle
        self.receivers.connect(name, handler, reliable=reliable, id=name, **options)

    def send(self, name: str, count: int, *, at_once: bool = True) -> None:
        """Send `count` messages, by one `send_many` or singly; no time passes."""
        box, keys = self.mailbox(self.memory), self._new_keys(name, count)
        with use_mailbox(box):
            if at_once:
                send_many([(name, key) for key in keys])
            for key in keys if not at_once else ():
                Signal(name).send(key)
        self.memory.calls.clear()

    def add_sender(self, name: str, count: int, *, after: float = 0.0, pause: float = 0.0) -> None:
        """Let a process of its own send `count` messages one by one, with a `pause` after each."""
        box, keys = self.mailbox(self.senders), self._new_keys(name, count)

        def run() -> None:
            with use_mailbox(box):
                for key in keys:
                    Signal(name).send(key)
                    self.timeline.sleep(pause)

        self.timeline.spawn(run, after=after)

    def add_wake(self, name: str, *, after: float) -> None:
        """Let somebody send one message of `name` then, and ask for a task that delivers it at once."""
        box, keys = self.mailbox(self.senders), self._new_keys(name, 1)

        def run() -> None:
            with use_mailbox(box):
                Signal(name).send(keys[0])
            self.woken_at[keys[0]] = self.timeline()
            self.queue.create([Task((name,))])

        self.timeline.spawn(run, after=after)

    def _new_keys(self, name: str, count: int) -> list[str]:
        keys = [f"{name}/{len(self.ledger.sent) + number}" for number in range(count)]
        self.ledger.sent += keys
        return keys

    # What happens then

    def start(self, *, minutes: int = 24 * 60) -> None:
        """Let cron call the fan-out now and every minute from then on."""
        self._started_at = self.timeline()

        def tick() -> None:
            dispatcher = self._dispatcher(Index(self._cron))
            for _ in range(minutes):
                if self._is_over:
                    return
                self.timeline.spawn(dispatcher.fan_out)
                self.timeline.sleep(MINUTE)

        self.timeline.spawn(tick)

    def kill_one_after(self, done: int) -> None:
        """Kill a worker that is at work when so many messages are done; another takes its place."""
        self._kill_after = done

    def kill_all(self, *, after: float) -> None:
        """Kill all workers that are at work then; others take their places."""
        self.timeline.spawn(lambda: [self._kill(each) for each in [*self._busy]], after=after)

    def run(self, seconds: float) -> None:
        self.timeline.run(until=self.timeline() + seconds)

    def run_until_done(self, *, within: float = 24 * HOUR) -> None:
        """Let time pass until everything sent has run."""
        self.timeline.run(until=self.timeline() + within, unless=lambda: self.ledger.is_done)
        assert self.ledger.is_done, f"{len(self.ledger.sent) - len(self.ledger.done)} messages did not run"

    @property
    def seconds_taken(self) -> float:
        """From the start to the end of the last message."""
        return max(self.ledger.done_at.values()) - self._started_at

    def waits(self, names: Collection[str]) -> list[float]:
        """How long after the start each message of `names` was done."""
        done_at = self.ledger.done_at.items()
        return [at - self._started_at for key, at in done_at if key.rpartition("/")[0] in names]

    def wake_waits(self) -> list[float]:
        """How long after its task was asked for each message of `add_wake` was done."""
        return [self.ledger.done_at[key] - at for key, at in self.woken_at.items()]

    def check(self, *, repeats: int = 0) -> None:
        """Let everything come to rest; nothing is lost, nothing ran again but `repeats` times, and nothing is left."""
        self.run(AFTERMATH_SECONDS)
        ledger = self.ledger
        assert ledger.is_done
        assert not self.lost
        assert ledger.repeats <= repeats, f"{ledger.repeats} messages ran again"
        names = {key.rpartition("/")[0] for key in ledger.sent}
        left = look(self.mailbox(self.memory), names).values()
        assert not any(status.waiting + status.leased + status.retrying for status in left)
        assert not self.listed(), "names are left in the index"

    def lasting_keys(self) -> list[bytes]:
        """The keys that do not expire."""
        return [key for key in self.memory.keys() if self.memory.ttl_seconds(key) is None]  # noqa: SIM118 - not a dict

    def listed(self) -> Sequence[str]:
        return sorted(Index(self.mailbox(self.memory)).entries())

    # The worker

    def _dispatcher(self, index: Index) -> Dispatcher:
        return Dispatcher(
            index=index,
            receivers=self.receivers,
            queue=self.queue,
            redispatch_seconds=REDISPATCH_SECONDS,
            travel=Travel(self.receivers, own=QUEUE, lease_seconds=LEASE_SECONDS),
        )

    def _run_task(self, task: Task, waited_seconds: float) -> int:
        """What `/tasks/deliver` does, on an instance that is free."""
        instance = self._idle.popleft()
        instance.process = self.timeline.current
        self._busy.append(instance)
        index = Index(instance.mailbox)
        deliverer = Deliverer(
            receivers=self.receivers,
            mailbox=instance.mailbox,
            index=index,
            dispatcher=self._dispatcher(index),
            should_stop=lambda: False,
            lease_seconds=LEASE_SECONDS,
            pauses=KnownPauses(Pauses(instance.mailbox)),
            clock=self.timeline,
        )
        try:
            shift = deliverer.run(
                task.names, seconds=self._task_seconds, siblings=task.siblings, waited_seconds=waited_seconds
            )
        except StoreError:
            return 503
        finally:
            self._busy.remove(instance)
            dead = instance.process is not None and instance.process.is_killed
            self._idle.append(Instance(self.mailbox(self.store)) if dead else instance)
        self.lost += shift.report.lost
        return 503 if shift.refused else 200

    def _handle(self, key: str, seconds: float, fails: float) -> None:
        ledger = self.ledger
        ledger.begun[key] += 1
        ledger.running += 1
        ledger.most_at_once = max(ledger.most_at_once, ledger.running)
        try:
            self.timeline.sleep(seconds)
        finally:
            ledger.running -= 1
        if fails and self.random.random() < fails:
            ledger.failed[key] += 1
            raise HandlerError(key)
        ledger.done[key] += 1
        ledger.done_at.setdefault(key, self.timeline())
        if len(ledger.done) == self._kill_after:
            self._kill_one()

    def _kill_one(self) -> None:
        self._kill_after = None
        self._kill(self.random.choice(self._busy))

    def _kill(self, instance: Instance) -> None:
        assert instance.process is not None
        self.timeline.kill(instance.process)
        self.killed += 1
