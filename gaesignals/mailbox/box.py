"""The mailbox: what senders and deliveries of one process share.

It is a connection to the store, the lanes this process sends on, and the names its deliveries have emptied.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from gaesignals.errors import InvalidOptionError, brief
from gaesignals.format.entries import Record
from gaesignals.format.lease import MAX_HOLDER_CHARACTERS
from gaesignals.format.replacing import newest
from gaesignals.observing import Observer, Observers, Sending
from gaesignals.stores.client import Connection
from gaesignals.stores.store import Store
from gaesignals.tasks.queue import NoTasks, Tasks
from gaesignals.tasks.queues import Queues
from gaesignals.telemetry.spans import Telemetry
from gaesignals.way import PLAIN, Way

from .cover import Cover, entrust, take_back
from .defer import defer
from .emptied import Emptied
from .known import Known
from .lanes import Lanes
from .replacer import Replacer
from .safety import Safety, check_fits
from .send import send
from .waker import Waker


class Namespaces(Protocol):
    """How to read and set the namespace that a message is sent from and its handlers run with.

    Each context (`contextvars`) has its own, as App Engine's: coroutine handlers of several namespaces run in turns.
    """

    def current(self) -> str: ...

    def using(self, namespace: str) -> AbstractContextManager[None]: ...


_NO_BLOCK: Final = nullcontext()


class NoNamespaces:
    """For programs without namespaces: there is one, the empty one."""

    def current(self) -> str:
        return ""

    def using(self, namespace: str) -> AbstractContextManager[None]:
        return _NO_BLOCK


class Mailbox(Connection):
    """Where signals wait. Safe to share between threads and requests.

    `holder` is noted in the leases of its deliveries, so that a person can tell whose they are: at most 20 characters.
    `observer` None stands for `Telemetry`, which tells OpenTelemetry; whoever gives another one and wants both gives
    `Observers([Telemetry(), another])`. `tasks` adds the tasks of messages that need one, to the `queues`.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        random: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
        namespaces: Namespaces | None = None,
        observer: Observer | None = None,
        holder: str = "",
        tasks: Tasks | None = None,
        queues: Queues | None = None,
    ) -> None:
        if not isinstance(holder, str) or len(holder) > MAX_HOLDER_CHARACTERS:
            raise InvalidOptionError(
                f"holder={brief(holder)} cannot be: give at most {MAX_HOLDER_CHARACTERS} characters"
            )
        super().__init__(store, clock=clock, random=random, sleep=sleep)
        self.namespaces = namespaces or NoNamespaces()
        self.observer = Observers([Telemetry() if observer is None else observer])
        self.holder = holder
        self.tasks: Tasks = NoTasks() if tasks is None else tasks
        self.queues = queues or Queues()
        self.safety = Safety(self, self.tasks, self.queues)
        self.waker = Waker(self, self.tasks, self.queues)
        self.replacer = Replacer(self, self.safety, lambda names: self.observer.replaced(names))
        self.lanes = Lanes()
        self.known = Known()
        self.emptied = Emptied(clock)

    def on_call(self, verb: str) -> None:
        self.observer.called(verb)

    def send(
        self,
        outgoing: Sequence[tuple[str, bytes]],
        *,
        pattern: str = "",
        ways: Sequence[Way] = (),
        due: float | None = None,
        transactional: bool = False,
    ) -> list[str]:
        """Store pairs of a name and a payload; return their message ids, in order.

        `pattern` is the template that all names were filled in from, if there is one: observers know the send by it.
        `ways` has the way of each, where not all are plain. Those that are `due` later (seconds since 1970), or are
        `transactional`, are with a task until then. Raises `InvalidDataError`, before anything is stored, for one that
        needs a task and is too large for it; `SendError`, a `StoreError`, unless every one is stored and indexed:
        it lists what became of each.
        """
        sent_us = int(self.clock() * 10**6)
        namespace = self.namespaces.current()
        ids = [self.new_id() for _ in outgoing]
        observer = self.observer.listening()
        with observer.sending(Sending(ids, pattern)):
            context = observer.context()
            due_ms = int((due or 0) * 1000)
            records = [
                (
                    name,
                    Record(
                        id_,
                        sent_us,
                        payload,
                        namespace,
                        context=context,
                        due_ms=due_ms,
                        safety="" if way.is_durable else None,
                        wake_ms=way.wake_ms,
                        is_latest=way.is_latest,
                    ),
                )
                for id_, way, (name, payload) in zip(ids, ways or [PLAIN] * len(ids), outgoing, strict=True)
            ]
            self._send_first(records, due=due, transactional=transactional)
            observer.sent([name for name, _ in records])
        return ids

    def _send_first(self, records: Sequence[tuple[str, Record]], *, due: float | None, transactional: bool) -> None:
        """Send records for the first time, of those of which only the newest counts the last of a name."""
        is_deferred = due is not None or transactional
        for name, record in records:
            if is_deferred or record.is_durable:
                check_fits(name, record)
        outgoing = newest(records)
        if not is_deferred:
            self.put(outgoing, replacer=self.replacer)
        else:
            self.defer_records(outgoing, due=due, transactional=transactional)
        if len(outgoing) < len(records):
            left = {record.id for _, record in outgoing}
            self.observer.replaced([name for name, record in records if record.id not in left])

    def send_records(self, outgoing: Sequence[tuple[str, Record]]) -> None:
        """Store records once more, beside newer messages of their names. Raises as `send` does.

        Where the store does not take them, durable ones are left to tasks.
        """
        self.put(outgoing)

    def send_rescued(self, outgoing: Sequence[tuple[str, Record]]) -> None:
        """As `send_records`, of what a task brings: it does so again where the store does not take them."""
        self.put(outgoing, uncover=take_back)

    def put(
        self,
        outgoing: Sequence[tuple[str, Record]],
        *,
        replacer: Replacer | None = None,
        uncover: Callable[[Safety, Cover, str], None] = entrust,
    ) -> None:
        """Store records that have their ids already, as `send.send` does with the parts of this mailbox."""
        send(
            self,
            self.lanes,
            outgoing,
            safety=self.safety,
            waker=self.waker,
            known=self.known,
            replacer=replacer,
            uncover=uncover,
        )

    def defer_records(self, outgoing: Sequence[tuple[str, Record]], *, due: float | None, transactional: bool) -> None:
        """Leave records to tasks, which send them when they are due or the transaction is committed."""
        defer(self.tasks, self.queues.later, outgoing, due=due, transactional=transactional)
