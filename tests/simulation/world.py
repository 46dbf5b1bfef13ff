"""A world of senders, deliveries and fan-outs over one store, drawn from a seed, and the check of what it promised.

A run is replayed by its seed: `python -m tests.simulation 12345`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from unittest import mock

from gaesignals.data import codec
from gaesignals.delivery.deliver import deliver
from gaesignals.errors import SendError, StoreError
from gaesignals.format import keys, page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.discard import discard
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.index import fan_out as pending
from gaesignals.mailbox.look import look
from gaesignals.receivers import Receivers
from gaesignals.stores.store import Set
from gaesignals.testing import ManualClock, MemoryStore

from .network import Network
from .scheduler import Scheduler, SwitchingStore

RELIABLE, WEAK, MIXED, ASYNC = "reliable", "weak", "mixed", "async"
# Which of a name's receivers has to have run.
RECEIVERS = {RELIABLE: "one", MIXED: "batch", ASYNC: "coroutine"}
LEASE_SECONDS = 60.0
LONG_LEASE_SECONDS = 3600.0
# What may take part besides senders, deliveries and workers.
OPTIONS = ("discards", "requeues", "forgets", "doubles")
MAX_ROUNDS = 60
SLOTS = 2


class HandlerError(Exception):
    """A handler that fails on purpose."""


@dataclass
class Ledger:
    """What was sent and what was handled.

    `acknowledged` are those whose send returned; `refused` those of which it said that none is stored, and `unsure`
    those of which it said that some may be.
    """

    started: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    handled: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    running: dict[str, str] = field(default_factory=dict)


class World:
    """One run: build it, `run()` it, `recover()`, `check()`."""

    def __init__(
        self,
        seed: int,
        *,
        kills: bool | None = None,
        jumps: bool | None = None,
        discards: bool = False,
        requeues: bool = False,
        forgets: bool = False,
        doubles: bool = False,
    ) -> None:
        self.seed = seed
        self.random = random.Random(f"world {seed}")
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock, takes_ids=random.Random(f"ids {seed}").random() < 0.5)
        self.scheduler = Scheduler(seed, hold_back=self.random.random() < 0.8)
        self.is_split = self.random.random() < 0.3
        # A worker's tick is seven calls: it does not fit into a second, which is what a send may take unnoticed.
        take_time = functools.partial(self.clock.advance, 0.2) if self.is_split else None
        self.ledger = Ledger()
        self.kills = self.random.random() < 0.6 if kills is None else kills
        self.jumps = self.random.random() < 0.3 if jumps is None else jumps
        if self.is_split or discards:
            self.jumps = False  # No call takes minutes from its first key to its last, and no discarding does.
        self.lease_seconds = LEASE_SECONDS if self.jumps else LONG_LEASE_SECONDS
        self.failure_rate = self.random.choice((0.0, 0.0, 0.2, 0.5))
        self.requeues = requeues
        self.max_attempts = 1000
        if requeues:
            self.max_attempts, self.failure_rate = 1, self.random.choice((0.5, 0.8))
        self.full_entries = self.random.choice((2, 3, 16))
        self.names = self.random.choice(
            ((RELIABLE,), (WEAK,), (ASYNC,), (RELIABLE, WEAK), (RELIABLE, MIXED, WEAK), (RELIABLE, ASYNC))
        )
        self.doubles = doubles
        self.network = Network(self.store, self.scheduler, seed)
        store = self.network if doubles else self.store
        self.switching = SwitchingStore(store, self.scheduler, is_split=self.is_split, take_time=take_time)
        self.receivers = self._receivers()
        self._mailboxes = 0
        self._closing = False
        self.discards = discards
        self.forgets = forgets
        self.lost = 0
        self.width = self.random.choice((1, 1, 1, 2, 4))
        self._widen()
        self._add_participants()

    def _widen(self) -> None:
        """Some names are hot already, so that few senders are enough to use lanes."""
        if self.width > 1:
            homes = {
                name: page.Page(f"epoch of {name}", width=self.width, hot_ms=int(self.clock() * 1000))
                for name in self.names
            }
            self.store.write([Set(keys.page_key(name), home.to_bytes()) for name, home in homes.items()])

    def mailbox(self, *, is_switching: bool = True) -> Mailbox:
        """A process of its own: its own randomness, lanes and memory of what it emptied."""
        self._mailboxes += 1
        box = Mailbox(
            self.switching if is_switching else self.store,
            clock=self.clock,
            random=random.Random(f"{self.seed} {self._mailboxes}"),
            sleep=lambda _: self.scheduler.pause(),
        )
        for name in self.names:
            box.lanes.keep(name, self.random.randrange(self.width), box.now_ms())
        return box

    def _receivers(self) -> Receivers:
        # A letter that is pushed out to make room would look like one that is lost.
        receivers = Receivers(max_dead_letters=1000)
        reliably = functools.partial(
            receivers.connect, reliable=True, max_attempts=self.max_attempts, backoff_seconds=1
        )
        reliably(RELIABLE, self._handler("one"), id="one")
        receivers.connect(WEAK, self._handler("weak"), id="weak")
        reliably(MIXED, self._batch_handler("batch"), id="batch", batch=4)
        receivers.connect(MIXED, self._handler("beside"), id="beside")
        reliably(ASYNC, self._coroutine_handler("coroutine"), id="coroutine", concurrency=3)
        return receivers

    def _handler(self, receiver: str) -> Callable[[object], None]:
        def handle(data: object) -> None:
            self._handle(receiver, str(data))

        return handle

    def _batch_handler(self, receiver: str) -> Callable[..., None]:
        def handle(messages: list[object]) -> None:
            for message in messages:
                try:
                    self._handle(receiver, str(message.data))  # type: ignore[attr-defined]
                except HandlerError:
                    message.fail("on purpose")  # type: ignore[attr-defined]

        return handle

    def _coroutine_handler(self, receiver: str) -> Callable[[object], Awaitable[None]]:
        async def handle(data: object) -> None:
            await asyncio.sleep(0)
            self._handle(receiver, str(data))
            await asyncio.sleep(0)

        return handle

    def _handle(self, receiver: str, key: str) -> None:
        key = f"{receiver}/{key[:40].rstrip()}"
        self.scheduler.pause()
        if not self._closing and self.random.random() < self.failure_rate:
            self.ledger.failed[key] += 1
            raise HandlerError(key)
        self.ledger.handled[key] += 1

    # Participants

    def _add_participants(self) -> None:
        kinds: list[tuple[str, Callable[[Mailbox], None]]] = []
        kinds += [("sender", self._send)] * self.random.randint(1, 3)
        kinds += [("bulk sender", self._send_many)] * self.random.randint(0, 1)
        kinds += [("delivery", self._deliver)] * self.random.randint(0, 2)
        kinds += [("worker", self._work)] * self.random.randint(0, 2)
        victim = self.random.randrange(len(kinds)) if self.kills else None
        for number, (name, run) in enumerate(kinds):
            kill_after = self.random.randint(1, 40) if number == victim else None
            self.scheduler.add(f"{name} {number}", self._process(number, run), kill_after=kill_after)
        if self.jumps:
            self.scheduler.add("clock", self._jump)
        if self.discards:
            self.scheduler.add("administrator", self._process(len(kinds), self._discard))
        if self.forgets:
            self.scheduler.add("memcache", self._forget)
        if self.requeues:
            for number in range(2):
                self.scheduler.add(f"requeuer {number}", self._process(len(kinds) + number, self._requeue))
                self.scheduler.add(
                    f"eager delivery {number}", self._process(len(kinds) + number, self._deliver_eagerly)
                )

    def _process(self, number: int, run: Callable[[Mailbox], None]) -> Callable[[], None]:
        def process() -> None:
            # Where no write fails, no call may; and what fails for one is no end for the others.
            with contextlib.suppress(StoreError) if self.doubles else contextlib.nullcontext():
                run(self.mailbox())

        return process

    def _pairs(self, box: Mailbox, count: int) -> Iterator[tuple[str, str, bytes]]:
        for _ in range(count):
            name = self.random.choice(self.names)
            key = f"{name}/{box.random.getrandbits(64):016x}"
            size = self.random.choice((0, 0, 0, 0, 3000, 90_000))
            yield name, key, codec.dumps(key.ljust(40) + "x" * size)

    def _send(self, box: Mailbox) -> None:
        for name, key, payload in self._pairs(box, self.random.randint(3, 12)):
            with self._sending([key]):
                box.send([(name, payload)])

    @contextlib.contextmanager
    def _sending(self, sent: Collection[str]) -> Iterator[None]:
        self.ledger.started.update(sent)
        try:
            yield
        except SendError as error:
            if not self.doubles:
                raise
            (self.ledger.refused if len(error.failed) == len(sent) else self.ledger.unsure).update(sent)
        else:
            self.ledger.acknowledged.update(sent)

    def _send_many(self, box: Mailbox) -> None:
        for _ in range(self.random.randint(1, 3)):
            pairs = list(self._pairs(box, self.random.randint(2, 30)))
            with self._sending([key for _, key, _ in pairs]):
                box.send([(name, payload) for name, _, payload in pairs])

    def _deliver(self, box: Mailbox) -> None:
        for _ in range(self.random.randint(2, 8)):
            report = deliver(
                self.receivers,
                lease_seconds=self.lease_seconds,
                max_messages=self.random.choice((None, None, 1, 5)),
                max_seconds=self.random.choice((None, None, 0.1, 2)),
                mailbox=box,
            )
            self.lost += report.lost
            if self.random.random() < 0.5:
                self.clock.advance(11)  # So that no name counts as just listed.
                Index(box).settle(self.names)

    def _work(self, box: Mailbox) -> None:
        for _ in range(self.random.randint(2, 6)):
            self._drain(box)

    def _discard(self, box: Mailbox) -> None:
        for _ in range(self.random.randint(1, 4)):
            discard(box, self.names)
            for _ in range(self.random.randint(0, 20)):
                self.scheduler.pause()

    def _requeue(self, box: Mailbox) -> None:
        letters = DeadLetters(box)
        for _ in range(15):
            for name in letters.names():
                letters.requeue(name)
            self.scheduler.pause()

    def _deliver_eagerly(self, box: Mailbox) -> None:
        for _ in range(20):
            self.clock.advance(0.001)  # No letter is like an earlier one.
            deliver(self.receivers, lease_seconds=self.lease_seconds, mailbox=box)

    def _drain(self, box: Mailbox) -> bool:
        """What the worker does on one tick of cron; whether there was anything in the index."""
        index = Index(box)
        found = index.fan_out(lambda name: bool(self.receivers.matching(name)), redispatch_seconds=300)
        if not found.names:
            return False
        for _ in range(200):
            report = deliver(self.receivers, names=found.names, lease_seconds=self.lease_seconds, mailbox=box)
            self.lost += report.lost
            if report.is_idle:
                break
        index.settle(found.names)
        return True

    def _jump(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            for _ in range(self.random.randint(5, 60)):
                self.scheduler.pause()
            self.network.arrive()  # No write is on its way for minutes.
            self.clock.advance(self.random.choice((1, 31, 61, 75, 400)))

    def _forget(self) -> None:
        for _ in range(self.random.randint(1, 6)):
            for _ in range(self.random.randint(0, 40)):
                self.scheduler.pause()
            keys_there = sorted(self.store.keys())
            how_many = self.random.choice((1, 1, 1, len(keys_there) // 2, len(keys_there)))
            self.store.evict(self.random.sample(keys_there, min(how_many, len(keys_there))))

    # The run and what has to hold of it

    def run(self) -> None:
        """Let everybody come to an end, or be killed."""
        with self._small():
            self.scheduler.run()
        self.network.arrive()

    def recover(self) -> None:
        """Let time pass and the worker's fan-out alone find what is left."""
        self._closing = True
        box = self.mailbox(is_switching=False)
        index = Index(box)
        with self._small():
            for _ in range(MAX_ROUNDS):
                self.clock.advance(400)
                self._drain(box)
                if not any(self._is_left(name) for name in index.entries()):
                    return

    def send_later(self) -> None:
        """Send one more message on every lane that a name has a page for, and let it be found.

        Lanes whose home page is forgotten are found by what is sent on them.
        """
        self.ledger.acknowledged.clear()
        box = self.mailbox(is_switching=False)
        with self._small():
            for name, lane in itertools.product(self.names, range(page.MAX_WIDTH)):
                if lane and self.store.raw(keys.page_key(name, lane)) is None:
                    continue
                key = f"{name}/later on {lane}"
                box.lanes.keep(name, lane, box.now_ms())
                self.ledger.started.add(key)
                box.send([(name, codec.dumps(key))])
                self.ledger.acknowledged.add(key)
        self.recover()

    def _is_left(self, name: str) -> bool:
        """Whether a listed name has anything in its mailbox; a widened one stays listed without."""
        status = look(self.mailbox(is_switching=False), [name])[name]
        return status.width == 1 or bool(status.waiting + status.leased + status.retrying)

    @contextlib.contextmanager
    def _small(self) -> Iterator[None]:
        """Few messages fill a page, and names share slots: what goes wrong does so sooner.

        A writer may be held back for longer than real ones are, while more write a page than it keeps the marks of.
        """
        with (
            mock.patch.object(page, "MAX_MARKS", 1000 if self.doubles else page.MAX_MARKS),
            mock.patch.object(page, "FULL_MESSAGES", self.full_entries),
            mock.patch.object(keys, "SLOTS", SLOTS),
            mock.patch.object(pending, "SLOTS", SLOTS),
        ):
            yield

    def check(self) -> None:
        """Nothing acknowledged is lost, nothing is handled that was not sent, weak messages run at most once.

        Where somebody discards, messages may be gone; what is delivered then is whole all the same. Where memcache
        forgets, so may all that was sent before `send_later`.
        """
        ledger, errors = self.ledger, []
        dead = self._dead()
        if self.discards and self.lost and not self._gives_up_weak:
            errors.append(f"{self.lost} messages that waited were deleted")
        for key in ledger.acknowledged if not self.discards else ():
            name = key.split("/")[0]
            if name != WEAK and not ledger.handled[f"{RECEIVERS[name]}/{key}"] and key not in dead:
                errors.append(f"lost: {key}")
        errors += [f"phantom: {key}" for key in ledger.handled if key.split("/", 1)[1] not in ledger.started]
        errors += [f"not stored and handled: {key}" for key in ledger.handled if key.split("/", 1)[1] in ledger.refused]
        weak = Counter(
            {key: n for key, n in (ledger.handled + ledger.failed).items() if key.startswith(("weak/", "beside/"))}
        )
        errors += [f"weak ran {count} times: {key}" for key, count in weak.items() if count > 1]
        if not (self.kills or self.jumps or self.discards or self.requeues or self.forgets or self.doubles):
            errors += [f"repeated: {key}" for key, count in ledger.handled.items() if count > 1]
            errors += [
                f"weak and lost: {key}"
                for key in ledger.acknowledged
                if key.startswith(WEAK) and not weak[f"weak/{key}"]
            ]
        with self._small():
            errors += self._check_store()
        if errors:
            options = "".join(f" --with {option}" for option in OPTIONS if getattr(self, option))
            raise AssertionError(f"seed {self.seed}{options}: " + "; ".join(errors[:10]))

    @property
    def _gives_up_weak(self) -> bool:
        """Whether what a weak delivery has no time for, and sends again, may count as lost: its sending may fail."""
        return self.doubles and WEAK in self.names

    def _dead(self) -> set[str]:
        """What is a dead letter, found as a person finds it: by the names that the index of dead letters has."""
        letters = DeadLetters(self.mailbox(is_switching=False))
        return {str(letter.data)[:40].rstrip() for name in letters.names() for letter in letters.list(name)}

    def _check_store(self) -> Iterator[str]:
        """Everything drained: no name listed, every page empty but for widened ones."""
        listed = Index(self.mailbox(is_switching=False)).entries()
        widened = set()
        # A sender that dies before its slot leaves a message that it never acknowledged, unlisted; as does one that
        # gave up because its writes failed, and whose page was written late.
        is_given_up = self.kills or self.ledger.unsure or (self._gives_up_weak and self.lost)
        for key in self.store.keys():  # noqa: SIM118 - not a dict
            raw = self.store.raw(key)
            if key.startswith(b"gs:p:") and raw is not None:
                seen = page.Page.from_bytes(raw)
                if seen.width > 1:
                    widened.add(key.split(b":", 3)[3].decode())
                elif (seen.leases or seen.retries or seen.is_waiting) and not is_given_up:
                    yield f"left in {key!r}"
        yield from (f"still listed: {name}" for name in listed if name not in widened)


def run_world(seed: int, **options: bool) -> World:
    """Run the world of `seed` from start to check; raises `AssertionError` where a promise is broken."""
    world = World(seed, **options)
    with contextlib.suppress(StoreError):
        world.run()
    world.recover()
    if world.forgets:
        world.send_later()
    world.check()
    return world
