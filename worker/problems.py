"""What a person has to know before anything else, derived from a look: what is wrong, since when.

The page says the words and offers the button; here is decided what is worth saying, and how loudly.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from .queue import QueueState
from .status import NameStatus, Status, at_seconds

# Cron comes every minute and a task that got lost is made up for within five.
STUCK = timedelta(minutes=5)
# A flush or an error that is longer ago than this is history.
RECENT = timedelta(minutes=15)
# An instance that has just started has not met cron yet.
GRACE = timedelta(minutes=3)
MAX_STUCK = 3


class Level(enum.Enum):
    """`BAD`: signals are not delivered, or may be lost. `WARN`: a person should look, nothing is held up."""

    BAD = "bad"
    WARN = "warn"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of a `kind` that the page has words for. `count` is of what that kind counts."""

    kind: str
    level: Level
    since: datetime | None = None
    count: int = 0
    name: str = ""


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
        is_young = health.last_fan_out_at is None and now - status.version.started_at < GRACE
        yield Problem("no_fan_out", Level.NOTE if is_young else Level.BAD, health.last_fan_out_at)
    if health.queue in (QueueState.PAUSED, QueueState.DISABLED):
        yield Problem(f"queue_{health.queue.value}", Level.BAD)


def _of_names(status: Status) -> Iterator[Problem]:
    everything = (*status.mailbox.names, *status.mailbox.unmatched)
    stuck = sorted(_stuck(status.mailbox.names, status.looked_at), key=lambda found: found[0])
    for since, name in stuck[:MAX_STUCK]:
        yield Problem("stuck", Level.BAD, since, name.waiting + name.retrying, name.name)
    if len(stuck) > MAX_STUCK:
        yield Problem("more_stuck", Level.BAD, count=len(stuck) - MAX_STUCK)
    if unreadable := sum(not each.is_readable for each in everything):
        yield Problem("unreadable", Level.BAD, count=unreadable)
    if dead := status.mailbox.dead_count:
        yield Problem("dead", Level.WARN, count=dead)
    if unmatched := status.mailbox.unmatched:
        yield Problem("unmatched", Level.WARN, count=len(unmatched))
    if status.paused:
        yield Problem("paused", Level.NOTE, at_seconds(min(status.paused.values())), len(status.paused))


def _stuck(names: Iterable[NameStatus], now: datetime) -> Iterator[tuple[datetime, NameStatus]]:
    """The names that wait though nobody paused them, each with the time since when.

    Where the oldest message cannot be told, as in a long backlog, the name's place in the index tells: a name that is
    at work is due later.
    """
    for name in names:
        times = [name.next_retry_at] if name.retrying else []
        times += [name.oldest_sent_at or name.due_at] if name.waiting else []
        since = min((at for at in times if at), default=now)
        if not name.is_paused and now - since > STUCK:
            yield since, name


def _of_receivers(status: Status) -> Iterator[Problem]:
    for each in status.receivers:
        at = each.statistics.last_error_at
        if at and status.looked_at - at < RECENT:
            yield Problem("failing", Level.WARN, at, each.statistics.failed, each.receiver.id)
