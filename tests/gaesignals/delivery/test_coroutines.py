"""Coroutine handlers: several messages at a time, each with the rules that every handler has."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import selectors
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from google.appengine.api.namespace_manager import namespace_manager
from google.appengine.ext import testbed

from gaesignals import (
    DeliveryReport,
    Drop,
    Message,
    NoCurrentMessageError,
    Receivers,
    Retry,
    RunningLoopError,
    Signal,
    current_message,
    deliver,
    in_this_request,
    send_many,
)
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import open_mailbox, use_mailbox
from gaesignals.mailbox.look import look
from gaesignals.observing import HandlerCall, Observer, Observers
from gaesignals.testing import ManualClock

pytestmark = pytest.mark.usefixtures("mailbox", "loops")


class DiedError(BaseException):
    """The process is gone."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop on a clock that jumps to the next timer instead of waiting for it."""

    def __init__(self, clock: ManualClock) -> None:
        self._manual = clock
        super().__init__(Selector(clock))
        self._clock_resolution = 0.001  # seconds since 1970 are coarser than a monotonic clock

    def time(self) -> float:
        return self._manual()


class Selector(selectors.DefaultSelector):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._manual = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self._manual.advance(timeout)
        return ready


@pytest.fixture
def loops(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Loop]]:
    """The loops that were made; each has to be closed in the end."""
    made: list[Loop] = []

    def new_event_loop() -> Loop:
        made.append(Loop(clock))
        return made[-1]

    monkeypatch.setattr("gaesignals.delivery.coroutines.asyncio.new_event_loop", new_event_loop)
    yield made
    assert all(loop.is_closed() for loop in made)
    gc.collect()  # what was left to itself ends here, and not in somebody else's test


class Desk:
    """A coroutine handler that keeps what it was given, and how many of its calls were under way at most."""

    def __init__(self, work: Callable[[Any], Any] = lambda data: asyncio.sleep(1)) -> None:
        self.seen: list[Any] = []
        self.done: list[Any] = []
        self.running = self.most = 0
        self._work = work

    async def __call__(self, data: Any) -> None:
        self.seen.append(data)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._work(data)
        finally:
            self.running -= 1
        self.done.append(data)


class Watcher(Observer):
    def __init__(self) -> None:
        self.calls: list[HandlerCall] = []

    def handled(self, call: HandlerCall) -> None:
        self.calls.append(call)


async def fail(error: BaseException) -> None:
    await asyncio.sleep(1)
    raise error


def send(count: int, name: str = "a") -> None:
    send_many([(name, number) for number in range(count)])


def delivered(desk: Any, **options: Any) -> DeliveryReport:
    receivers = Receivers()
    receivers.connect("a", desk, id="desk", **options)
    return deliver(receivers, lease_seconds=60)


# Awaited, several at a time


@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize(("concurrency", "most"), [(None, 10), (3, 3), (1, 1), (100, 45)])
def test_every_message_is_handled_once_as_many_at_a_time_as_allowed(
    reliable: bool, concurrency: int | None, most: int
) -> None:
    desk = Desk()
    send(45)
    report = delivered(desk, reliable=reliable, concurrency=concurrency)
    assert (report.delivered, sorted(desk.done), desk.most) == (45, list(range(45)), most)
    assert delivered(desk, reliable=reliable).is_idle


def test_a_slow_message_does_not_hold_up_the_next_ones(clock: ManualClock) -> None:
    desk = Desk(lambda data: asyncio.sleep(25 if data == 0 else 1))
    send(80)
    started = clock()
    assert delivered(desk).delivered == 80
    assert desk.done[-1] == 0
    assert clock() - started < 27


def test_one_loop_serves_a_delivery_whatever_it_runs(loops: list[Loop]) -> None:
    receivers = Receivers()
    for name in ("a", "b"):
        receivers.connect(name, Desk(), id="desk", concurrency=2)
        send(50, name)
    assert deliver(receivers).delivered == 100
    assert len(loops) == 1


def test_without_coroutine_handlers_there_is_no_loop(loops: list[Loop]) -> None:
    send(3)
    deliver([("a", lambda data: None)])
    assert loops == []


class Office:
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    async def method(self, data: Any) -> None:
        await asyncio.sleep(1)
        self.seen.append(data)

    async def __call__(self, data: Any) -> None:
        await self.method(data)


async def prefixed(seen: list[Any], data: Any) -> None:
    await Office(seen).method(data)


def disguised(office: Office) -> Callable[[Any], Any]:
    """What a decorator makes that knows nothing of coroutines."""

    @functools.wraps(office.method)
    def wrapper(data: Any) -> Any:
        return office.method(data)

    return wrapper


