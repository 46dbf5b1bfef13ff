"""What an exception means: a failure, one for good, a retry, a drop, or a group of them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gaesignals import Drop, Receivers, Retry, Signal, deliver, send_many
from gaesignals.delivery.judging import is_final, judged
from gaesignals.receiver import Receiver
from gaesignals.template import Template
from gaesignals.testing import ManualClock

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class NotFoundError(LookupError):
    pass


def receiver(**options: Any) -> Receiver:
    return Receiver("id", print, Template.parse("a"), reliable=True, **options)


def judge(error: Exception, *, is_alone: bool = True, **options: Any) -> Exception:
    return judged(error, receiver(**options), is_alone=is_alone)


def group(*errors: Exception) -> Exception:
    return ExceptionGroup("several", errors)


def test_a_group_of_retries_waits_for_the_longest_and_costs_an_attempt_if_one_does() -> None:
    retry = judge(group(Retry(5, charge=False), group(Retry(60, "busy"), Retry()), Drop()))
    assert isinstance(retry, Retry)
    assert (retry.after_seconds, str(retry), retry.charge) == (60, "busy", True)


def test_a_group_of_one_retry_or_of_drops_is_that() -> None:
    one, drop = Retry(5), Drop("stale")
    assert judge(group(group(one))) is one
    assert judge(group(drop, Drop())) is drop


@pytest.mark.parametrize("error", [ValueError(), group(Retry(), ValueError()), group(Drop(), group(ValueError()))])
def test_with_a_failure_in_it_a_group_is_a_failure(error: Exception) -> None:
    assert judge(error) is error


def test_an_exception_that_only_looks_like_a_group_is_what_it_is() -> None:
    error = ValueError()
    error.exceptions = (Retry(),)  # type: ignore[attr-defined]  # as some libraries do
    assert judge(error) is error


def test_a_type_in_drop_on_is_a_drop_and_its_subclasses_are() -> None:
    drop = judge(NotFoundError(), drop_on=(LookupError,))
    assert isinstance(drop, Drop)
    assert drop.reason == "drop_on: NotFoundError"
    assert isinstance(judge(group(NotFoundError(), KeyError()), drop_on=(LookupError,)), Drop)


def test_the_closest_type_decides() -> None:
    wide: dict[str, Any] = {"drop_on": (Exception,), "retry_on": (ConnectionError,)}
    error = ConnectionResetError()
    assert judge(error, **wide) is error
    assert not is_final(error, receiver(**wide))
    narrow: dict[str, Any] = {"retry_on": (Exception,), "drop_on": (NotFoundError,)}
    assert isinstance(judge(NotFoundError(), **narrow), Drop)


def test_a_failure_that_retry_on_leaves_out_is_final() -> None:
    one = receiver(retry_on=(ConnectionError,))
    assert is_final(ValueError(), one)
    assert is_final(group(ConnectionError(), ValueError()), one)
    assert not is_final(group(ConnectionError(), ConnectionResetError(), Retry()), one)
    assert not is_final(ValueError(), receiver())


@pytest.mark.usefixtures("mailbox")
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_they_are_counted_as_what_they_mean(clock: ManualClock, is_coroutine: bool) -> None:
    errors = {
        "retry": group(Retry(60)),
        "drop": group(Drop()),
        "gone": NotFoundError(),
        "down": ConnectionError(),
        "bug": ValueError(),
    }

    def handle(name: str) -> None:
        raise errors[name]

    async def handle_soon(name: str) -> None:
        raise errors[name]

    receivers = Receivers()
    handler = handle_soon if is_coroutine else handle
    receivers.connect("a", handler, reliable=True, retry_on=ConnectionError, drop_on=NotFoundError)
    for name in errors:
        Signal("a").send(name)
    report = deliver(receivers)
    assert (report.delivered, report.retried, report.failed, report.dead) == (2, 2, 2, 1)


@pytest.mark.usefixtures("mailbox")
def test_only_what_is_alone_is_dropped_for_its_type() -> None:
    """In a batch nobody knows which message was meant."""
    done: list[str] = []

    def handle(messages: list[Any]) -> None:
        if any(message.data == "gone" for message in messages):
            raise NotFoundError
        done.extend(message.data for message in messages)

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, batch=10, drop_on=NotFoundError)
    send_many([("a", name) for name in ("one", "gone", "two")])
    report = deliver(receivers)
    assert (report.delivered, report.failed) == (3, 0)
    assert done == ["one", "two"]
