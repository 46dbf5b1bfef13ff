"""What a person has to know before anything else, derived from a look: what is wrong, since when.

The page says the words and offers the button; here is decided what is worth saying, and how loudly.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..queue import QueueState
from .status import NameStatus, Status, at_seconds

# Cron comes every minute and a task that got lost is made up for within five; later where cron comes seldom.
STUCK = timedelta(minutes=5)
# A flush or an error that is longer ago than this is history.
RECENT = timedelta(minutes=15)
MAX_STUCK = 3


class Level(enum.Enum):
    """`BAD`: signals are not delivered, or may be lost. `WARN`: a person should look, nothing is held up."""

    BAD = "bad"
    WARN = "warn"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of a `kind` that the page has words for: `count` of what it counts, `names` that it is about."""

    kind: str
    level: Level
    since: datetime | None = None
    count: int = 0
    names: tuple[str, ...] = ()


def problems(status: Status) -> tuple[Problem, ...]:
    """Everything worth saying about a look, the worst first."""
    found = [*_of_services(status), *_of_names(status), *_of_receivers(status)]
    return tuple(sorted(found, key=lambda problem: list(Level).index(problem.level)))


def _of_services(status: Status) -> Iterator[Problem]:
    health, now = status.health, status.looked_at
    if not health.is_memcache_up:
        yield Problem("memcache_down", Level.BAD)
    if health.flushed_at and now - health.flushed_at < RECENT:
        yield Problem("flushed", Level.BAD, health.flushed_at)
    if health.is_memcache_up and health.is_fan_out_late:
        # An instance that has just started has not met cron yet.
        is_young = health.last_fan_out_at is None and now - status.version.started_at < _late_after(status)
        yield Problem("no_fan_out", Level.NOTE if is_young else Level.BAD, health.last_fan_out_at)
    if health.queue in (QueueState.PAUSED, QueueState.DISABLED):
        yield Problem(f"queue_{health.queue.value}", Level.BAD)


def _of_names(status: Status) -> Iterator[Problem]:
    read = status.mailbox.read
    patience = max(STUCK, _late_after(status))
    stuck = sorted(_stuck((each for each in read if not each.is_unmatched), status.looked_at, patience))
    for since, count, name in stuck[:MAX_STUCK]:
        yield Problem("stuck", Level.BAD, since, count, (name,))
    if len(stuck) > MAX_STUCK:
        yield Problem("more_stuck", Level.BAD, count=len(stuck) - MAX_STUCK)
    if unreadable := sum(not each.is_readable for each in read):
        yield Problem("unreadable", Level.BAD, count=unreadable)
    if status.left_out:
        yield Problem("left_out", Level.WARN)
    if dead := status.mailbox.dead_count:
        yield Problem("dead", Level.WARN, count=dead)
    if unmatched := sum(each.is_unmatched for each in read):
        yield Problem("unmatched", Level.WARN, count=unmatched)
    if status.paused:
        since = at_seconds(min(status.paused.values()))
        yield Problem("paused", Level.NOTE, since, len(status.paused), tuple(sorted(status.paused)))


def _late_after(status: Status) -> timedelta:
    return timedelta(seconds=status.health.late_after_seconds)


def _stuck(names: Iterable[NameStatus], now: datetime, patience: timedelta) -> Iterator[tuple[datetime, int, str]]:
    """Since when how many messages wait under a name that nobody paused and that no delivery is at."""
    for each in names:
        waiting = [(each.waits_since, each.waiting), (each.next_retry_at, each.retrying)]
        late = [(at, count) for at, count in waiting if at and count and now - at > patience]
        if late and not (each.is_paused or each.is_at_work):
            yield min(at for at, _ in late), sum(count for _, count in late), each.name


def _of_receivers(status: Status) -> Iterator[Problem]:
    failed = [(each.receiver.id, each.statistics.last_error_at) for each in status.receivers]
    recent = [(id_, at) for id_, at in failed if at and status.looked_at - at < RECENT]
    if recent:
        ids = tuple(dict.fromkeys(id_ for id_, _ in recent))
        yield Problem("failing", Level.WARN, max(at for _, at in recent), len(ids), ids)
