"""Messages that can never succeed: each ends as a dead letter, alone, and its neighbours hardly notice."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gaesignals import Drop, Message, Receivers, Retry, Signal, current_message, deliver
from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.format.letter import DeadLetter
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.look import look
from gaesignals.testing import ManualClock, MemoryStore

MAX_ATTEMPTS = 3
NEIGHBOURS = [f"neighbour {number}" for number in range(99)]


class DiedError(BaseException):
    """The process is gone."""


class Shop:
    """A receiver for one message or for batches, whose handler does something bad with one of them."""

    def __init__(self, mailbox: Mailbox, clock: ManualClock, *, batch: int | None) -> None:
        self.mailbox = mailbox
        self.clock = clock
        self.begun: Counter[Any] = Counter()
        self.died: list[tuple[Message, str]] = []
        self.misbehave: Callable[[Message], None] = lambda message: None
        self.receivers = Receivers(on_dead=lambda message, error: self.died.append((message, error)))
        options = {"reliable": True, "max_attempts": MAX_ATTEMPTS, "backoff_seconds": 1, "id": "h"}
        if batch is None:
            self.receivers.connect("a", self._handle_one, **options)  # type: ignore[arg-type]
        else:
            self.receivers.connect("a", self._handle_batch, batch=batch, **options)  # type: ignore[arg-type]

    def _handle_one(self, data: Any) -> None:
        self._handle_batch([current_message()])

    def _handle_batch(self, messages: list[Message]) -> None:
        for message in messages:
            self.begun[message.data] += 1
            if message.data == "poison":
                self.misbehave(message)

    def send(self, *payloads: bytes) -> None:
        self.mailbox.send([("a", payload) for payload in payloads])

    def send_poison_among_neighbours(self) -> None:
        datas = [*NEIGHBOURS[:50], "poison", *NEIGHBOURS[50:]]
        self.send(*(codec.dumps(data) for data in datas))

    def drain(self, rounds: int = 8) -> None:
        """Deliver often enough for every attempt, and start anew where the process dies."""
        for _ in range(rounds):
            with contextlib.suppress(DiedError):
                deliver(self.receivers, mailbox=self.mailbox, lease_seconds=60)
            self.clock.advance(4000)

    def dead(self) -> list[DeadLetter]:
        status = look(self.mailbox, ["a"])["a"]
        assert (status.waiting, status.leased, status.retrying) == (0, 0, 0), "something is left"
        return DeadLetters(self.mailbox).list("a")


@pytest.fixture(params=[None, 1, 7, 100], ids=["one by one", "batches of 1", "batches of 7", "batches of 100"])
def shop(request: pytest.FixtureRequest, mailbox: Mailbox, clock: ManualClock) -> Shop:
    return Shop(mailbox, clock, batch=request.param)


def test_data_that_cannot_be_decoded_ends_as_a_dead_letter_alone(shop: Shop) -> None:
    good = [codec.dumps(data) for data in NEIGHBOURS]
    shop.send(*good[:50], b"\xff not CBOR", *good[50:])
    shop.drain()
    assert shop.begun == Counter(NEIGHBOURS)
    [letter] = shop.dead()
    assert (letter.attempt, letter.record.payload) == (MAX_ATTEMPTS, b"\xff not CBOR")
    with pytest.raises(DecodeError):
        letter.data  # noqa: B018
    [(message, error)] = shop.died
    assert (message.id, message.data) == (letter.id, None)
    assert "cannot be decoded" in error


class Color(enum.Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, value: object) -> Color:
        return cls[str(value).upper()]  # a KeyError, and no ValueError, where there is none


class OtherColor(enum.Enum):
    BLUE = "blue"


@pytest.mark.parametrize("reliable", [False, True])
def test_an_enum_that_raises_what_it_likes_fails_alone(mailbox: Mailbox, reliable: bool) -> None:
    color = Signal("paint", data_type=Color)
    with use_mailbox(mailbox):
        Signal("paint", data_type=OtherColor).send(OtherColor.BLUE)
        color.send(Color.RED)
        Signal("other").send(1)
        seen: list[object] = []
        report = deliver([(color, seen.append), ("other", seen.append)], reliable=reliable)
    assert (seen, report.delivered, report.failed) == ([Color.RED, 1], 2, 1)


def test_one_whose_handler_cancels_itself_ends_as_a_dead_letter_alone(shop: Shop) -> None:
    """`asyncio.CancelledError` is no `Exception`; in a handler that runs a loop of its own it is a failure."""

    def cancel(message: Message) -> None:
        async def work() -> None:
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task

        asyncio.run(work())

    shop.misbehave = cancel
    shop.send_poison_among_neighbours()
    shop.drain()
    [letter] = shop.dead()
    assert letter.data == "poison"
    assert "the handler was cancelled, and not by its delivery" in letter.error
    # Beside it in a batch, they are run once with it and once alone.
    assert all(1 <= shop.begun[neighbour] <= 2 for neighbour in NEIGHBOURS)


def test_one_that_always_fails_ends_as_a_dead_letter_alone(shop: Shop) -> None:
    def fail(message: Message) -> None:
        raise RuntimeError("poison")

    shop.misbehave = fail
    shop.send_poison_among_neighbours()
    shop.drain()
    [letter] = shop.dead()
    assert (letter.data, letter.attempt) == ("poison", MAX_ATTEMPTS)
    # A batch that raises is run again one by one, so those in front of the poison are begun a second time.
    assert all(shop.begun[data] <= 2 for data in NEIGHBOURS)
    assert set(NEIGHBOURS) <= set(shop.begun)


def test_one_that_its_batch_marks_every_time_ends_as_a_dead_letter_and_the_others_run_once(
    mailbox: Mailbox, clock: ManualClock
) -> None:
    shop = Shop(mailbox, clock, batch=100)
    shop.misbehave = lambda message: message.fail("bad row")
    shop.send_poison_among_neighbours()
    shop.drain()
    [letter] = shop.dead()
    assert (letter.data, letter.attempt, letter.error) == ("poison", MAX_ATTEMPTS, "bad row")
    assert {data: shop.begun[data] for data in NEIGHBOURS} == dict.fromkeys(NEIGHBOURS, 1)


def test_one_that_kills_its_process_ends_as_a_dead_letter_and_its_neighbours_run_at_most_once_more(shop: Shop) -> None:
    def die(message: Message) -> None:
        raise DiedError

    shop.misbehave = die
    shop.send_poison_among_neighbours()
    shop.drain(rounds=4 * MAX_ATTEMPTS)
    [letter] = shop.dead()
    assert (letter.data, letter.attempt) == ("poison", MAX_ATTEMPTS)
    assert "died" in letter.error
    assert all(1 <= shop.begun[data] <= 2 for data in NEIGHBOURS)


def test_one_that_outruns_its_lease_ends_as_a_dead_letter_alone(shop: Shop, store: MemoryStore) -> None:
    """While it runs, other processes take over, and it outruns their leases as well."""

    def outrun(message: Message) -> None:
        shop.clock.advance(75)
        others = Mailbox(store, clock=shop.clock, sleep=lambda _: None)
        deliver(shop.receivers, mailbox=others, lease_seconds=60)

    shop.misbehave = outrun
    shop.send_poison_among_neighbours()
    shop.drain()
    [letter] = shop.dead()
    assert (letter.data, letter.attempt) == ("poison", MAX_ATTEMPTS)
    assert all(1 <= shop.begun[data] <= 2 for data in NEIGHBOURS)


def test_one_that_asks_for_a_retry_every_time_ends_as_a_dead_letter_alone(mailbox: Mailbox, clock: ManualClock) -> None:
    def retry(message: Message) -> None:
        raise Retry(after_seconds=60, reason="not yet")

    shop = Shop(mailbox, clock, batch=None)
    shop.misbehave = retry
    shop.send_poison_among_neighbours()
    shop.drain()
    [letter] = shop.dead()
    assert (letter.data, letter.attempt, shop.begun["poison"]) == ("poison", MAX_ATTEMPTS, MAX_ATTEMPTS)


# Errors that are poison themselves


@pytest.fixture
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What xdist cannot carry from one process to another is not captured: a log with a lone surrogate."""
    caplog.set_level(logging.CRITICAL, "gaesignals")


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class SurrogateError(Exception):
    """As the name of a file gives one that is not UTF-8."""

    def __init__(self) -> None:
        super().__init__("no file \udcff")


