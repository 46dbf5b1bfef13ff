"""Anything that senders, deliveries and people do in any order, against a model that fits on a screen."""

from __future__ import annotations

import random
from collections import Counter
from enum import Enum

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gaesignals import Message, Receivers, current_message, deliver
from gaesignals.data import codec
from gaesignals.format.entries import Record
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.index import Index
from gaesignals.testing import ManualClock, MemoryStore
from tests.simulation.scenes import small_index

MAX_ATTEMPTS = 3
NAMES = ("reliable", "batch", "weak")
names = st.sampled_from(NAMES)
sizes = st.sampled_from([1, 1, 1, 3000])


class State(Enum):
    """What the model knows of a message. `RETRYING` is waiting, too, for its time."""

    WAITING = "waiting"
    RETRYING = "retrying"
    DONE = "done"
    DEAD = "dead"
    DROPPED = "dropped"


class MailboxMachine(RuleBasedStateMachine):
    """`states` is the model: what has become of each message, by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.box = Mailbox(self.store, clock=self.clock, random=random.Random(1), sleep=lambda _: None)
        self.states: dict[str, State] = {}
        self.name_of: dict[str, str] = {}
        self.attempts: Counter[str] = Counter()
        self.ran = 0
        self.fails = False
        self.receivers = Receivers()
        options = {"reliable": True, "max_attempts": MAX_ATTEMPTS, "backoff_seconds": 10}
        self.receivers.connect("reliable", self._handle_one, id="one", **options)  # type: ignore[arg-type]
        self.receivers.connect("batch", self._handle_batch, batch=3, id="batch", **options)  # type: ignore[arg-type]
        self.receivers.connect("weak", self._handle_one, id="weak")
        self.smallness = small_index()
        self.smallness.__enter__()

    def teardown(self) -> None:
        self.fails = False
        for _ in range(3 * MAX_ATTEMPTS):
            self.clock.advance(4000)
            self._deliver(NAMES, None)
        left = {id_ for id_, state in self.states.items() if state in (State.WAITING, State.RETRYING)}
        self.smallness.__exit__(None, None, None)
        assert not left, "messages were lost"

    def _handle_one(self, data: object) -> None:
        self._see(current_message())

    def _handle_batch(self, messages: list[Message]) -> None:
        for message in messages:
            if self.fails:
                message.fail("no")
            self._see(message, is_failing_itself=False)

    def _see(self, message: Message, *, is_failing_itself: bool = True) -> None:
        id_ = message.id
        assert self.states[id_] in (State.WAITING, State.RETRYING), f"run when it was {self.states[id_]}"
        assert message.name == self.name_of[id_]
        self.attempts[id_] += 1
        assert message.attempt == self.attempts[id_]
        if not self.fails:
            self.states[id_] = State.DONE
            return
        is_last = message.attempt == MAX_ATTEMPTS
        self.states[id_] = State.DONE if message.name == "weak" else State.DEAD if is_last else State.RETRYING
        if is_failing_itself:
            raise RuntimeError("no")

    def _deliver(self, chosen: tuple[str, ...] | list[str], max_messages: int | None) -> None:
        before = Counter(self.states.values())
        report = deliver(self.receivers, names=chosen, max_messages=max_messages, mailbox=self.box)
        after = Counter(self.states.values())
        assert report.delivered + report.failed == sum(self.attempts.values()) - self.ran
        self.ran = sum(self.attempts.values())
        assert report.dead == after[State.DEAD] - before[State.DEAD]
        assert (report.lost, report.overtaken) == (0, 0)

    def _send(self, pairs: list[tuple[str, int]]) -> None:
        sent_us = int(self.clock() * 10**6)
        records = [(name, Record(self.box.new_id(), sent_us, codec.dumps("x" * size))) for name, size in pairs]
        self.box.send_records(records)
        for name, record in records:
            self.states[record.id] = State.WAITING
            self.name_of[record.id] = name

    @rule(name=names, size=sizes)
    def send(self, name: str, size: int) -> None:
        self._send([(name, size)])

    @rule(pairs=st.lists(st.tuples(names, sizes), min_size=2, max_size=12))
    def send_many(self, pairs: list[tuple[str, int]]) -> None:
        self._send(pairs)

    @rule(chosen=st.lists(names, min_size=1, unique=True), max_messages=st.sampled_from([None, None, 1, 4]))
    def deliver(self, chosen: list[str], max_messages: int | None) -> None:
        self._deliver(chosen, max_messages)
        if max_messages is None:
            waiting = {id_ for id_, state in self.states.items() if state is State.WAITING}
            assert not {id_ for id_ in waiting if self.name_of[id_] in chosen}, "not all that waited was run"

    @rule(fails=st.booleans())
    def break_or_mend_the_handlers(self, fails: bool) -> None:
        self.fails = fails

    @rule(seconds=st.sampled_from([1, 30, 400, 4000]))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def fan_out_and_settle(self) -> None:
        index = Index(self.box)
        won = index.fan_out(lambda name: True, redispatch_seconds=300).names
        self._deliver(list(won), None)
        index.settle(won)

    @rule()
    def settle_without_a_delivery(self) -> None:
        emptied = set(Index(self.box).settle(NAMES).unlisted)
        assert not emptied & self._busy()

    @rule(name=names)
    @precondition(lambda self: State.DEAD in self.states.values())
    def requeue(self, name: str) -> None:
        dead = self._dead(name)
        assert DeadLetters(self.box).requeue(name) == len(dead)
        for id_ in dead:
            self.states[id_] = State.WAITING
            self.attempts[id_] = 0
        self.ran = sum(self.attempts.values())

    @rule(name=names, data=st.data())
    @precondition(lambda self: State.DEAD in self.states.values())
    def drop(self, name: str, data: st.DataObject) -> None:
        dead = sorted(self._dead(name))
        chosen = data.draw(st.lists(st.sampled_from(dead), unique=True)) if dead else []
        assert DeadLetters(self.box).drop(name, chosen) == len(chosen)
        self.states |= dict.fromkeys(chosen, State.DROPPED)

    def _dead(self, name: str) -> set[str]:
        return {id_ for id_, state in self.states.items() if state is State.DEAD and self.name_of[id_] == name}

    def _busy(self) -> set[str]:
        return {self.name_of[id_] for id_, state in self.states.items() if state in (State.WAITING, State.RETRYING)}

    @invariant()
    def what_waits_is_in_the_index(self) -> None:
        assert self._busy() <= set(Index(self.box).entries())

    @invariant()
    def the_dead_letters_are_those_of_the_model(self) -> None:
        letters = DeadLetters(self.box)
        for name in NAMES:
            assert {letter.id for letter in letters.list(name)} == self._dead(name)


MailboxMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
TestMailbox = MailboxMachine.TestCase
