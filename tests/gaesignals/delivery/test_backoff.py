"""How long a message waits after a failure."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gaesignals import Receivers, Signal, deliver
from gaesignals.cloudlog import fields_of
from gaesignals.delivery.backoff import wait_seconds
from gaesignals.receiver import Backoff
from gaesignals.testing import ManualClock


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def waits(backoff: Backoff | None = None, *, backoff_seconds: float = 10, attempts: int = 4) -> list[float]:
    numbers = range(1, attempts + 1)
    return [
        wait_seconds(number, receiver="ship", backoff=backoff, backoff_seconds=backoff_seconds, random=Longest())
        for number in numbers
    ]


def test_it_doubles_up_to_an_hour_and_one_that_is_longer_stays_as_it_is() -> None:
    assert waits(attempts=10) == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    assert waits(backoff_seconds=7200) == [7200] * 4


def test_a_list_says_each_wait_and_its_last_one_all_later_ones() -> None:
    assert waits((1, 60.5)) == [1, 60.5, 60.5, 60.5]


def test_a_function_is_asked_with_the_number_of_the_attempt_that_failed() -> None:
    assert waits(lambda attempt: attempt * 3) == [3, 6, 9, 12]


@pytest.mark.parametrize("answer", [None, -1, "soon", float("nan"), 604801, True])
def test_a_function_that_fails_or_answers_no_wait_is_done_without(
    caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    assert waits(lambda attempt: answer) == waits()
    assert waits(lambda attempt: 1 // 0) == waits()
    assert {record.levelname for record in caplog.records} == {"ERROR"}


@pytest.mark.usefixtures("mailbox")
@pytest.mark.parametrize("backoff", [lambda attempt: 1 // 0, lambda attempt: -1])
def test_the_log_of_a_function_that_fails_says_whose_it_is(caplog: pytest.LogCaptureFixture, backoff: Any) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda data: 1 // 0, reliable=True, backoff=backoff, id="ship")
    Signal("a").send()
    deliver(receivers)
    (told,) = [record for record in caplog.records if "backoff" in record.message]
    assert fields_of(told) == {"signals_receiver": "ship", "signals_attempt": 1}


@pytest.mark.usefixtures("mailbox")
@pytest.mark.parametrize("backoff", [[5, 50], lambda attempt: 5 if attempt == 1 else 50])
def test_a_receiver_waits_as_it_declares(clock: ManualClock, backoff: Any) -> None:
    ran: list[float] = []

    def handle(data: object) -> None:
        ran.append(clock())
        raise ValueError

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, backoff=backoff)
    started = clock()
    Signal("a").send()
    for _ in range(56):
        deliver(receivers)
        clock.advance(1)
    assert [moment - started for moment in ran] == [0, 5, 55]