class LongError(Exception):
    def __init__(self) -> None:
        super().__init__("€" * 2_000_000)


class DeepError(Exception):
    def __init__(self, depth: int = 1500) -> None:
        super().__init__("deep")
        self.__cause__ = LongError()
        if depth:
            self.__context__ = DeepError(0)


def recurse() -> None:
    recurse()


class BareRetry(Retry):
    """As people write exceptions: `Retry.__init__` is not called."""

    def __init__(self, order: int = 7) -> None:
        self.order = order


class EndlessRetry(Retry):
    def __init__(self, seconds: Any = float("nan")) -> None:
        super().__init__()
        self.after_seconds = seconds


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(
    "error",
    [
        *(UnspeakableError, SurrogateError, LongError, DeepError, recurse, StopIteration, BareRetry),
        *(functools.partial(EndlessRetry, seconds) for seconds in (float("nan"), float("inf"), 1e300, -1e300, "soon")),
        functools.partial(SyntaxError, "what?", ("a.py", "no line", "no column", 7)),
    ],
)
@pytest.mark.parametrize("batch", [None, 100])
def test_no_error_of_a_handler_stops_a_delivery_or_cannot_be_kept(
    mailbox: Mailbox, clock: ManualClock, error: Callable[[], Any], batch: int | None
) -> None:
    def fail(message: Message) -> None:
        raise error()

    shop = Shop(mailbox, clock, batch=batch)
    shop.misbehave = fail
    shop.send_poison_among_neighbours()
    shop.drain()
    [letter] = shop.dead()
    assert (letter.data, letter.attempt) == ("poison", MAX_ATTEMPTS)
    assert set(NEIGHBOURS) <= set(shop.begun)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(
    "reason", ["surrogate \udcff", "€" * 2_000_000, ValueError("no text"), None, UnspeakableError()]
)
def test_no_reason_that_a_message_is_marked_with_stops_a_delivery(
    mailbox: Mailbox, clock: ManualClock, reason: Any
) -> None:
    shop = Shop(mailbox, clock, batch=100)
    shop.misbehave = lambda message: message.fail(reason)
    shop.send_poison_among_neighbours()
    shop.drain()
    [letter] = shop.dead()
    assert letter.data == "poison"
    assert {data: shop.begun[data] for data in NEIGHBOURS} == dict.fromkeys(NEIGHBOURS, 1)


