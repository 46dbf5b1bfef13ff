"""What is around a call of a handler, and what becomes of its messages, whatever is raised."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import pytest

from gaesignals import Drop, Message, Receivers, Retry, Signal, SignalsMiddleware, current_message, deliver, send_many
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.observing import HandlerCall, Observer, Observers
from gaesignals.testing import ManualClock

pytestmark = pytest.mark.usefixtures("mailbox")

Handlers = Callable[[Callable[[Any], object]], Callable[[Any], object]]


def plain(work: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda data: work(data) and None


def coroutine(work: Callable[[Any], object]) -> Callable[[Any], object]:
    async def handle(data: Any) -> None:
        await asyncio.sleep(0)
        work(data)

    return handle


KINDS = pytest.mark.parametrize("kind", [plain, coroutine])
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


# Context variables


@KINDS
def test_what_a_handler_sets_in_a_context_variable_is_gone_for_the_next_message(kind: Handlers) -> None:
    seen: list[tuple[str, str]] = []

    def handle(user: str) -> None:
        seen.append((user, tenant.get()))
        tenant.set(user)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(("the request", tenant.get()))
        return []

    for user in ("alice", "bob"):
        Signal("a").send(user)
    SignalsMiddleware(app, [("a", kind(handle))])({"PATH_INFO": "/"}, None)
    assert [was for _, was in seen] == ["nobody"] * 3


def test_what_a_batch_sets_is_gone_for_the_next_batch() -> None:
    seen: list[str] = []

    def handle(messages: list[Message]) -> None:
        seen.append(tenant.get())
        tenant.set(messages[0].data)

    receivers = Receivers()
    receivers.connect("a", handle, batch=2)
    send_many([("a", str(number)) for number in range(4)])
    deliver(receivers)
    assert seen == ["nobody"] * 2


# Around


@KINDS
def test_around_is_entered_for_each_message_and_sees_what_its_handler_raises(kind: Handlers) -> None:
    said: list[object] = []

    @contextmanager
    def around() -> Iterator[None]:
        said.append(current_message().data)
        try:
            yield
        except ValueError as error:
            said.append(repr(error))
            raise
        finally:
            said.append("left")

    def handle(data: str) -> None:
        said.append(f"handled {data}")
        if data == "bad":
            raise ValueError("no")

    receivers = Receivers(around=around)
    receivers.connect("a", kind(handle), reliable=True, **({"concurrency": 1} if kind is coroutine else {}))
    for data in ("good", "bad"):
        Signal("a").send(data)
    report = deliver(receivers)
    assert said == ["good", "handled good", "left", "bad", "handled bad", "ValueError('no')", "left"]
    assert (report.delivered, report.failed, report.retried) == (1, 1, 1)


@KINDS
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no"), "a handler failed"),
        (Retry(60), "a handler asked for a retry"),
        (Drop("stale"), "a handler dropped messages"),
    ],
)
def test_what_became_of_a_message_is_logged_inside_around(
    caplog: pytest.LogCaptureFixture, kind: Handlers, error: Exception, line: str
) -> None:
    caplog.set_level(logging.INFO, logger="gaesignals")
    logged: list[list[str]] = []

    @contextmanager
    def around() -> Iterator[None]:
        with suppress(Exception):
            yield
        logged.append([record.message for record in caplog.records])

    def handle(data: object) -> None:
        raise error

    receivers = Receivers(around=around)
    receivers.connect("a", kind(handle), reliable=True)
    Signal("a").send()
    report = deliver(receivers)
    assert [line in lines for lines in logged] == [True]
    # Though it swallowed what the handler raised.
    assert (report.delivered, report.retried) == ((1, 0) if isinstance(error, Drop) else (0, 1))


@KINDS
@pytest.mark.parametrize("when", ["made", "entered", "left"])
def test_an_around_that_fails_has_its_message_fail_and_no_other(kind: Handlers, when: str) -> None:
    handled: list[object] = []

    class Block:
        def __init__(self) -> None:
            self.fail_if("made")

        def fail_if(self, now: str) -> None:
            if when == now and current_message().data == "bad":
                raise ConnectionError("no database")

        def __enter__(self) -> None:
            self.fail_if("entered")

        def __exit__(self, *error: object) -> None:
            self.fail_if("left")

    receivers = Receivers(around=Block)
    receivers.connect("a", kind(handled.append), reliable=True)
    for data in ("good", "bad", "good"):
        Signal("a").send(data)
    report = deliver(receivers)
    assert (report.delivered, report.failed, report.retried) == (2, 1, 1)
    assert [failure.error for failure in report.errors] == ["ConnectionError: no database"]
    assert handled == ["good", "good"] if when != "left" else ["good", "bad", "good"]


def test_what_fails_around_a_handler_that_had_failed_is_logged_and_is_not_what_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @contextmanager
    def around() -> Iterator[None]:
        try:
            yield
        finally:
            raise ConnectionError("no database")

    def handle(data: object) -> None:
        raise ValueError("the cause")

    receivers = Receivers(around=around)
    receivers.connect("a", handle, reliable=True)
    Signal("a").send()
    assert [failure.error for failure in deliver(receivers).errors] == ["ValueError: the cause"]
    assert "what is around a handler failed, too" in caplog.messages


def test_a_batch_has_one_block_around_it_and_so_has_each_of_its_messages_when_it_failed() -> None:
    entered: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        entered.append("block")
        yield

    def handle(messages: list[Message]) -> None:
        entered.append(f"{len(messages)} messages")
        if len(messages) > 1:
            raise ValueError

    receivers = Receivers(around=around)
    receivers.connect("a", handle, reliable=True, batch=10)
    send_many([("a", number) for number in range(2)])
    assert deliver(receivers).delivered == 2
    assert entered == ["block", "2 messages", "block", "1 messages", "block", "1 messages"]


# How failures are logged


@KINDS
def test_a_failure_that_is_tried_again_is_a_warning_and_the_last_one_an_error(
    caplog: pytest.LogCaptureFixture, clock: ManualClock, kind: Handlers
) -> None:
    def handle(data: object) -> None:
        raise ValueError

    receivers = Receivers()
    receivers.connect("a", kind(handle), reliable=True, max_attempts=3)
    Signal("a").send()
    for _ in range(3):
        deliver(receivers)
        clock.advance(4000)
    assert [record.levelname for record in caplog.records if record.message == "a handler failed"] == [
        "WARNING",
        "WARNING",
        "ERROR",
    ]


def test_a_weak_failure_and_a_final_one_are_errors(caplog: pytest.LogCaptureFixture) -> None:
    def handle(data: object) -> None:
        raise ValueError

    receivers = Receivers()
    receivers.connect("a", handle, id="weak")
    receivers.connect("b", handle, reliable=True, retry_on=ConnectionError, id="final")
    send_many([("a", 1), ("b", 1)])
    deliver(receivers)
    assert [r.levelname for r in caplog.records if r.message == "a handler failed"] == ["ERROR", "ERROR"]


@KINDS
def test_a_client_of_an_earlier_loop_leads_to_the_page_that_helps(kind: Handlers) -> None:
    def handle(data: object) -> None:
        raise RuntimeError("Event loop is closed")

    Signal("a").send()
    [failure] = deliver([("a", kind(handle))]).errors
    assert failure.error == "RuntimeError: Event loop is closed (see docs/receivers.md, One client a loop)"


@KINDS
def test_an_exception_that_holds_the_body_of_an_answer_is_reported_in_short(kind: Handlers, mailbox: Mailbox) -> None:
    told: list[str] = []

    class Watch(Observer):
        def handled(self, call: HandlerCall) -> None:
            told.append(call.error)

    mailbox.observer = Observers([Watch()])

    def handle(data: str) -> None:
        if data == "fail":
            current_message().fail("<html>" * 800_000)
        else:
            raise (Retry(reason="<html>" * 800_000) if data == "retry" else RuntimeError("<html>" * 800_000))

    receivers = Receivers()
    receivers.connect("a", kind(handle), reliable=True, id="a")
    send_many([("a", "fail"), ("a", "retry"), ("a", "raise")])
    report = deliver(receivers)
    assert [len(failure.error) < 1600 for failure in report.errors] == [True] * len(report.errors)
    assert max(map(len, told)) < 1600
    assert any(error.startswith("RuntimeError: <html>") and error.endswith("...") for error in told)


@KINDS
def test_a_traceback_begins_where_the_application_does(
    caplog: pytest.LogCaptureFixture, mailbox: Mailbox, kind: Handlers
) -> None:
    def handle(data: object) -> None:
        raise ValueError("here")

    receivers = Receivers()
    receivers.connect("a", kind(handle), reliable=True, max_attempts=1)
    Signal("a").send()
    deliver(receivers)
    [letter] = DeadLetters(mailbox).list("a")
    [said] = [record.exc_text for record in caplog.records if record.message == "a handler failed"]
    for text in (letter.error, said or ""):
        first = next(line for line in text.splitlines() if line.startswith("  File"))
        assert "test_calling.py" in first
        assert "ValueError: here" in text


# Retries of batches


def test_a_retry_that_a_batch_handler_raises_means_the_batch(clock: ManualClock) -> None:
    calls: list[int] = []

    def export(messages: list[Message]) -> None:
        calls.append(len(messages))
        if len(calls) == 1:
            raise Retry(after_seconds=600, reason="429")

    receivers = Receivers()
    receivers.connect("a", export, reliable=True, batch=100)
    send_many([("a", number) for number in range(100)])
    report = deliver(receivers)
    assert (calls, report.retried, report.failed) == ([100], 100, 0)
    clock.advance(599)
    assert deliver(receivers).is_idle
    clock.advance(1)
    assert deliver(receivers).delivered == 100
    assert calls == [100, 100]


def test_those_of_a_batch_that_have_their_last_attempt_get_it_alone(clock: ManualClock, mailbox: Mailbox) -> None:
    """So that a poison message that asks for a retry never takes its neighbours along."""
    calls: list[list[str]] = []

    def export(messages: list[Message]) -> None:
        calls.append([message.data for message in messages])
        if any(message.data == "poison" for message in messages):
            raise Retry(1)

    receivers = Receivers()
    receivers.connect("a", export, reliable=True, batch=10, max_attempts=2)
    send_many([("a", data) for data in ("good", "poison", "fine")])
    deliver(receivers)
    clock.advance(1)
    report = deliver(receivers)
    assert (report.delivered, report.dead) == (2, 1)
    assert [letter.data for letter in DeadLetters(mailbox).list("a")] == ["poison"]
    assert [len(call) for call in calls] == [3, 3, 1, 1, 1]


def test_a_message_can_be_marked_to_be_run_again_beside_one_that_failed(clock: ManualClock) -> None:
    seen: list[list[str]] = []

    def handle(messages: list[Message]) -> None:
        seen.append([message.data for message in messages])
        for message in messages:
            if message.data == "later" and message.attempt == 1:
                message.retry(after_seconds=100, reason="not yet")
            if message.data == "bad" and message.attempt == 1:
                message.fail("no")

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, batch=10, backoff_seconds=0)
    send_many([("a", data) for data in ("good", "later", "bad")])
    report = deliver(receivers)
    assert (report.delivered, report.failed, report.retried) == (1, 1, 2)
    assert deliver(receivers).delivered == 1
    clock.advance(100)
    assert deliver(receivers).delivered == 1
    assert seen == [["good", "later", "bad"], ["bad"], ["later"]]


def test_of_several_marks_the_first_counts_and_a_retry_keeps_those_that_were_made_before() -> None:
    def handle(messages: list[Message]) -> None:
        messages[0].fail("no")
        messages[0].retry(5)
        messages[1].retry(5)
        raise Retry(60)

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, batch=10)
    send_many([("a", number) for number in range(3)])
    report = deliver(receivers)
    assert (report.failed, report.retried) == (1, 3)


def test_a_mark_to_run_again_is_a_failure_of_a_weak_receiver_which_has_one_attempt() -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: messages[0].retry(5), batch=10)
    Signal("a").send()
    report = deliver(receivers)
    assert (report.failed, report.retried, report.delivered) == (1, 0, 0)


@KINDS
def test_a_retry_without_a_charge_costs_no_attempt(clock: ManualClock, kind: Handlers) -> None:
    attempts: list[int] = []

    def handle(data: object) -> None:
        attempts.append(current_message().attempt)
        if len(attempts) < 5:
            raise Retry(after_seconds=60, charge=False)

    receivers = Receivers()
    receivers.connect("a", kind(handle), reliable=True, max_attempts=1)
    Signal("a").send()
    for _ in range(4):
        report = deliver(receivers)
        assert (report.retried, report.dead, report.failed) == (1, 0, 0)
        clock.advance(60)
    assert deliver(receivers).delivered == 1
    assert attempts == [1] * 5


# Age


@KINDS
def test_what_is_too_old_for_a_receiver_is_not_run_and_counted(clock: ManualClock, kind: Handlers) -> None:
    handled: list[tuple[str, object]] = []
    receivers = Receivers()
    receivers.connect("a", kind(lambda data: handled.append(("young", data))), max_age_seconds=60, id="young")
    receivers.connect("a", lambda data: handled.append(("any", data)), id="any")
    receivers.connect("b", kind(handled.append), max_age_seconds=60, id="b")
    Signal("a").send("old")
    Signal("b").send("old")
    clock.advance(61)
    Signal("a").send("new")
    report = deliver(receivers)
    assert (report.delivered, report.expired, report.failed, report.lost) == (2, 2, 0, 0)
    assert sorted(handled) == [("any", "new"), ("any", "old"), ("young", "new")]
    assert deliver(receivers).is_idle


def test_a_batch_is_called_without_what_is_too_old_and_not_at_all_if_nothing_is_left(clock: ManualClock) -> None:
    batches: list[list[object]] = []
    receivers = Receivers()
    receivers.connect("a", lambda messages: batches.append([m.data for m in messages]), batch=10, max_age_seconds=60)
    send_many([("a", 1), ("a", 2)])
    clock.advance(61)
    Signal("a").send(3)
    assert deliver(receivers).expired == 2
    Signal("a").send(4)
    clock.advance(61)
    assert deliver(receivers).expired == 1
    assert batches == [[3]]


def test_a_retry_that_is_too_old_has_expired_and_is_not_dead(clock: ManualClock, mailbox: Mailbox) -> None:
    def handle(data: object) -> None:
        raise ValueError

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, max_attempts=2, backoff=[100], max_age_seconds=60)
    Signal("a").send()
    assert deliver(receivers).retried == 1
    clock.advance(100)
    report = deliver(receivers)
    assert (report.expired, report.dead, report.delivered) == (1, 0, 0)
    assert deliver(receivers).is_idle
    assert not DeadLetters(mailbox).list("a")


def test_the_age_of_a_requeued_message_counts_from_then(clock: ManualClock, mailbox: Mailbox) -> None:
    handled: list[object] = []
    is_down = True

    def handle(data: object) -> None:
        if is_down:
            raise ValueError
        handled.append(data)

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, max_attempts=1, max_age_seconds=60)
    Signal("a").send(7)
    assert deliver(receivers).dead == 1
    is_down = False
    clock.advance(3600)
    DeadLetters(mailbox).requeue("a")
    clock.advance(59)
    assert deliver(receivers).delivered == 1
    assert handled == [7]
