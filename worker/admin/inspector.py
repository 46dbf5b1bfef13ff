"""Looking at everything the administrator is shown. Reads a bounded number of pages, and changes nothing but that this
instance tells the history first what it has not told yet."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gaesignals.delivery.deliver import waiting_names
from gaesignals.errors import StoreError
from gaesignals.format.history import EVERYTHING
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadCounts, DeadLetters
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import MailboxStatus, look
from gaesignals.receivers import Receivers

from ..health import Health, HealthCheck
from ..past import Window
from ..pauses import KnownPauses
from ..safety import SafetyCheck
from ..version import Version
from .archive import Archive, Retrospect
from .status import AtWork, InstanceStatus, Names, NameStatus, Running, Status, at_seconds

logger = logging.getLogger("gaesignals.worker")

# One call to memcache reads the pages of this many names.
MAX_NAMES = 1000
# What a page for people is sorted from: five calls.
MAX_SORTED = 5000
# How much of long backlogs is read for the times of their oldest messages: a segment each of at least sixty names.
DEEP_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of names before their pages are read: when each listed one is due, and counts of dead letters."""

    due: Mapping[str, float]
    dead: DeadCounts
    paused: Collection[str]


class Inspector:
    """Looks at the mailbox, at the services around it and at what all instances did."""

    def __init__(
        self,
        *,
        mailbox: Mailbox,
        index: Index,
        dead_letters: DeadLetters,
        receivers: Receivers,
        pauses: KnownPauses,
        archive: Archive,
        health: HealthCheck,
        version: Version,
        safety: SafetyCheck,
    ) -> None:
        self._mailbox = mailbox
        self._index = index
        self._dead_letters = dead_letters
        self._receivers = receivers
        self._pauses = pauses
        self._archive = archive
        self._health = health
        self._version = version
        self._safety = safety

    def look(
        self,
        *,
        search: str = "",
        page: int = 1,
        size: int = MAX_NAMES,
        only: Sequence[str] | None = None,
        window: Window = Window.HOUR,
        label: bytes = EVERYTHING,
    ) -> Status:
        """Look at the names that contain `search`, upper and lower case alike, `size` a page; or `only` at some.

        And back over a `window`, at everything or at what is counted under `label`.
        The first `size` names are read whatever is searched for, so that a search hides nothing that is wrong.
        Memcache that does not answer is a part of what is told, and nothing is raised for it.
        """
        looked_at = at_seconds(self._mailbox.clock())
        now_ms = self._mailbox.now_ms()
        health = self._health.look()
        if health.is_memcache_silent:
            # Each further call would take until its deadline, and the person who looks would see nothing for minutes.
            back = self._archive.nothing(now_ms, window, label)
            return self._status(looked_at, health, self._pauses.known, Names(), back)
        back = self._archive.look(now_ms, window, label)
        paused = self._pauses.names()
        names = Names()
        try:
            known = _Known(self._index.entries(), self._dead_letters.counts(), paused)
            everything = self._in_order(known) if only is None else only
            names = self._look_at_names(known, everything, containing(search, everything), page, size)
        except StoreError as error:
            logger.error("the store failed", extra={"detail": str(error)})
            health = replace(health, is_memcache_up=False)
        return self._status(looked_at, health, paused, names, back)

    def _status(
        self, looked_at: datetime, health: Health, paused: Mapping[str, float], names: Names, back: Retrospect
    ) -> Status:
        return Status(
            looked_at=looked_at,
            version=self._version,
            health=health,
            mailbox=replace(names, running=_with_holders(names.running, back.instances)),
            paused=paused,
            is_paused_known=not self._pauses.are_left_alone,
            receivers=back.receivers,
            deliveries=back.deliveries,
            instances=back.instances,
            series=back.series,
            safety=self._safety.look(),
            brought=back.brought,
        )

    def receivers_of(self, *names: str) -> tuple[str, ...]:
        """The ids of the receivers that listen to one of the names today, each once."""
        return tuple(dict.fromkeys(match.receiver.id for name in names for match in self._receivers.matching(name)))

    def label_of(self, name: str) -> bytes | None:
        """Under what a name is counted; None for one that nobody here listens to."""
        return self._archive.label_of(name)

    def deliverable_names(self) -> tuple[str, ...]:
        """Every name that may have something for a receiver here: the fixed ones, and those in the index that match.

        Raises `StoreError` if memcache does not answer.
        """
        waiting = waiting_names(self._receivers, mailbox=self._mailbox)
        return tuple(dict.fromkeys([*waiting, *self._receivers.literal_names()]))

    def _look_at_names(
        self, known: _Known, everything: Sequence[str], found: Sequence[str], page: int, size: int
    ) -> Names:
        seen = found[(page - 1) * size : page * size]
        mailboxes = look(self._mailbox, dict.fromkeys([*seen, *everything[:size]]), deep_bytes=DEEP_BYTES)
        now = at_seconds(self._mailbox.clock())
        statuses = {name: self._name_status(each, known, now) for name, each in mailboxes.items()}
        shown = [statuses[name] for name in seen]
        return Names(
            names=_busiest_first(each for each in shown if not each.is_unmatched),
            unmatched=_busiest_first(each for each in shown if each.is_unmatched),
            read=_busiest_first(statuses.values()),
            running=_running(mailboxes.values()),
            omitted=len(found) - len(seen),
            unread=len(everything) - len(statuses),
            pages=max(1, -(-len(found) // size)),
            dead_count=known.dead.total,
        )

    def _in_order(self, known: _Known) -> list[str]:
        """The fixed names are few and come first, then what a person may have to do with, then who waits longest."""
        waiting = sorted(known.due, key=lambda name: (known.due[name], name))
        return list(
            dict.fromkeys([*self._receivers.literal_names(), *sorted(known.paused), *known.dead.by_name, *waiting])
        )

    def _name_status(self, page: MailboxStatus, known: _Known, now: datetime) -> NameStatus:
        due_seconds = known.due.get(page.name)
        return NameStatus(
            name=page.name,
            waiting=page.waiting,
            leased=page.leased,
            retrying=page.retrying,
            dead=known.dead.of(page.name),
            is_readable=page.is_readable,
            is_paused=page.name in known.paused,
            is_at_work=any(lease.expires_at > now for lease in page.leases),
            due_at=None if due_seconds is None else at_seconds(due_seconds),
            oldest_sent_at=page.oldest_sent_at,
            next_retry_at=page.next_retry_at,
            receivers=self.receivers_of(page.name),
        )


def containing(search: str, names: Sequence[str]) -> Sequence[str]:
    wanted = search.casefold()
    return [name for name in names if wanted in name.casefold()] if wanted else names


def _running(mailboxes: Iterable[MailboxStatus]) -> tuple[Running, ...]:
    """What is leased, the leases that end first at the front."""
    leases = [
        Running(each.name, lease.count, lease.holder, lease.expires_at, lease.is_takeover)
        for each in mailboxes
        for lease in each.leases
    ]
    return tuple(sorted(leases, key=lambda running: (running.expires_at, running.name)))


def _with_holders(running: Iterable[Running], instances: Sequence[InstanceStatus]) -> tuple[Running, ...]:
    """The leases with what is known of those who hold them: of several processes of an instance, the last heard of.

    What it told of its work at a name is that of a lease only where it has no other work at it.
    """
    heard: dict[str, InstanceStatus] = {}
    works: dict[tuple[str, str], list[AtWork]] = {}
    for each in sorted(instances, key=lambda each: each.heard_at):
        heard[each.id] = each
        for work in each.works:
            works.setdefault((each.id, work.name), []).append(work)
    sure = {key: found[0] for key, found in works.items() if len(found) == 1}
    return tuple(
        replace(each, holder=heard.get(each.instance), work=sure.get((each.instance, each.name))) for each in running
    )


def _busiest_first(statuses: Iterable[NameStatus]) -> tuple[NameStatus, ...]:
    return tuple(sorted(statuses, key=lambda each: (-each.busyness, -(each.dead or 0), each.name)))
