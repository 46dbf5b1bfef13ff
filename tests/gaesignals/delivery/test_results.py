"""What a handler returns is run, if it is work that is still to be done, or its message has failed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from gaesignals import Message, Receivers, Signal, deliver
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters

pytestmark = pytest.mark.usefixtures("mailbox")

ran: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def generator(data: Any) -> Iterator[None]:
    ran.append(data)
    yield


async def asynchronous_generator(data: Any) -> AsyncIterator[None]:
    ran.append(data)
    yield


async def coroutine(data: Any) -> None:
    await asyncio.sleep(0)
    ran.append(data)


async def forgetful(data: Any) -> Any:
    return coroutine(data)


class Later:
    """Awaitable, and no coroutine."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        ran.append(self.data)


async def soon(data: Any) -> Any:
    return Later(data)


class Office:
    def __call__(self, data: Any) -> Iterator[None]:
        ran.append(data)
        yield


@pytest.mark.parametrize("handler", [wrapped(coroutine), forgetful, soon, Later, lambda data: Later(data)])
@pytest.mark.parametrize("is_reliable", [False, True])
def test_work_that_a_handler_returns_is_done(handler: Any, is_reliable: bool) -> None:
    receivers = Receivers()
    receivers.connect("a", handler, reliable=is_reliable)
    Signal("a").send(7)
    assert deliver(receivers).delivered == 1
    assert ran == [7]


def test_what_it_raises_is_a_failure() -> None:
    async def handle(data: Any) -> None:
        raise LookupError("lost")

    Signal("a").send(7)
    assert [failure.error for failure in deliver([("a", wrapped(handle))]).errors] == ["LookupError: lost"]


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (wrapped(generator), "generator"),
        (lambda data: generator(data), "generator"),
        (functools.partial(Office()), "generator"),
        (wrapped(asynchronous_generator), "async_generator"),
        (lambda data: map(ran.append, [data]), "map"),
        (lambda data: concurrent.futures.Future(), "Future"),
    ],
)
def test_what_nobody_would_run_is_a_failure_that_says_so(handler: Any, kind: str) -> None:
    receivers = Receivers()
    receivers.connect("a", handler, reliable=True, id="mine")
    Signal("a").send(7)
    report = deliver(receivers)
    assert (report.delivered, report.retried) == (0, 1)
    [failure] = report.errors
    assert failure.receiver == "mine"
    assert failure.error.startswith(f"TypeError: what it returned is a {kind}, which nobody runs")
    assert ran == []


@pytest.mark.parametrize("result", [7, [1], iter([1]), "text", print, object()])
def test_any_other_result_means_nothing(result: Any) -> None:
    Signal("a").send()
    assert deliver([("a", lambda data: result)]).delivered == 1


@pytest.mark.parametrize("kind", [lambda keep: keep, wrapped])
def test_an_on_dead_that_is_a_coroutine_function_is_awaited(mailbox: Mailbox, kind: Any) -> None:
    async def keep(message: Message, error: str) -> None:
        await asyncio.sleep(0)
        ran.append((message.data, "ZeroDivisionError" in error))

    receivers = Receivers(on_dead=kind(keep))
    receivers.connect("a", lambda data: 1 // 0, reliable=True, max_attempts=1)
    Signal("a").send(7)
    assert deliver(receivers).dead == 1
    assert ran == [(7, True)]


def test_an_on_dead_that_returns_what_nobody_runs_has_failed(
    mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    receivers = Receivers(on_dead=lambda message, error: generator(message))
    receivers.connect("a", lambda data: 1 // 0, reliable=True, max_attempts=1)
    Signal("a").send(7)
    assert deliver(receivers).dead == 1
    assert "on_dead failed" in caplog.messages
    assert len(DeadLetters(mailbox).list("a")) == 1
