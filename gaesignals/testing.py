"""What tests of applications need: memcache in memory, time that passes when told, and the fixture `signals`.

`SignalsFixture` is a mailbox for one test: what was sent, delivery when the test says so. The pytest plugin gives it to
tests as `signals`; other frameworks use it as a context manager. The code under test sends and delivers as it always
does, in whatever thread: inside the block, this mailbox is the process's. Nothing here needs the SDK, sleeps or talks
to anything.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Final

from .data.codec import loads
from .data.shape import Shape, from_plain
from .delivery.deliver import deliver
from .errors import InvalidOptionError, SignalsError, brief
from .format.entries import Record
from .format.letter import DeadLetter
from .mailbox.current import use_mailbox_everywhere
from .mailbox.dead import DeadLetters
from .mailbox.look import look
from .mailbox.rescue import Answer, rescue
from .receivers import ReceiverMapping, Receivers, as_receivers
from .recording import ManualClock, MemoryNamespaces, RecordingMailbox
from .report import DeliveryReport
from .signal import Signal, name_of
from .stores.memory import Call, Hook, MemoryStore
from .tasks.memory import MemoryTasks, QueuedTask
from .tasks.queue import Task, TaskError

__all__ = [
    "Call",
    "DrainError",
    "Hook",
    "ManualClock",
    "MemoryNamespaces",
    "MemoryStore",
    "MemoryTasks",
    "QueuedTask",
    "Sent",
    "SignalsFixture",
    "Task",
    "TaskError",
]


MAX_ROUNDS: Final = 1000
# Rounds in a row that find something and get none of it.
MAX_VAIN_ROUNDS: Final = 3
_SECONDS_BETWEEN_TRIES: Final = 600.0
_MAX_ADVANCE_SECONDS: Final = 100 * 366 * 86400


class DrainError(SignalsError, RuntimeError):
    """A drain that does not come to an end, or that was to raise errors and has one without an exception of its own."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How a message was sent: its data, when, and when it is due if it is for later.

    `is_durable`, `is_latest` and `wake_seconds` are what its signal declares, the last None where it does not wake.
    """

    data: Any
    sent_at: datetime
    due_at: datetime | None
    is_durable: bool
    wake_seconds: float | None
    is_latest: bool = False


class SignalsFixture:
    """Signals inside a `with` block, each block with a mailbox of its own.

    `clock` starts at the time of day, in whole seconds, and stands still. `store` is what everything is kept in; its
    hooks and `evict` play a store that fails or forgets. `tasks` holds the tasks that were added; `drain` runs those
    that are due. A retry waits for exactly the receiver's backoff, and not
    for a random part of it, so that a test knows when it is due.
    """

    def __init__(self) -> None:
        self.clock = ManualClock(float(int(time.time())))
        self.store = MemoryStore(clock=self.clock)
        self.mailbox = RecordingMailbox(self.store, self.clock)
        self.tasks = self.mailbox.memory_tasks
        self._stack = ExitStack()

    def __enter__(self) -> SignalsFixture:
        self._stack.enter_context(use_mailbox_everywhere(self.mailbox))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def sent(self, name: str | Signal) -> list[Any]:
        """Return the data of every message sent to `name`, delivered or not, in the order in which they were sent.

        It has been through the codec, as what handlers get has been, and is of the type that a `Signal` declares.
        Raises `InvalidNameError`, and `DecodeError` for what is not of that type.
        """
        wanted = name_of(name)
        shape = name.shape if isinstance(name, Signal) else None
        found = [data for sent_to, data in self.all_sent() if sent_to == wanted]
        return found if shape is None else [from_plain(shape, data) for data in found]

    def all_sent(self) -> list[tuple[str, Any]]:
        """Return name and data of every message sent, in order."""
        return [(name, loads(record.payload)) for name, record in self.mailbox.sent_records()]

    def sends(self, name: str | Signal) -> list[Sent]:
        """Return how every message to `name` was sent, in the order in which they were sent. Raises as `sent` does."""
        wanted, shape = name_of(name), name.shape if isinstance(name, Signal) else None
        records = [record for sent_to, record in self.mailbox.sent_records() if sent_to == wanted]
        return [_sent(record, shape) for record in records]

    def transaction(self) -> AbstractContextManager[None]:
        """Stand for a transaction of Datastore, which tests have none of without the SDK.

        What is sent with `transactional=True` inside the block is sent at its end, and not at all if the block raises.
        Where an ndb transaction is open, that one counts.
        """
        return self.tasks.transaction()

    def waiting(self, name: str | Signal) -> int:
        """Return how many messages of `name` are not done with: new ones, those to be retried, those on a lease."""
        wanted = name_of(name)
        status = look(self.mailbox, [wanted])[wanted]
        return status.waiting + status.retrying + status.leased

    def dead(self, name: str | Signal) -> list[DeadLetter]:
        """Return the dead letters of `name`, oldest first: each has `data`, `error`, `attempt` and `receivers`."""
        return list(DeadLetters(self.mailbox).list(name_of(name)))

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on the clock of signals, so that retries become due and leases run out.

        Nothing is run by this, and no other clock moves. Raises `InvalidOptionError` for less than nothing, and for
        more than a hundred years.
        """
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not is_number or not 0 <= seconds <= _MAX_ADVANCE_SECONDS:
            raise InvalidOptionError(f"seconds={brief(seconds)} cannot be: give from 0 to {_MAX_ADVANCE_SECONDS}")
        self.clock.advance(seconds)

    def drain(
        self, mapping: ReceiverMapping, *, reliable: bool | None = None, raise_errors: bool = False
    ) -> DeliveryReport:
        """Deliver until nothing can be done now, and return what all of it came to.

        Every name is looked at that something was sent to, those that match a pattern of `mapping` as well, and what
        handlers send meanwhile is delivered, too. What is to be retried later waits for `advance`.

        Handlers' exceptions are in the report and in the log, as with `deliver`. With `raise_errors` the first of them
        is raised, once everything was delivered. Raises `DrainError` after a thousand rounds: a handler then keeps
        sending what it handles. `mapping` and `reliable` are those of `deliver`.
        """
        receivers = as_receivers(mapping, reliable=reliable)
        total = DeliveryReport()
        vain = 0
        for _ in range(MAX_ROUNDS):
            self._run_due_tasks()
            report = deliver(receivers, names=self._names_for(receivers), mailbox=self.mailbox)
            total += report
            vain = 0 if report.has_progressed else vain + 1
            if vain and (not report.more or vain == MAX_VAIN_ROUNDS):
                break
        else:
            raise DrainError(f"there is still something to do after {MAX_ROUNDS} rounds: {_busy(self._last_sent())}")
        if raise_errors:
            _raise_first(total)
        return total

    def _run_due_tasks(self) -> None:
        """Bring what is for later and due, as the worker does when the queues call it."""
        for queue in (self.mailbox.queues.later, self.mailbox.queues.safety):
            for queued in self.tasks.due(queue):
                rescued = rescue(self.mailbox, queued.task.body, task=queued.name, tries=queued.tries)
                if rescued.answer is Answer.DONE:
                    self.tasks.finish(queued)
                else:
                    self.tasks.try_again(queued, due=self.clock() + _SECONDS_BETWEEN_TRIES)

    def _names_for(self, receivers: Receivers) -> list[str]:
        return [name for name in self.mailbox.names() if receivers.matching(name)]

    def _last_sent(self) -> str:
        records = self.mailbox.sent_records()
        return records[-1][0] if records else ""


def _sent(record: Record, shape: Shape | None) -> Sent:
    data = loads(record.payload)
    return Sent(
        data=data if shape is None else from_plain(shape, data),
        sent_at=record.sent_at,
        due_at=datetime.fromtimestamp(record.due_ms / 1000, timezone.utc) if record.due_ms else None,
        is_durable=record.is_durable,
        wake_seconds=None if record.wake_ms is None else record.wake_ms / 1000,
        is_latest=record.is_latest,
    )


def _busy(name: str) -> str:
    return f"the last message was sent to {name!r:.80}; does a handler send the signal that it handles?"


def _raise_first(report: DeliveryReport) -> None:
    for failure in report.errors:
        if failure.exception is not None:
            raise failure.exception
    for failure in report.errors:
        raise DrainError(f"{failure.receiver} failed for {failure.name!r:.80}: {failure.error}")
