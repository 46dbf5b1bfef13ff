"""Running the messages of one name: which receiver is called with which of them, and whether there is time for it.

A receiver that fails neither stops nor repeats the others, and no exception of a handler's leaves this module. What a
handler leaves behind in context variables, or in ndb's context, is gone for the next message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextvars import copy_context
from operator import attrgetter

from gaesignals.mailbox.box import Mailbox
from gaesignals.message import Message
from gaesignals.receiver import Match

from .calling import Call, fail, fields_of
from .coroutines import Coroutines
from .verdict import Run

logger = logging.getLogger("gaesignals")

_receiver_id = attrgetter("receiver.id")


class LeaseLostError(Exception):
    """Raised by a guard: the messages at hand are somebody else's now, so no further handler may run."""


class Runner:
    """Runs the handlers of one name.

    `guard` is called before each and may raise `LeaseLostError`. Once `is_late` says so, no further one is begun.
    """

    def __init__(
        self,
        coroutines: Coroutines,
        mailbox: Mailbox,
        name: str,
        *,
        guard: Callable[[], None] = lambda: None,
        is_late: Callable[[], bool] = lambda: False,
    ) -> None:
        self._coroutines = coroutines
        self._mailbox = mailbox
        self._name = name
        self._guard = guard
        self._is_late = is_late
        self._observer = mailbox.observer.listening()
        self._is_begun = False

    def run(self, runs: Sequence[Run]) -> None:
        """Let every receiver see its records, the first of them in any case; failures are added to the runs.

        Whatever this raises, the runs say which receivers have not begun.
        """
        self._is_begun = False
        for run in runs:
            run.unbegun = list(map(_receiver_id, run.matches))
        for match in _matches_of(runs):
            mine = [run for run in runs if match in run.matches]
            batches = self._begin(match, _batches(mine, match.receiver.batch or 1))
            if match.receiver.concurrency > 1:
                works = (self._run_beside_others(match, batch) for batch in batches)
                self._coroutines.run_each(works, concurrency=match.receiver.concurrency)
                continue
            for batch in batches:
                copy_context().run(self._run, match, batch)

    def _begin(self, match: Match, batches: Iterable[list[Run]]) -> Iterator[list[Run]]:
        """Those of `batches` that there is time for, each when it is about to be run, without what is too old."""
        for batch in batches:
            if self._is_begun and self._is_late():
                continue
            for run in batch:
                run.unbegun.remove(match.receiver.id)
            ages = match.receiver.max_age_seconds is not None
            young = [run for run in batch if not self._expires(match, run)] if ages else batch
            if young:
                self._is_begun = True
                yield young

    def _expires(self, match: Match, run: Run) -> bool:
        age_seconds = (self._mailbox.now_ms() - run.record.age_from_ms) / 1000
        if not match.receiver.is_too_old(age_seconds):
            return False
        run.expired.append(match.receiver.id)
        logger.info("a message is too old for its receiver", extra=fields_of(match.receiver, self._name, run))
        return True

    def _run(self, match: Match, runs: Sequence[Run]) -> None:
        """One message, or a batch. Only what fails alone has failed, so that no neighbour pays for a poison message."""
        pairs = self._read(match, runs)
        if not pairs:
            return
        self._guard()
        call = Call(self._mailbox, self._observer, match, self._name, pairs)
        call.make(self._coroutines)
        self._run_one_by_one(match, call.split)

    def _run_one_by_one(self, match: Match, runs: Sequence[Run]) -> None:
        for number, run in enumerate(runs):
            if number and self._is_late():
                run.unbegun.append(match.receiver.id)
            else:
                copy_context().run(self._run, match, [run])

    async def _run_beside_others(self, match: Match, runs: Sequence[Run]) -> None:
        """`_run` for a coroutine handler of one message, in a task and so in a context of its own."""
        pairs = self._read(match, runs)
        if not pairs:
            return
        self._guard()
        await Call(self._mailbox, self._observer, match, self._name, pairs).make_beside_others(self._coroutines)

    def _read(self, match: Match, runs: Sequence[Run]) -> list[tuple[Run, Message]]:
        return [(run, message) for run in runs if (message := self._message(match, run)) is not None]

    def _message(self, match: Match, run: Run) -> Message | None:
        """Each receiver decodes its own data, so that none sees what another changed in it."""
        record = run.record
        try:
            data = match.receiver.load(record.payload)
        except Exception as error:  # noqa: BLE001 - a declared type is the application's code
            run.failures.append(fail(match.receiver, self._name, run, error))
            return None
        return Message(
            record.id,
            self._name,
            data,
            record.sent_us,
            record.attempt,
            record.namespace,
            context=record.context,
            _due=record.due_ms / 1000,
        )


def _matches_of(runs: Sequence[Run]) -> Collection[Match]:
    """The receivers that one of `runs` is for, each once."""
    if len(runs) == 1:
        return runs[0].matches
    return {match.receiver.id: match for run in runs for match in run.matches}.values()


def _batches(runs: Sequence[Run], size: int) -> Iterator[list[Run]]:
    """Batches of at most `size`, each from one namespace."""
    if len(runs) == 1:
        yield [*runs]
        return
    namespaces = dict.fromkeys([run.record.namespace for run in runs])
    for namespace in namespaces:
        group = runs if len(namespaces) == 1 else [run for run in runs if run.record.namespace == namespace]
        for start in range(0, len(group), size):
            yield [*group[start : start + size]]
