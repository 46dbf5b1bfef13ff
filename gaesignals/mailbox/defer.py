"""Deferring: messages that come to memcache later, when they are due or a transaction is committed.

Until then they are with their tasks alone, and memcache knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gaesignals.errors import SendError
from gaesignals.format.entries import Record
from gaesignals.format.rescue import Rescue, fill
from gaesignals.tasks.queue import (
    BINARY,
    FILLED_BODY_BYTES,
    MAX_TASKS_A_CALL,
    MAX_TASKS_A_TRANSACTION,
    RESCUE_PATH,
    NoTransactionError,
    Task,
    TaskError,
    Tasks,
)

# Of the checksum and the list around the messages.
_ROOM_BYTES = 500


def defer(
    tasks: Tasks,
    queue: str,
    outgoing: Sequence[tuple[str, Record]],
    *,
    due: float | None,
    transactional: bool,
) -> None:
    """Add a task of `queue` for each of `outgoing`, pairs of a name and a record, or for as many as fit.

    Raises `SendError` unless every task was added; with `transactional`, none was added if the transaction rolls back.
    """
    rescues = fill(outgoing, max_bytes=FILLED_BODY_BYTES - _ROOM_BYTES)
    made = [_task(rescue, queue, due) for rescue in rescues]
    added, unsure = set[int](), set[int]()
    try:
        _check(made, transactional=transactional)
        for start in range(0, len(made), MAX_TASKS_A_CALL):
            chunk = made[start : start + MAX_TASKS_A_CALL]
            try:
                tasks.add(chunk, transactional=transactional)
            except TaskError as error:
                added |= {start + place for place in error.added}
                unsure |= {start + place for place in error.unsure}
                raise
            added |= set(range(start, start + len(chunk)))
    except NoTransactionError as error:
        raise _error(f"there is no transaction for the message: {error}", rescues, (), ()) from error
    except TaskError as error:
        raise _error(f"no task for the message: {error}", rescues, added, unsure) from error


def _task(rescue: Rescue, queue: str, due: float | None) -> Task:
    return Task(queue=queue, path=RESCUE_PATH, body=rescue.to_bytes(), content_type=BINARY, due=due)


def _check(made: Sequence[Task], *, transactional: bool) -> None:
    if transactional and len(made) > MAX_TASKS_A_TRANSACTION:
        raise TaskError(
            f"the messages of one call need {len(made)} tasks and a transaction adds {MAX_TASKS_A_TRANSACTION}: "
            "send fewer or smaller ones"
        )


def _error(reason: str, rescues: Sequence[Rescue], added: Collection[int], unsure: Collection[int]) -> SendError:
    def ids(places: Iterable[int]) -> list[str]:
        return [record.id for place in sorted(places) for _, record in rescues[place].messages]

    failed = set(range(len(rescues))).difference(added, unsure)
    return SendError(reason, stored=ids(added), unsure=ids(unsure), failed=ids(failed))