@pytest.mark.parametrize(
    "handler",
    [
        lambda seen: Office(seen).method,
        Office,
        lambda seen: functools.partial(prefixed, seen),
        lambda seen: disguised(Office(seen)),
        lambda seen: lambda data: prefixed(seen, data),
    ],
    ids=["a method", "a callable", "a partial", "a function in disguise", "a lambda"],
)
def test_whatever_gives_a_coroutine_is_awaited(handler: Callable[[list[Any]], Any]) -> None:
    seen: list[Any] = []
    send(3)
    assert delivered(handler(seen), reliable=True).delivered == 3
    assert sorted(seen) == [0, 1, 2]


def test_pairs_and_patterns_take_coroutine_handlers() -> None:
    seen: list[Any] = []
    receivers = Receivers()

    @receivers.receiver("user_{user_id}_x")
    async def note(data: Any, *, user_id: str) -> None:
        await asyncio.sleep(1)
        seen.append((data, user_id))

    send_many([("user_5_x", 1), ("b", 2)])
    deliver(receivers, names=["user_5_x"])
    deliver([("b", Office(seen))])
    assert seen == [(1, "5"), 2]


def test_a_batch_is_awaited_as_a_whole() -> None:
    sizes: list[int] = []

    async def count(messages: list[Message]) -> None:
        await asyncio.sleep(1)
        sizes.append(len(messages))
        messages[0].fail("bad row")

    send(5)
    report = delivered(count, batch=2, reliable=True)
    assert (sizes, report.delivered, report.retried) == ([2, 2, 1], 2, 3)


def test_a_batch_that_raises_is_run_again_one_by_one() -> None:
    done: list[Any] = []

    async def count(messages: list[Message]) -> None:
        await asyncio.sleep(1)
        if any(message.data == 2 for message in messages):
            raise ValueError("poison")
        done.extend(message.data for message in messages)

    send(5)
    report = delivered(count, batch=5, reliable=True)
    assert (sorted(done), report.delivered, report.retried) == ([0, 1, 3, 4], 4, 1)


# The rules of every handler