class BareDrop(Drop):
    def __init__(self, order: int = 7) -> None:
        self.order = order


@pytest.mark.parametrize("reliable", [True, False])
def test_a_drop_of_a_team_s_own_kind_is_done_with_the_message(mailbox: Mailbox, reliable: bool) -> None:
    def drop(data: Any) -> None:
        raise BareDrop

    mailbox.send([("a", codec.dumps(1))])
    assert deliver([("a", drop)], reliable=reliable).delivered == 1


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("error", [UnspeakableError, SurrogateError, LongError, DeepError, recurse])
def test_a_weak_failure_is_counted_whatever_the_error_says(mailbox: Mailbox, error: Callable[[], Any]) -> None:
    def fail(data: Any) -> None:
        raise error()

    mailbox.send([("a", codec.dumps(1))])
    report = deliver([("a", fail)], mailbox=mailbox)
    assert (report.failed, len(report.errors)) == (1, 1)


def test_a_namespace_that_cannot_be_set_is_a_failure_of_its_message_alone(mailbox: Mailbox, clock: ManualClock) -> None:
    """As a sender whose rules for namespaces are other ones could have stored it."""

    class Namespaces:
        def __init__(self) -> None:
            self.name = ""

        def current(self) -> str:
            return self.name

        @contextlib.contextmanager
        def using(self, namespace: str) -> Any:
            if namespace == "bad":
                raise ValueError("bad namespace")
            yield

    namespaces = Namespaces()
    mailbox.namespaces = namespaces
    shop = Shop(mailbox, clock, batch=100)
    shop.send(*(codec.dumps(data) for data in NEIGHBOURS))
    namespaces.name = "bad"
    shop.send(codec.dumps("poison"))
    shop.drain()
    [letter] = shop.dead()
    assert letter.data == "poison"
    assert set(NEIGHBOURS) == set(shop.begun)
