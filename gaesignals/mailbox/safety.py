"""Safety: the tasks that bring durable messages back if memcache forgets them, and what keeps one from doing so twice.

A task is added before its message is stored, and deleted when that is done. Where a task cannot be deleted, a marker in
memcache tells it that there is nothing left to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gaesignals.errors import InvalidDataError
from gaesignals.format.entries import Record
from gaesignals.format.keys import marker_key
from gaesignals.format.rescue import TICKET, Place, Rescue
from gaesignals.stores.client import Connection
from gaesignals.stores.store import Set
from gaesignals.tasks.queue import (
    BINARY,
    FILLED_BODY_BYTES,
    MAX_BODY_BYTES,
    MAX_NAMES_A_DELETION,
    MAX_TASKS_A_CALL,
    RESCUE_PATH,
    Task,
    TaskError,
    Tasks,
)
from gaesignals.tasks.queues import Queues

logger = logging.getLogger("gaesignals")

MARKER_TTL_SECONDS: Final = 86_400
DEAD_SECONDS: Final = 86_400.0
_MAX_TOLD: Final = 1000


@dataclass(frozen=True, slots=True)
class Insured:
    """What a task is to be added for; `place` is None where the message is in no page, or perhaps in none."""

    name: str
    record: Record
    place: Place | None


class Safety:
    """Adds and deletes the tasks of durable messages. Safe in threads."""

    def __init__(self, connection: Connection, tasks: Tasks, queues: Queues) -> None:
        self._connection = connection
        self._tasks = tasks
        self._queues = queues
        self._told: set[str] = set()

    def tell_of_weak(self, name: str) -> None:
        """Warn, once for each of the first thousand names, that nobody makes up for what is durable here."""
        if name in self._told or len(self._told) >= _MAX_TOLD:
            return
        self._told.add(name)
        logger.warning(
            "durable messages have weak receivers alone, which run once at most: connect one with reliable=True",
            extra={"signals_name": ascii(name)},
        )

    @property
    def slow_seconds(self) -> float:
        """How long after its task was added a message has to be in its page: then the task has not looked yet."""
        return self._queues.safety_seconds / 2

    def secure(self, messages: Sequence[Insured]) -> list[Record]:
        """Add a task for each message, a hundred a call; return the records, which name their tasks.

        Those without a place are brought at once. Raises `TaskError` unless every task was added for certain.
        """
        now = self._connection.clock()
        rescues = [self._rescue(message) for message in messages]
        made = [self._task(rescue, now) for rescue in rescues]
        names: dict[int, str | None] = {}
        for start, chunk in _chunks(made):
            try:
                added = self._tasks.add(chunk)
            except TaskError as error:
                names |= {start + place: name for place, name in error.added.items()}
                unsure = {start + place for place in error.unsure}
                raise TaskError(str(error), added=names, unsure=unsure, is_missing=error.is_missing) from error
            names |= {start + place: name for place, name in enumerate(added)}
        return [
            replace(message.record, safety=names[place] or rescues[place].marker)
            for place, message in enumerate(messages)
        ]

    def secure_letters(self, letters: Sequence[tuple[str, Record, int, str]]) -> list[Record]:
        """Add a task a day ahead for each letter: a name, a record, when it died and why. Raises as `secure` does."""
        due = self._connection.clock() + DEAD_SECONDS
        rescues = [
            Rescue(((name, record),), ticket=self._connection.new_id(), died_ms=died_ms, error=error)
            for name, record, died_ms, error in letters
        ]
        made = [self._made(rescue, self._queues.safety, due) for rescue in rescues]
        names = [name for _, chunk in _chunks(made) for name in self._tasks.add(chunk)]
        return [
            replace(record, safety=name or rescue.marker)
            for (_, record, _, _), rescue, name in zip(letters, rescues, names, strict=True)
        ]

    def release(self, records: Iterable[Record]) -> None:
        """Delete the tasks of records that are done, a thousand a call; leave markers for what is not deleted."""
        self.release_tasks(record.safety for record in records if record.safety)

    def release_tasks(self, safeties: Iterable[str]) -> bool:
        """Delete tasks by what their records say of them, and leave markers for those that are not deleted.

        True if all of them are certainly gone.
        """
        wanted = list(dict.fromkeys(safeties))
        marked = [safety for safety in wanted if safety.startswith(TICKET)]
        names = [safety for safety in wanted if not safety.startswith(TICKET)]
        for start in range(0, len(names), MAX_NAMES_A_DELETION):
            chunk = names[start : start + MAX_NAMES_A_DELETION]
            if not self._tasks.delete(self._queues.safety, chunk):
                marked += chunk
        if marked:
            self._connection.write([Set(marker_key(safety), b"1", MARKER_TTL_SECONDS) for safety in marked])
        return not marked

    def _rescue(self, message: Insured) -> Rescue:
        record = replace(message.record, safety=None)
        return Rescue(((message.name, record),), message.place, ticket=self._connection.new_id())

    def _task(self, rescue: Rescue, now: float) -> Task:
        if rescue.place is None:
            return self._made(rescue, self._queues.later, None)
        return self._made(rescue, self._queues.safety, now + self._queues.safety_seconds)

    def _made(self, rescue: Rescue, queue: str, due: float | None) -> Task:
        body = rescue.to_bytes()
        if len(body) > MAX_BODY_BYTES:
            raise TaskError(f"a message has {len(body):,} bytes and its task holds {MAX_BODY_BYTES:,}")
        return Task(queue=queue, path=RESCUE_PATH, body=body, content_type=BINARY, due=due)


def check_fits(name: str, record: Record) -> None:
    """Raise `InvalidDataError` for a message that its tasks would not hold, whatever becomes of it."""
    size = len(Rescue(((name, record),)).to_bytes())
    if size > FILLED_BODY_BYTES:
        raise InvalidDataError(
            f"the message has {size:,} bytes and a task holds {FILLED_BODY_BYTES:,}: put the data elsewhere, and send "
            "where it is"
        )


def merged(records: Iterable[Record]) -> list[Record]:
    """What goes back of a delivery, in which each durable message is one record, as it has one task.

    Such a record names all receivers that still have to run, is due when the first of them is, and has the most
    attempts of any.
    """
    merged: list[Record] = []
    places: dict[str, int] = {}
    for record in records:
        place = places.get(record.safety) if record.safety else None
        if place is not None:
            merged[place] = _both(merged[place], record)
            continue
        if record.safety:
            places[record.safety] = len(merged)
        merged.append(record)
    return merged


def _both(one: Record, other: Record) -> Record:
    receivers = (*one.receivers, *(each for each in other.receivers if each not in one.receivers))
    return replace(
        one,
        receivers=receivers if one.receivers and other.receivers else (),
        attempt=max(one.attempt, other.attempt),
        not_before_ms=min(one.not_before_ms, other.not_before_ms),
        error=one.error or other.error,
    )


def finished(records: Iterable[Record], back: Iterable[Record]) -> list[Record]:
    """The durable ones of `records` of which nothing is among those that go `back`."""
    kept = {record.safety for record in back if record.safety}
    return [record for record in records if record.safety and record.safety not in kept]


def _chunks(tasks: Sequence[Task]) -> Iterable[tuple[int, Sequence[Task]]]:
    """At most a hundred tasks of one queue each, with the place of the first."""
    start = 0
    while start < len(tasks):
        end = start + 1
        while end < len(tasks) and end - start < MAX_TASKS_A_CALL and tasks[end].queue == tasks[start].queue:
            end += 1
        yield start, tasks[start:end]
        start = end
