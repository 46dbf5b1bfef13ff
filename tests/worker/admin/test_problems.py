"""What the page says first: since when something waits, and when that is worth waking somebody."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from worker.admin.problems import Level, Problem, problems
from worker.admin.status import Names, NameStatus, Status
from worker.health import Health
from worker.queue import QueueState
from worker.version import Version

NOW = datetime(2026, 1, 1, 3, 0, tzinfo=timezone.utc)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


IDLE = NameStatus(
    name="order_paid",
    waiting=0,
    leased=0,
    retrying=0,
    dead=0,
    is_readable=True,
    is_paused=False,
    is_at_work=False,
    due_at=None,
    oldest_sent_at=None,
    next_retry_at=None,
    receivers=("shop.ship",),
)
WELL = Health(last_fan_out_at=ago(0.5), last_fan_out_age_seconds=30.0, queue=QueueState.RUNNING)


def found(*names: NameStatus, health: Health = WELL, started_minutes_ago: float = 60) -> list[tuple[str, Level]]:
    return [(problem.kind, problem.level) for problem in told(*names, health=health, minutes=started_minutes_ago)]


def told(*names: NameStatus, health: Health = WELL, minutes: float = 60) -> tuple[Problem, ...]:
    version = Version("0.1.0", "worker", "", "", ago(minutes))
    return problems(Status(looked_at=NOW, version=version, health=health, mailbox=Names(names=names, read=names)))


@pytest.mark.parametrize(
    ("state", "count"),
    [
        ({"waiting": 3, "oldest_sent_at": ago(6)}, 3),
        ({"waiting": 3, "oldest_sent_at": ago(4)}, None),
        # Where the oldest message is not known: no task has taken the name on for so long.
        ({"waiting": 3, "due_at": ago(6)}, 3),
        ({"waiting": 3, "due_at": ago(-4)}, None),
        ({"retrying": 2, "next_retry_at": ago(6)}, 2),
        ({"retrying": 2, "next_retry_at": ago(-60)}, None),
        ({"waiting": 3, "oldest_sent_at": ago(1), "retrying": 2, "next_retry_at": ago(6)}, 2),
        ({"waiting": 3, "oldest_sent_at": ago(6), "is_paused": True}, None),
        ({"leased": 3, "oldest_sent_at": ago(6)}, None),
        ({"waiting": 3, "leased": 2, "is_at_work": True, "oldest_sent_at": ago(6)}, None),
        ({"waiting": 3, "leased": 2, "oldest_sent_at": ago(6)}, 3),
    ],
)
def test_a_name_is_stuck_that_has_waited_for_five_minutes(state: dict[str, Any], count: int | None) -> None:
    name = replace(IDLE, **state)
    expected = [] if count is None else [Problem("stuck", Level.BAD, ago(6), count, ("order_paid",))]
    assert list(told(name)) == expected


def test_the_names_that_wait_longest_are_told_and_the_others_counted() -> None:
    stuck = [replace(IDLE, name=f"n{minutes}", waiting=1, oldest_sent_at=ago(minutes)) for minutes in (6, 9, 7, 8, 10)]
    assert [problem.names for problem in told(*stuck)] == [("n10",), ("n9",), ("n8",), ()]
    assert (told(*stuck)[-1].kind, told(*stuck)[-1].count) == ("more_stuck", 2)


@pytest.mark.parametrize(
    ("minutes", "since", "expected"),
    [
        (60, 2.9, []),
        (60, 3.1, [("no_fan_out", Level.BAD)]),
        (60, None, [("no_fan_out", Level.BAD)]),
        (1, None, [("no_fan_out", Level.NOTE)]),
        (1, 3.1, [("no_fan_out", Level.BAD)]),
    ],
)
def test_cron_is_missed_after_three_minutes_but_for_an_instance_that_is_younger(
    minutes: float, since: float | None, expected: list[tuple[str, Level]]
) -> None:
    late = replace(
        WELL,
        last_fan_out_at=None if since is None else ago(since),
        last_fan_out_age_seconds=None if since is None else since * 60,
    )
    assert found(health=late, started_minutes_ago=minutes) == expected


@pytest.mark.parametrize(("minutes", "expected"), [(29, []), (31, [("stuck", Level.BAD)])])
def test_where_cron_comes_seldom_a_name_waits_for_three_of_its_runs(
    minutes: float, expected: list[tuple[str, Level]]
) -> None:
    seldom = replace(WELL, cron_seconds=600, last_fan_out_at=ago(9), last_fan_out_age_seconds=540)
    name = replace(IDLE, waiting=1, oldest_sent_at=ago(minutes))
    assert found(name, health=seldom) == expected
    assert found(
        health=replace(seldom, last_fan_out_at=None, last_fan_out_age_seconds=None), started_minutes_ago=20
    ) == [("no_fan_out", Level.NOTE)]


@pytest.mark.parametrize(("minutes", "is_told"), [(0, True), (14, True), (16, False)])
def test_a_flush_is_told_for_a_quarter_of_an_hour(minutes: float, is_told: bool) -> None:
    assert found(health=replace(WELL, flushed_at=ago(minutes))) == ([("flushed", Level.BAD)] if is_told else [])


@pytest.mark.parametrize("state", [QueueState.PAUSED, QueueState.DISABLED])
def test_a_queue_that_gives_no_tasks_is_bad(state: QueueState) -> None:
    assert found(health=replace(WELL, queue=state)) == [(f"queue_{state.value}", Level.BAD)]


def test_that_the_queue_cannot_be_asked_is_no_problem() -> None:
    assert found(health=replace(WELL, queue=QueueState.UNKNOWN)) == []


def test_memcache_that_is_down_explains_that_no_fan_out_is_known() -> None:
    health = Health(is_memcache_up=False, queue=QueueState.RUNNING)
    assert found(health=health) == [("memcache_down", Level.BAD)]