def test_one_that_fails_touches_no_other(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(lambda data: fail(ValueError("no")) if data % 2 else asyncio.sleep(2))
    send(20)
    report = delivered(desk, reliable=True)
    assert (report.delivered, report.failed, report.retried) == (10, 10, 10)
    assert {failure.error for failure in report.errors} == {"ValueError: no"}
    assert sorted(desk.done) == list(range(0, 20, 2))


def test_retry_drop_and_marks_are_each_messages_own(clock: ManualClock) -> None:
    async def work(data: int) -> None:
        await asyncio.sleep(10 - data)
        if data == 0:
            raise Retry(after_seconds=600)
        if data == 1:
            raise Drop("stale")
        if data == 2:
            current_message().fail("bad")

    send(5)
    report = delivered(Desk(work), reliable=True)
    assert (report.delivered, report.retried, report.failed) == (3, 2, 1)


def test_each_task_knows_its_own_message_and_namespace(mailbox: Mailbox) -> None:
    seen: list[tuple[Any, ...]] = []

    async def look_around(data: int) -> None:
        for _ in range(3):
            await asyncio.sleep(data % 4)
            message = current_message()
            seen.append((data, message.data, f"tenant{data % 3}", message.namespace, mailbox.namespaces.current()))

    for number in range(12):
        with mailbox.namespaces.using(f"tenant{number % 3}"):
            Signal("a").send(number)
    assert delivered(look_around).delivered == 12
    assert len(seen) == 36
    assert all(data == current and wanted == sent_from == set_ for data, current, wanted, sent_from, set_ in seen)
    assert mailbox.namespaces.current() == ""
    with pytest.raises(NoCurrentMessageError):
        current_message()


def test_on_app_engine_each_task_has_its_senders_namespace() -> None:
    bed = testbed.Testbed()
    bed.activate()
    try:
        bed.init_memcache_stub()
        seen: list[tuple[int, str]] = []

        async def look_around(data: int) -> None:
            await asyncio.sleep(data % 4)
            seen.append((data % 3, namespace_manager.get_namespace()))

        with use_mailbox(open_mailbox()):
            for number in range(12):
                namespace_manager.set_namespace(f"tenant{number % 3}")
                Signal("a").send(number)
            namespace_manager.set_namespace("")
            assert delivered(look_around).delivered == 12
        assert Counter(seen) == Counter({(tenant, f"tenant{tenant}"): 4 for tenant in range(3)})
        assert namespace_manager.get_namespace() == ""
    finally:
        bed.deactivate()


def test_a_handler_may_send(mailbox: Mailbox) -> None:
    seen: list[Any] = []
    send(3)
    delivered(lambda data: pass_on(data), concurrency=None)
    deliver([("b", seen.append)])
    assert sorted(seen) == [0, 1, 2]


async def pass_on(data: Any) -> None:
    await asyncio.sleep(1)
    Signal("b").send(data)


def test_the_observer_is_told_of_each_call_and_how_long_it_took_itself(mailbox: Mailbox) -> None:
    watcher = Watcher()
    mailbox.observer = Observers([watcher])
    desk = Desk(lambda data: fail(ValueError("no")) if data == 3 else asyncio.sleep(data))
    send(5)
    delivered(desk)
    assert [(round(call.seconds), call.count, call.failed) for call in watcher.calls] == [
        (0, 1, 0),
        (1, 1, 0),
        (1, 1, 1),
        (2, 1, 0),
        (4, 1, 0),
    ]


def test_a_weak_receiver_beside_a_reliable_one_sees_the_first_attempt_only(clock: ManualClock) -> None:
    weak, reliable = Desk(), Desk(lambda data: fail(ValueError("no")) if len(reliable.seen) < 3 else asyncio.sleep(1))
    receivers = Receivers()
    receivers.connect("a", weak, id="weak")
    receivers.connect("a", reliable, reliable=True, id="reliable")
    Signal("a").send(1)
    for _ in range(5):
        deliver(receivers)
        clock.advance(4000)
    assert (weak.seen, reliable.seen) == ([1], [1, 1, 1])


# Time and leases


@pytest.mark.parametrize("reliable", [False, True])
def test_nothing_more_is_begun_once_time_is_up_and_what_was_not_goes_back(reliable: bool) -> None:
    desk = Desk(lambda data: asyncio.sleep(3))
    receivers = Receivers()
    receivers.connect("a", desk, id="desk", concurrency=4, reliable=reliable)
    send(50)
    report = deliver(receivers, max_seconds=5)
    assert (report.delivered, report.remaining, len(desk.seen)) == (8, 42, 8)
    assert deliver(receivers).delivered == 42
    assert Counter(desk.done) == Counter(range(50))


def test_one_that_blocks_is_the_last_to_begin_when_time_is_up(clock: ManualClock) -> None:
    async def block(data: Any) -> None:
        clock.advance(10)

    send(20)
    receivers = Receivers()
    receivers.connect("a", block, id="block")
    report = deliver(receivers, max_seconds=5)
    assert (report.delivered, report.remaining) == (1, 19)


def test_should_stop_is_asked_before_each_message() -> None:
    desk = Desk()
    send(20)
    receivers = Receivers()
    receivers.connect("a", desk, id="desk", concurrency=2)
    report = deliver(receivers, should_stop=lambda: len(desk.seen) >= 6)
    assert (report.delivered, report.remaining) == (6, 14)


def test_max_messages_bounds_what_is_begun() -> None:
    desk = Desk()
    send(20)
    receivers = Receivers()
    receivers.connect("a", desk, id="desk", concurrency=4)
    assert deliver(receivers, max_messages=6).delivered == 6
    assert len(desk.seen) == 6


def test_leases_are_renewed_while_messages_are_run(mailbox: Mailbox) -> None:
    """300 seconds of work on leases of 60."""
    desk = Desk(lambda data: asyncio.sleep(20))
    send(30)
    report = delivered(desk, reliable=True, concurrency=2)
    assert (report.delivered, report.overtaken) == (30, 0)
    assert look(mailbox, ["a"])["a"].leased == 0


def test_a_stale_holder_begins_nothing_more_and_changes_nothing(clock: ManualClock) -> None:
    second = Desk()

    async def first(data: Any) -> None:
        await asyncio.sleep(1)
        if data == 1:
            clock.advance(400)
            with ThreadPoolExecutor(1) as others:
                others.submit(copy_context().run, deliver, [("a", second)], reliable=True).result()

    desk = Desk(first)
    send(10)
    report = delivered(desk, reliable=True, concurrency=3)
    assert sorted(desk.seen) == [0, 1, 2]
    assert sorted(second.done) == list(range(10))
    assert (report.delivered, report.overtaken) == (0, 10)


def test_one_that_hangs_is_cancelled_in_its_lease_and_has_failed_alone(clock: ManualClock, mailbox: Mailbox) -> None:
    desk = Desk(lambda data: asyncio.sleep(10**9 if data == 1 else 1))
    send(15)
    started = clock()
    report = delivered(desk, reliable=True)
    assert 45 <= clock() - started < 50
    assert (report.delivered, report.failed, report.retried, report.overtaken) == (14, 1, 1, 0)
    assert (
        "TimeoutError: the handler did not finish within three quarters of its lease, 45 seconds"
        in report.errors[0].error
    )
    assert look(mailbox, ["a"])["a"].leased == 0


def test_one_that_ends_well_when_it_is_cancelled_has_succeeded() -> None:
    async def work(data: Any) -> None:
        try:
            await asyncio.sleep(10**9)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    send(1)
    assert delivered(Desk(work), reliable=True).delivered == 1


def test_one_that_will_not_be_cancelled_is_left_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def cling(data: Any) -> None:
        while True:
            try:
                await asyncio.sleep(10**9)
            except asyncio.CancelledError:
                continue

    send(1)
    assert delivered(Desk(cling), reliable=True).retried == 1
    assert "a handler that was cancelled goes on; it is left to itself" in caplog.messages


def test_one_that_cancels_itself_has_failed() -> None:
    desk = Desk(lambda data: fail(asyncio.CancelledError()) if data == 0 else asyncio.sleep(2))
    send(2)
    report = delivered(desk, reliable=True)
    assert (report.delivered, report.retried) == (1, 1)
    assert "was cancelled" in report.errors[0].error


def test_what_a_handler_left_running_ends_with_the_delivery() -> None:
    ended: list[str] = []
    tasks: set[Any] = set()

    async def linger() -> None:
        try:
            await asyncio.sleep(10**9)
        finally:
            ended.append("cancelled")

    async def start(data: Any) -> None:
        tasks.add(asyncio.create_task(linger()))
        await asyncio.sleep(1)

    send(1)
    assert delivered(start).delivered == 1
    assert ended == ["cancelled"]


# Processes that die


def test_a_takeover_runs_one_at_a_time(clock: ManualClock) -> None:
    send(10)
    with pytest.raises(DiedError):
        delivered(Desk(lambda data: fail(DiedError())), reliable=True)
    clock.advance(4000)
    desk = Desk()
    assert delivered(desk, reliable=True).delivered == 10
    assert (desk.most, sorted(desk.done)) == (1, list(range(10)))


@pytest.mark.parametrize("error", [DiedError, KeyboardInterrupt, SystemExit])
def test_a_weak_delivery_that_is_stopped_sends_back_what_was_not_begun(error: type[BaseException]) -> None:
    desk = Desk(lambda data: fail(error()) if data == 7 else asyncio.sleep(3))
    send(50)
    with pytest.raises(error):
        delivered(desk, concurrency=5)
    begun = list(desk.seen)
    assert len(begun) < 20
    after = Desk()
    delivered(after)
    assert sorted(begun + after.done) == list(range(50))


# Inside a running loop


def test_inside_a_running_loop_it_says_what_to_do_and_claims_nothing() -> None:
    desk = Desk()
    send(3)

    async def request() -> None:
        with pytest.raises(RunningLoopError, match=r"await asyncio.to_thread\(.*in_this_request\(deliver\)"):
            delivered(desk)

    asyncio.run(request())
    assert desk.seen == []
    assert delivered(desk).delivered == 3


def test_inside_a_running_loop_an_on_dead_that_would_have_to_be_awaited_is_refused_before_anything_is_claimed() -> None:
    kept: list[Any] = []

    async def keep(message: Message, error: str) -> None:
        kept.append(message.data)

    async def request() -> None:
        with pytest.raises(RunningLoopError):
            deliver(receivers)

    receivers = Receivers(on_dead=keep)
    receivers.connect("a", lambda data: 1 // 0, reliable=True, max_attempts=1)
    send(1)
    asyncio.run(request())
    assert deliver(receivers).dead == 1
    assert len(kept) == 1


def test_inside_a_running_loop_the_advice_works(mailbox: Mailbox) -> None:
    desk = Desk(lambda data: asyncio.sleep(0))
    send(3)

    async def request() -> DeliveryReport:
        return await asyncio.to_thread(in_this_request(deliver), [("a", desk)])

    assert asyncio.run(request()).delivered == 3


def test_inside_a_running_loop_plain_handlers_run_as_ever() -> None:
    seen: list[Any] = []
    send(3)

    async def request() -> None:
        deliver([("a", seen.append)])

    asyncio.run(request())
    assert sorted(seen) == [0, 1, 2]


def test_inside_a_running_loop_a_coroutine_in_disguise_has_failed_and_was_not_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    seen: list[Any] = []
    send(1)

    async def request() -> DeliveryReport:
        return delivered(disguised(Office(seen)), reliable=True)

    report = asyncio.run(request())
    assert (report.retried, seen) == (1, [])
    assert "RunningLoopError" in report.errors[0].error


def test_a_stale_holder_of_a_lease_that_it_took_over_begins_no_coroutine(clock: ManualClock) -> None:
    """The handler of another receiver has used up the lease."""

    def die(data: Any) -> None:
        raise KeyboardInterrupt

    send(1)
    with pytest.raises(KeyboardInterrupt):
        deliver([("a", die)], reliable=True, lease_seconds=60)
    clock.advance(400)
    desk = Desk()
    receivers = Receivers()
    receivers.connect("a", lambda data: clock.advance(400), reliable=True, id="slow")
    receivers.connect("a", desk, reliable=True, concurrency=3, id="desk")
    assert deliver(receivers, lease_seconds=60).delivered == 0
    assert desk.seen == []
