"""Running handlers.

A receiver that fails neither stops nor repeats the others, and no exception of a handler's leaves this module.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gaesignals.format.entries import Record
from gaesignals.mailbox.box import Mailbox
from gaesignals.message import Drop, Message, Retry, handling, text_of, wait_of
from gaesignals.observing import HandlerCall, Handling
from gaesignals.receiver import Match, Receiver

from .coroutines import Coroutines
from .verdict import Failed, Run

logger = logging.getLogger("gaesignals")


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
        guard: Callable[[], None],
        is_late: Callable[[], bool] = lambda: False,
    ) -> None:
        self._coroutines = coroutines
        self._mailbox = mailbox
        self._name = name
        self._guard = guard
        self._is_late = is_late
        self._is_begun = False

    def run(self, runs: Sequence[Run]) -> None:
        """Let every receiver see its records, the first of them in any case; failures are added to the runs.

        Whatever this raises, the runs say which receivers have not begun.
        """
        matches = {match.receiver.id: match for run in runs for match in run.matches}
        self._is_begun = False
        for run in runs:
            run.unbegun = [match.receiver.id for match in run.matches]
        for match in matches.values():
            mine = [run for run in runs if match in run.matches]
            batches = self._begin(match, _batches(mine, match.receiver.batch or 1))
            if match.receiver.concurrency > 1:
                works = (self._run_beside_others(match, batch[0]) for batch in batches)
                self._coroutines.run_each(works, concurrency=match.receiver.concurrency)
                continue
            for batch in batches:
                if match.receiver.batch is None:
                    self._run_one(match, batch[0])
                else:
                    self._run_batch(match, batch)

    def _begin(self, match: Match, batches: Iterable[list[Run]]) -> Iterator[list[Run]]:
        """Those of `batches` that there is time for, each when it is about to be run."""
        for batch in batches:
            if self._is_begun and self._is_late():
                continue
            self._is_begun = True
            for run in batch:
                run.unbegun.remove(match.receiver.id)
            yield batch

    def _run_one(self, match: Match, run: Run) -> None:
        message = self._message(match, run)
        if message is None:
            return
        with self._isolated(match, run, message), self._current(match, message):
            self._guard()
            self._call(match, message.data, [message])

    async def _run_beside_others(self, match: Match, run: Run) -> None:
        """`_run_one` for a coroutine handler, in a task and so in a context of its own."""
        message = self._message(match, run)
        if message is None:
            return
        with self._isolated(match, run, message), self._current(match, message):
            self._guard()
            with self._observed(match, [message]):
                work: Any = match.receiver.handler(message.data, **match.captures)
                await self._coroutines.bounded(work)

    @contextmanager
    def _current(self, match: Match, message: Message) -> Iterator[None]:
        """The context that a handler runs in: that of `message`, the first one of a batch."""
        current = message if match.receiver.batch is None else None
        with self._mailbox.namespaces.using(message.namespace), handling(current, match.receiver.id):
            yield

    @contextmanager
    def _isolated(self, match: Match, run: Run, message: Message) -> Iterator[None]:
        """What becomes of one message, whatever is raised inside the block."""
        try:
            yield
        except LeaseLostError:
            raise
        except Drop as drop:
            self._log_drop(match, [message], drop)
            self._check_mark(match, run, message)
        except Exception as error:  # noqa: BLE001 - one message is isolated from the others here
            self._fail(match, run, error)
        else:
            self._check_mark(match, run, message)

    def _run_batch(self, match: Match, runs: Sequence[Run]) -> None:
        read = [(run, message) for run in runs if (message := self._message(match, run)) is not None]
        messages = [message for _, message in read]
        if not messages:
            return
        try:
            with self._current(match, messages[0]):
                self._guard()
                self._call(match, messages, messages)
        except LeaseLostError:
            raise
        except Drop as drop:
            self._log_drop(match, messages, drop)
        except Exception as error:  # noqa: BLE001 - one batch is isolated from the others here
            self._fail_batch(match, [run for run, _ in read], error)
            return
        for run, message in read:
            self._check_mark(match, run, message)

    def _call(self, match: Match, argument: object, messages: Sequence[Message]) -> None:
        with self._observed(match, messages):
            try:
                result = match.receiver.handler(argument, **match.captures)
                if inspect.iscoroutine(result):
                    self._coroutines.run(result)
            except asyncio.CancelledError as error:
                # Not an Exception. It comes of an event loop of the handler's own, and ends nothing but its message.
                raise RuntimeError("the handler was cancelled, and not by its delivery") from error

    @contextmanager
    def _observed(self, match: Match, messages: Sequence[Message]) -> Iterator[None]:
        """Tell the observer of a call of the handler, whatever it raises."""
        started = self._mailbox.clock()
        raised: Exception | None = None
        handling = _handling(match.receiver, messages, started)
        with self._mailbox.observer.handling(handling):
            try:
                yield
            except Exception as error:
                raised = error
                raise
            finally:
                seconds = max(0.0, self._mailbox.clock() - started)
                self._mailbox.observer.handled(_handler_call(handling, self._name, seconds, raised))

    def _fail_batch(self, match: Match, runs: Sequence[Run], error: Exception) -> None:
        """Only what fails alone has failed, so that a poison message never costs its neighbours an attempt."""
        if match.receiver.reliable and len(runs) > 1:
            logger.warning(
                "a batch failed; its messages are run one by one",
                extra=self._fields(match.receiver, None),
                exc_info=error,
            )
            self._run_batch(match, runs[:1])
            for run in runs[1:]:
                if self._is_late():
                    run.unbegun.append(match.receiver.id)
                else:
                    self._run_batch(match, [run])
            return
        for run in runs:
            self._fail(match, run, error)

    def _message(self, match: Match, run: Run) -> Message | None:
        """Each receiver decodes its own data, so that none sees what another changed in it."""
        record = run.record
        try:
            data = match.receiver.load(record.payload)
        except Exception as error:  # noqa: BLE001 - a declared type is the application's code
            self._fail(match, run, error)
            return None
        return Message(
            record.id, self._name, data, record.sent_at, record.attempt, record.namespace, context=record.context
        )

    def _check_mark(self, match: Match, run: Run, message: Message) -> None:
        if message.failure is not None:
            run.failures.append(_failed(match.receiver, message.failure))
            logger.warning("a handler marked a message as failed", extra=self._fields(match.receiver, run.record))

    def _fail(self, match: Match, run: Run, error: Exception) -> None:
        fields = self._fields(match.receiver, run.record)
        if isinstance(error, Retry) and match.receiver.reliable:
            logger.info("a handler asked for a retry", extra=fields)
            after = wait_of(error)
            run.failures.append(_failed(match.receiver, text_of(error), after_seconds=after, is_request=True))
            return
        logger.error("a handler failed", extra=fields, exc_info=error)
        run.failures.append(_failed(match.receiver, f"{type(error).__name__}: {text_of(error)}", exception=error))

    def _log_drop(self, match: Match, messages: Sequence[Message], drop: Drop) -> None:
        logger.info(
            "a handler dropped messages",
            extra=self._fields(match.receiver, None) | {"signals_count": len(messages), "signals_reason": drop.reason},
        )

    def _fields(self, receiver: Receiver, record: Record | None) -> dict[str, object]:
        fields: dict[str, object] = {"signals_name": ascii(self._name), "signals_receiver": receiver.id}
        if record is not None:
            fields |= {"signals_message": record.id, "signals_attempt": record.attempt}
        return fields


def _failed(
    receiver: Receiver,
    error: str,
    *,
    exception: BaseException | None = None,
    after_seconds: float | None = None,
    is_request: bool = False,
) -> Failed:
    return Failed(
        receiver.id,
        error,
        is_reliable=receiver.reliable,
        max_attempts=receiver.max_attempts,
        backoff_seconds=receiver.backoff_seconds,
        exception=exception,
        after_seconds=after_seconds,
        is_request=is_request,
    )


def _handling(receiver: Receiver, messages: Sequence[Message], now: float) -> Handling:
    return Handling(
        receiver.id,
        messages,
        pattern="" if receiver.is_pair else str(receiver.template),
        is_reliable=receiver.reliable,
        is_batch=receiver.batch is not None,
        waited_seconds=[max(0.0, now - message.sent_at.timestamp()) for message in messages],
    )


def _handler_call(handling: Handling, name: str, seconds: float, raised: Exception | None) -> HandlerCall:
    count = len(handling.messages)
    if raised is None or isinstance(raised, Drop):
        marks = [message.failure for message in handling.messages if message.failure is not None]
        error = marks[-1] if marks else ""
        return HandlerCall(handling.receiver, name, count, len(marks), seconds, error, handling, raised)
    if handling.is_reliable and count > 1:
        count = 0  # A batch that is run again one by one is counted then.
    error = f"{type(raised).__name__}: {text_of(raised)}"
    return HandlerCall(handling.receiver, name, count, count, seconds, error, handling, raised)


def _batches(runs: Sequence[Run], size: int) -> Iterator[list[Run]]:
    """Batches of at most `size`, each from one namespace."""
    batch: list[Run] = []
    for run in sorted(runs, key=lambda run: run.record.namespace):
        if batch and (len(batch) == size or batch[0].record.namespace != run.record.namespace):
            yield batch
            batch = []
        batch.append(run)
    if batch:
        yield batch
