"""What the mailbox holds, for the administrator: read when asked, and as true as a cache that changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from gaesignals.deadletter import DeadLetters
from gaesignals.delivery import waiting_names
from gaesignals.inspection import MailboxStatus, look
from gaesignals.mailbox import Mailbox
from gaesignals.pending import Pending
from gaesignals.receiver import Receiver
from gaesignals.receivers import Receivers

# One call to memcache reads the pages of this many names.
MAX_NAMES = 1000


@dataclass(frozen=True, slots=True)
class NameStatus:
    """What is known of one name. `due_at` is when the next task for it is due; None if it is not in the index."""

    name: str
    waiting: int
    leased: int
    retrying: int
    dead: int
    is_readable: bool
    due_at: datetime | None
    oldest_sent_at: datetime | None
    next_retry_at: datetime | None
    receivers: tuple[str, ...]

    @property
    def busyness(self) -> int:
        return self.waiting + self.leased + self.retrying

    @property
    def is_idle(self) -> bool:
        return self.is_readable and not (self.busyness or self.dead)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "waiting": self.waiting,
            "leased": self.leased,
            "retrying": self.retrying,
            "dead": self.dead,
            "readable": self.is_readable,
            "due_at": _iso(self.due_at),
            "oldest_sent_at": _iso(self.oldest_sent_at),
            "next_retry_at": _iso(self.next_retry_at),
            "receivers": list(self.receivers),
        }


@dataclass(frozen=True, slots=True)
class Status:
    """All of it, the busiest names first. `unmatched` are the names in the index that no receiver listens to.

    `omitted` counts the names that were not looked at because there are too many.
    """

    names: tuple[NameStatus, ...] = ()
    unmatched: tuple[NameStatus, ...] = ()
    receivers: tuple[Receiver, ...] = ()
    omitted: int = 0
    looked_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def totals(self) -> dict[str, int]:
        everything = (*self.names, *self.unmatched)
        return {
            "waiting": sum(each.waiting for each in everything),
            "leased": sum(each.leased for each in everything),
            "retrying": sum(each.retrying for each in everything),
            "dead": sum(each.dead for each in everything),
            "unmatched": len(self.unmatched),
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "looked_at": _iso(self.looked_at),
            "totals": self.totals,
            "names": [each.to_json() for each in self.names],
            "unmatched": [each.to_json() for each in self.unmatched],
            "omitted": self.omitted,
            "receivers": [receiver_json(each) for each in self.receivers],
        }


class Observer:
    """Looks at the mailbox; changes nothing."""

    def __init__(self, *, mailbox: Mailbox, pending: Pending, dead_letters: DeadLetters, receivers: Receivers) -> None:
        self._mailbox = mailbox
        self._pending = pending
        self._dead_letters = dead_letters
        self._receivers = receivers

    def look(self) -> Status:
        """Raises `StoreError` if memcache does not answer."""
        due = self._pending.entries()
        dead = self._dead_letters.names()
        # Not all may be looked at: the fixed names are few, and of the others those come first that wait longest.
        known = list(dict.fromkeys([*dead, *self._receivers.literal_names(), *sorted(due, key=due.__getitem__)]))
        seen = known[:MAX_NAMES]
        statuses = [self._name_status(page, due, dead) for page in look(self._mailbox, seen).values()]
        return Status(
            names=_busiest_first(each for each in statuses if each.receivers or not each.due_at),
            unmatched=_busiest_first(each for each in statuses if each.due_at and not each.receivers),
            receivers=tuple(self._receivers),
            omitted=len(known) - len(seen),
            looked_at=datetime.fromtimestamp(self._mailbox.clock(), timezone.utc),
        )

    def deliverable_names(self) -> tuple[str, ...]:
        """Every name that may have something for a receiver here: the fixed ones, and those in the index that match.

        Raises `StoreError` if memcache does not answer.
        """
        waiting = waiting_names(self._receivers, mailbox=self._mailbox)
        return tuple(dict.fromkeys([*waiting, *self._receivers.literal_names()]))

    def _name_status(self, page: MailboxStatus, due: Mapping[str, float], dead: Mapping[str, int]) -> NameStatus:
        name = page.name
        due_seconds = due.get(name)
        return NameStatus(
            name=name,
            waiting=page.waiting,
            leased=page.leased,
            retrying=page.retrying,
            dead=dead.get(name, 0),
            is_readable=page.is_readable,
            due_at=None if due_seconds is None else datetime.fromtimestamp(due_seconds, timezone.utc),
            oldest_sent_at=page.oldest_sent_at,
            next_retry_at=page.next_retry_at,
            receivers=tuple(match.receiver.id for match in self._receivers.matching(name)),
        )


def receiver_json(receiver: Receiver) -> dict[str, Any]:
    return {
        "id": receiver.id,
        "name": str(receiver.template),
        "mode": "reliable" if receiver.reliable else "weak",
        "batch": receiver.batch,
        "max_attempts": receiver.max_attempts,
        "backoff_seconds": receiver.backoff_seconds,
    }


def _busiest_first(statuses: Iterable[NameStatus]) -> tuple[NameStatus, ...]:
    return tuple(sorted(statuses, key=lambda each: (-each.busyness, -each.dead, each.name)))


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
