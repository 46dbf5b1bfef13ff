"""The safety tasks of one send: added before its messages are stored, and set right when it is over.

Each task says where its message is put, so that it can be seen later whether the message is still there. One that does
not get into its page is left to another task, which names no place and brings the message at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from gaesignals.format.entries import Record
from gaesignals.format.rescue import Place
from gaesignals.tasks.queue import TaskError

from .safety import Insured, Safety

logger = logging.getLogger("gaesignals")


@dataclass(slots=True)
class Cover:
    """The messages of a send for one name; once they are covered, the durable ones of `records` name their tasks.

    `old` are tasks that said of an earlier attempt where the messages would be. `entrusted` are the ids of those that
    tasks bring, whatever page they are in.
    """

    name: str
    records: Sequence[Record]
    place: Place | None = None
    added_ms: int = 0
    old: list[str] = field(default_factory=list)
    entrusted: frozenset[str] = frozenset()

    @property
    def is_brought(self) -> bool:
        """Whether every message is left to a task that brings it."""
        return bool(self.entrusted) and all(record.id in self.entrusted for record in self.records)

    @property
    def is_open(self) -> bool:
        """Whether tasks say that the messages are in a page which never got them: nobody can tell any more."""
        return self.is_added and not self.entrusted

    @property
    def is_added(self) -> bool:
        return self.added_ms > 0

    @property
    def tasks(self) -> list[str]:
        return [record.safety for record in self.records if record.safety]


@dataclass(frozen=True, slots=True)
class NotCovered:
    """Why tasks were not added, and whether some of them may have been all the same."""

    reason: str
    is_unsure: bool


def add(safety: Safety, places: Sequence[tuple[Cover, Place]], *, now_ms: int) -> NotCovered | None:
    """Add the tasks of those that do not say yet that their messages are at these places.

    After a failure nothing is to be stored of them; what was added for certain is taken back.
    """
    todo = [(cover, place) for cover, place in places if not cover.is_added or cover.place != place]
    messages = [
        Insured(cover.name, record, place) for cover, place in todo for record in cover.records if record.is_durable
    ]
    if not messages:
        return None
    try:
        secured = iter(safety.secure(messages))
    except TaskError as error:
        known = [name for name in error.added.values() if name]
        is_certain = len(known) == len(error.added) and not error.unsure and safety.release_tasks(known)
        return NotCovered(f"no safety task for a durable message: {error}", is_unsure=not is_certain)
    for cover, place in todo:
        cover.old += cover.tasks
        cover.records = [next(secured) if record.is_durable else record for record in cover.records]
        cover.place, cover.added_ms = place, now_ms
    return None


def close(safety: Safety, cover: Cover, *, now_ms: int) -> None:
    """End the send of messages that have tasks and are stored: take the tasks of earlier attempts back.

    Messages that got there so late that their task may have looked before have one more, which brings them again.
    """
    safety.release_tasks(cover.old)
    if now_ms - cover.added_ms > safety.slow_seconds * 1000:
        entrust(safety, cover, "the send took too long")


def take_back(safety: Safety, cover: Cover, _: str) -> None:
    """End the send of messages that are not stored and that another task brings, the one which sends them here."""
    safety.release_tasks([*cover.old, *cover.tasks])


def entrust(safety: Safety, cover: Cover, reason: str) -> None:
    """End the send of messages that may not be stored: leave them to tasks that bring them, wherever they may be."""
    durable = [record for record in cover.records if record.is_durable]
    try:
        safety.secure([Insured(cover.name, record, None) for record in durable])
    except TaskError:
        logger.exception("durable messages may be in the store alone")
        return
    cover.entrusted = frozenset(record.id for record in durable)
    safety.release_tasks([*cover.old, *cover.tasks])
    logger.warning(
        "durable messages did not get into the store in time, and come by their tasks",
        extra={"signals_name": ascii(cover.name), "signals_count": len(durable), "signals_reason": reason},
    )
