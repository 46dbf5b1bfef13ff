"""When a task is to wake the worker."""

from __future__ import annotations

import random

import pytest

from gaesignals.format.wake import OVERDUE_MS, PACE_MS, Promise, promise

NOW = 1_700_000_000_000


def at(wake_ms: int, *, is_second: bool = False, is_waiting: bool = False, gather_ms: int = 0) -> Promise:
    return promise(wake_ms, is_second=is_second, is_waiting=is_waiting, gather_ms=gather_ms, now_ms=NOW)


def test_a_page_at_rest_wakes_at_once() -> None:
    for wake_ms in (0, NOW - PACE_MS, NOW):
        assert at(wake_ms) == Promise(NOW + PACE_MS, is_second=False, task_ms=NOW)


def test_the_next_message_within_a_second_asks_for_a_task_at_its_end_and_the_others_for_none() -> None:
    assert at(NOW + 600) == Promise(NOW + 600, is_second=True, task_ms=NOW + 600)
    assert at(NOW + 600, is_second=True) == Promise(NOW + 600, is_second=True)


def test_a_sender_that_died_between_page_and_task_is_made_up_for_by_the_next_one() -> None:
    died = at(0)
    assert at(died.wake_ms, is_second=died.is_second, is_waiting=True).task_ms == died.wake_ms


def test_a_page_that_is_busy_wakes_a_second_after_the_last_time() -> None:
    assert at(NOW - 300, is_second=True) == Promise(NOW + 700, is_second=True, task_ms=NOW + 700)
    assert at(NOW - 1000, is_second=True) == Promise(NOW + PACE_MS, is_second=False, task_ms=NOW)


def test_where_something_waits_its_task_is_on_its_way() -> None:
    assert at(NOW - 10_000, is_waiting=True).task_ms is None


def test_a_promise_that_was_not_kept_for_a_minute_is_made_again() -> None:
    assert at(NOW - OVERDUE_MS, is_waiting=True).task_ms == NOW


def test_a_promise_of_a_clock_that_was_wrong_is_not_waited_for() -> None:
    assert at(NOW + 10 * OVERDUE_MS, is_waiting=True).task_ms == NOW


def test_gathering_delays_the_first_task_which_takes_all_that_comes_until_then() -> None:
    first = at(0, gather_ms=2500)
    assert first == Promise(NOW + 2500, is_second=True, task_ms=NOW + 2500)
    assert at(first.wake_ms, is_second=first.is_second, gather_ms=2500).task_ms is None


@pytest.mark.parametrize("rate", [0.1, 1, 10, 100])
def test_every_message_has_a_task_after_it_and_a_busy_page_one_a_second(rate: float) -> None:
    """Tasks take everything that waits, twenty milliseconds after their time."""
    chance = random.Random(7)
    wake, second, now = 0, False, NOW
    tasks: list[int] = []
    waiting: list[int] = []
    waits: list[int] = []
    seconds = 100
    while now < NOW + seconds * 1000:
        now += max(1, round(chance.expovariate(rate) * 1000))
        for task in sorted(task for task in tasks if task + 20 <= now):
            waits += [task + 20 - sent for sent in waiting if sent <= task + 20]
            waiting = [sent for sent in waiting if sent > task + 20]
        made = promise(wake, is_second=second, is_waiting=bool(waiting), gather_ms=0, now_ms=now)
        wake, second = made.wake_ms, made.is_second
        tasks += [made.task_ms] if made.task_ms is not None else []
        waiting.append(now)
    assert all(sent <= max(tasks) for sent in waiting)
    assert max(waits) <= PACE_MS + 20
    assert len(tasks) <= min(len(waits) + len(waiting), 1.1 * seconds)
    if rate < 1:
        assert sorted(waits)[len(waits) // 2] <= 20
