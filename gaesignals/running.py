"""Running handlers: which receivers a record still has to see, and what became of it with each.

A receiver that fails neither stops nor repeats the others, and no exception of a handler's leaves this module.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from . import codec
from .errors import DecodeError
from .mailbox import Mailbox
from .message import Drop, Message, Record, Retry, handling, text_of
from .observing import HandlerCall, Handling
from .receivers import Match, Receiver

logger = logging.getLogger("gaesignals")


class LeaseLostError(Exception):
    """Raised by a guard: the messages at hand are somebody else's now, so no further handler may run."""


@dataclass(frozen=True, slots=True)
class Failed:
    """One receiver's failure with one record. `is_request` where the handler asked for a retry itself.

    A weak receiver's failure is counted, and that is all; a reliable one's has attempts left, or not.
    """

    receiver: str
    error: str
    is_reliable: bool = True
    max_attempts: int = 0
    backoff_seconds: float = 0.0
    exception: BaseException | None = None
    after_seconds: float | None = None
    is_request: bool = False


@dataclass(slots=True)
class Run:
    """A record, the receivers that it has yet to see, those that failed, and those there was no time for."""

    record: Record
    matches: tuple[Match, ...]
    failures: list[Failed]
    unbegun: list[str] = field(default_factory=list)

    @property
    def rest(self) -> tuple[Record, ...]:
        """The record for the receivers there was no time for, if any; they see the same attempt of it."""
        return (replace(self.record, receivers=tuple(self.unbegun)),) if self.unbegun else ()


def plan(record: Record, matches: Sequence[Match], *, is_takeover: bool) -> Run:
    """Find out which of `matches` the record has yet to see.

    Weak receivers see its first attempt only, and never one that is made up for. A receiver that the record names and
    that no longer exists is a failure without further attempts.
    """
    if not record.receivers:
        is_first = record.attempt == 1 and not is_takeover
        return Run(record, tuple(match for match in matches if match.receiver.reliable or is_first), [])
    known = {match.receiver.id for match in matches}
    named = tuple(
        match
        for match in matches
        if match.receiver.id in record.receivers and (match.receiver.reliable or not is_takeover)
    )
    gone = [
        Failed(receiver, f"no receiver {receiver!r} matches this name any more")
        for receiver in record.receivers
        if receiver not in known
    ]
    return Run(record, named, gone)


class Runner:
    """Runs the handlers of one name.

    `guard` is called before each and may raise `LeaseLostError`. Once `is_late` says so, no further one is begun.
    """

    def __init__(
        self, mailbox: Mailbox, name: str, guard: Callable[[], None], is_late: Callable[[], bool] = lambda: False
    ) -> None:
        self._mailbox = mailbox
        self._name = name
        self._guard = guard
        self._is_late = is_late

    def run(self, runs: Sequence[Run]) -> None:
        """Let every receiver see its records, the first of them in any case; failures are added to the runs."""
        matches = {match.receiver.id: match for run in runs for match in run.matches}
        is_first = True
        for match in matches.values():
            mine = [run for run in runs if match in run.matches]
            for batch in _batches(mine, match.receiver.batch or 1):
                if not is_first and self._is_late():
                    _put_off(match, batch)
                elif match.receiver.batch is None:
                    self._run_one(match, batch[0])
                else:
                    self._run_batch(match, batch)
                is_first = False

    def _run_one(self, match: Match, run: Run) -> None:
        message = self._message(match, run)
        if message is None:
            return
        try:
            with self._mailbox.namespaces.using(message.namespace), handling(message):
                self._guard()
                self._call(match, message.data, [message])
        except LeaseLostError:
            raise
        except Drop as drop:
            self._log_drop(match, [message], drop)
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
            with self._mailbox.namespaces.using(messages[0].namespace):
                self._guard()
                self._call(match, messages, messages)
        except LeaseLostError:
            raise
        except Drop as drop:
            self._log_drop(match, messages, drop)
        except Exception as error:  # noqa: BLE001 - one batch is isolated from the others here
            self._fail_batch(match, [run for run, _ in read], error)
        else:
            for run, message in read:
                self._check_mark(match, run, message)

    def _call(self, match: Match, argument: object, messages: Sequence[Message]) -> None:
        """Call the handler and tell the observer, whatever it raises."""
        started = self._mailbox.clock()
        raised: Exception | None = None
        handling = _handling(match.receiver, messages, started)
        with self._mailbox.observer.handling(handling):
            try:
                match.receiver.handler(argument, **match.captures)
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
                    _put_off(match, [run])
                else:
                    self._run_batch(match, [run])
            return
        for run in runs:
            self._fail(match, run, error)

    def _message(self, match: Match, run: Run) -> Message | None:
        """Each receiver decodes its own data, so that none sees what another changed in it."""
        record = run.record
        try:
            data = codec.loads(record.payload)
        except DecodeError as error:
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
            after = error.after_seconds
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


def _put_off(match: Match, runs: Iterable[Run]) -> None:
    for run in runs:
        run.unbegun.append(match.receiver.id)


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
