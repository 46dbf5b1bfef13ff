"""What the administrator is shown, as values and as JSON in the shape that docs/operations.md promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from gaesignals.receiver import Receiver

from ..deliveries import Delivery
from ..health import Health
from ..past import Series
from ..safety import TaskCounts
from ..statistics import ReceiverStatistics
from ..version import Version


@dataclass(frozen=True, slots=True)
class NameStatus:
    """What is known of one name.

    `dead` is None where only a later version can tell. `is_at_work`: a delivery holds a lease on some of it. `due_at`
    is when the next task for it is due; None if it is not in the index.
    """

    name: str
    waiting: int
    leased: int
    retrying: int
    dead: int | None
    is_readable: bool
    is_paused: bool
    is_at_work: bool
    due_at: datetime | None
    oldest_sent_at: datetime | None
    next_retry_at: datetime | None
    receivers: tuple[str, ...]

    @property
    def busyness(self) -> int:
        return self.waiting + self.leased + self.retrying

    @property
    def waits_since(self) -> datetime | None:
        """When the oldest message was sent; where that is not known, since when no task took the name on."""
        return self.oldest_sent_at or self.due_at if self.waiting else self.oldest_sent_at

    @property
    def is_idle(self) -> bool:
        return self.is_readable and not self.busyness and self.dead == 0

    @property
    def is_unmatched(self) -> bool:
        """Whether it is listed as waiting and nobody here listens."""
        return self.due_at is not None and not self.receivers

    @property
    def has_work(self) -> bool:
        """Whether a delivery may find something to do, now or later: what others hold is theirs."""
        return bool(self.waiting or self.retrying or (self.leased and not self.is_at_work) or not self.is_readable)

    @property
    def is_drainable(self) -> bool:
        """Whether draining it may find something to do: what is paused, or nobody here listens to, is left alone."""
        return self.has_work and bool(self.receivers) and not self.is_paused

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "waiting": self.waiting if self.is_readable else None,
            "leased": self.leased if self.is_readable else None,
            "retrying": self.retrying if self.is_readable else None,
            "dead": self.dead,
            "readable": self.is_readable,
            "paused": self.is_paused,
            "due_at": iso(self.due_at),
            "oldest_sent_at": iso(self.oldest_sent_at),
            "next_retry_at": iso(self.next_retry_at),
            "receivers": list(self.receivers),
        }


# Instances tell of themselves every minute, between two rounds of ten seconds or after a handler that takes longer.
SILENT = timedelta(minutes=3)
_OF_ALL_NAMES = ("dead", "paused")


@dataclass(frozen=True, slots=True)
class AtWork:
    """A delivery that an instance is at, of so many names, the last of them `name`: how far it has come, about."""

    name: str
    names: int
    since: datetime
    done: int
    claimed: int

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "names": self.names,
            "since": iso(self.since),
            "done": self.done,
            "claimed": self.claimed,
        }


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """A process of the worker, as it told when it was `heard_at` last. `id` is that of its instance on App Engine."""

    id: str
    pid: int
    version: str
    started_at: datetime
    heard_at: datetime
    stopped_at: datetime | None = None
    works: tuple[AtWork, ...] = ()

    def is_silent(self, now: datetime) -> bool:
        """Whether nobody has heard of it for a while: it has nothing to do, is at one long message, or is gone."""
        return now - self.heard_at > SILENT

    def to_json(self, now: datetime) -> dict[str, Any]:
        return {
            "id": self.id,
            "pid": self.pid,
            "version": self.version,
            "started_at": iso(self.started_at),
            "heard_at": iso(self.heard_at),
            "silent": self.is_silent(now),
            "stopped_at": iso(self.stopped_at),
            "at_work": [work.to_json() for work in self.works],
        }


@dataclass(frozen=True, slots=True)
class Running:
    """A lease: about how many messages of a name are being delivered, by whom, and until when nobody else may.

    `holder` is None where nobody has heard of it lately, `work` where it has not told of this delivery.
    """

    name: str
    count: int
    instance: str
    expires_at: datetime
    is_takeover: bool
    holder: InstanceStatus | None = None
    work: AtWork | None = None

    def silent_since(self, now: datetime) -> datetime | None:
        """When the holder was heard of last, where that is a while ago."""
        return self.holder.heard_at if self.holder and self.holder.is_silent(now) else None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "count": self.count,
            "instance": self.instance,
            "expires_at": iso(self.expires_at),
            "is_takeover": self.is_takeover,
            "heard_at": iso(self.holder.heard_at if self.holder else None),
            "done": self.work.done if self.work else None,
            "claimed": self.work.claimed if self.work else None,
        }


@dataclass(frozen=True, slots=True)
class Names:
    """What the mailbox holds, the busiest names first. `unmatched` are those listed that no receiver listens to.

    Both match the search, and `omitted` counts those that do so and are on other pages. `read` are all that were read,
    whatever was searched for, and `unread` counts the others. `dead_count` is of all names there are, None where only a
    later version can tell.
    """

    names: tuple[NameStatus, ...] = ()
    unmatched: tuple[NameStatus, ...] = ()
    read: tuple[NameStatus, ...] = ()
    running: tuple[Running, ...] = ()
    omitted: int = 0
    unread: int = 0
    pages: int = 1
    dead_count: int | None = 0


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """A receiver and what it did in the last day, on all instances."""

    receiver: Receiver
    statistics: ReceiverStatistics

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.receiver.id,
            "name": str(self.receiver.template),
            "mode": "reliable" if self.receiver.reliable else "weak",
            "batch": self.receiver.batch,
            "max_attempts": self.receiver.max_attempts,
            "backoff_seconds": self.receiver.backoff_seconds,
            "queue": self.receiver.queue,
            **self.statistics.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All of it. `paused` are all paused names with the time of each pause, whatever was searched for.

    Where not `is_paused_known`, only a later version can tell, and these are the names that this instance knew last.
    `brought` are the durable messages that were brought back in the last day, of the name looked at or of all.
    """

    looked_at: datetime
    version: Version
    health: Health
    mailbox: Names = Names()
    paused: Mapping[str, float] = field(default_factory=dict)
    is_paused_known: bool = True
    receivers: tuple[ReceiverStatus, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    instances: tuple[InstanceStatus, ...] = ()
    series: Series = field(default_factory=Series)
    safety: TaskCounts = field(default_factory=TaskCounts)
    brought: int | None = None

    @property
    def totals(self) -> dict[str, int | None]:
        """`dead` and `paused` are of all names, the others of those that were read. For when memcache is up."""
        read = self.mailbox.read
        return {
            "waiting": sum(each.waiting for each in read),
            "leased": sum(each.leased for each in read),
            "retrying": sum(each.retrying for each in read),
            "dead": self.mailbox.dead_count,
            "unmatched": sum(each.is_unmatched for each in read),
            "paused": len(self.paused) if self.is_paused_known else None,
        }

    @property
    def left_out(self) -> list[str]:
        """The totals that only a later version can tell, which has stored what they are of."""
        return [total for total in _OF_ALL_NAMES if self.totals[total] is None]

    @property
    def silent_count(self) -> int:
        """How many leases are held by an instance that was not heard of for a while."""
        return sum(each.silent_since(self.looked_at) is not None for each in self.mailbox.running)

    @property
    def up(self) -> tuple[InstanceStatus, ...]:
        """The instances that were heard of lately and were not told to stop, the oldest first."""
        return tuple(each for each in self.instances if not (each.stopped_at or each.is_silent(self.looked_at)))

    @property
    def has_work(self) -> bool:
        """Whether draining everything may find something to do."""
        return bool(self.mailbox.unread) or any(each.is_drainable for each in self.mailbox.read)

    def _known_totals(self) -> dict[str, int | None]:
        """The totals, with None for what nobody knows while memcache is down: which names are paused is remembered."""
        is_up = self.health.is_memcache_up
        return {name: count if is_up or name == "paused" else None for name, count in self.totals.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "looked_at": iso(self.looked_at),
            "version": self.version.to_json(),
            "health": self.health.to_json(),
            "totals": self._known_totals(),
            "names": [each.to_json() for each in self.mailbox.names],
            "unmatched": [each.to_json() for each in self.mailbox.unmatched],
            "omitted": self.mailbox.omitted,
            "readable": {total: total not in self.left_out for total in _OF_ALL_NAMES},
            "paused": [{"name": name, "since": iso(at_seconds(at))} for name, at in sorted(self.paused.items())],
            "receivers": [each.to_json() for each in self.receivers],
            "running": [each.to_json() for each in self.mailbox.running],
            "deliveries": [each.to_json() for each in self.deliveries],
            "instances": [each.to_json(self.looked_at) for each in self.instances],
            "safety": {**self.safety.to_json(), "brought": self.brought},
            "history": self.series.to_json(),
        }


def iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def at_seconds(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def at_ms(ms: int) -> datetime:
    """The time of a stored number, whatever that is: one of beyond the year 9999 stands for the last there is."""
    return at_seconds(min(ms, 253_402_300_799_000) / 1000)
