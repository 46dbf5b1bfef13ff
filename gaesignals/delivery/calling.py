"""A call of a handler: what is set up around it, and what becomes of its messages, whatever it raises.

From the outside in: the sender's namespace and the current message, the observers' blocks, the application's `around`,
and the handler. What became of it is logged inside all of them. No exception leaves a call but one that ends a process.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType

from gaesignals.mailbox.box import Mailbox
from gaesignals.message import Message, handling
from gaesignals.ndb import OwnContexts, own_contexts
from gaesignals.observing import NOBODY, HandlerCall, Handling, Observer
from gaesignals.raised import Drop, Retry, error_of, reason_of, wait_of
from gaesignals.receiver import Around, Match, Receiver

from .coroutines import Coroutines
from .judging import is_final, judged
from .results import finish, finish_soon
from .verdict import Failed, Run

logger = logging.getLogger("gaesignals")

_OURS = str(Path(__file__).parent.parent) + os.sep
# What asyncio says where a client was kept from one delivery to the next.
_LOOP_ERRORS = ("Event loop is closed", "attached to a different loop", "bound to a different event loop")
_NOTHING = nullcontext()
_LOOP_ADVICE = "see docs/receivers.md, One client a loop"


class Call:
    """One call of a receiver's handler, with one message or a batch of them."""

    def __init__(
        self, mailbox: Mailbox, observer: Observer, match: Match, name: str, pairs: Sequence[tuple[Run, Message]]
    ) -> None:
        self._mailbox = mailbox
        self._observer = observer
        self._match = match
        self._receiver = match.receiver
        self._name = name
        self._pairs = pairs
        self._messages = tuple([message for _, message in pairs])
        self._raised: Exception | None = None
        self._failures: list[tuple[Run, Failed]] = []
        self._is_ended = False
        self.split: list[Run] = []
        """What is to be run one by one: the batch failed, and nobody knows for which of its messages."""

    def make(self, coroutines: Coroutines) -> None:
        """Call the handler, and wait for what it returns."""
        with (
            self,
            self._namespace(),
            self._current(),
            self._observed(),
            self._surrounded(),
            _Judging(self),
            own_contexts(),
        ):
            try:
                finish(self._receiver.handler(self._argument(), **self._match.captures), coroutines)
            except asyncio.CancelledError as error:
                # Not an Exception. It comes of an event loop of the handler's own, and ends nothing but its message.
                raise RuntimeError("the handler was cancelled, and not by its delivery") from error

    async def make_beside_others(self, coroutines: Coroutines) -> None:
        """As `make`, a coroutine handler's call, in the event loop in which others run."""
        with self, self._namespace(), self._current(), self._observed(), self._surrounded(), _Judging(self):
            work = self._receiver.handler(self._argument(), **self._match.captures)
            await coroutines.bounded(OwnContexts().run(finish_soon(work)))

    def _argument(self) -> object:
        """What the handler is called with. A batch gets a list of its own, which it may use up."""
        return self._messages[0].data if self._receiver.batch is None else [*self._messages]

    def __enter__(self) -> None:
        """Begin the outermost block around the handler; its end tells the runs of their failures."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """One call is isolated from the others here: no `Exception` leaves the block."""
        if isinstance(error, Exception):
            if not self._is_ended:
                self._end_late(error)
            _cut(error)
        for run, failed in self._failures:
            run.failures.append(failed)
        # An exception holds its frames, and one of these holds this call.
        self._raised, self._failures = None, []
        return isinstance(error, Exception)

    def _namespace(self) -> AbstractContextManager[None]:
        return self._mailbox.namespaces.using(self._messages[0].namespace)

    def _current(self) -> handling:
        return handling(self._messages[0] if self._receiver.batch is None else None, self._receiver.id)

    def _observed(self) -> AbstractContextManager[None]:
        """The block of the observers, who are told at its end what became of the call."""
        return _NOTHING if self._observer is NOBODY else self._told()

    def _surrounded(self) -> AbstractContextManager[None]:
        """The block that the application has around its handlers."""
        return _NOTHING if self._receiver.around is None else self._inside(self._receiver.around)

    @contextmanager
    def _told(self) -> Iterator[None]:
        started = self._mailbox.clock()
        told = _handling(self._receiver, self._messages, started)
        with self._observer.handling(told):
            try:
                yield
            finally:
                seconds = max(0.0, self._mailbox.clock() - started)
                self._observer.handled(_handler_call(told, self._name, seconds, self._raised))

    @contextmanager
    def _inside(self, around: Around) -> Iterator[None]:
        try:
            with around():
                yield
        except Exception as error:
            if error is not self._raised:
                self._end_late(error)
            raise

    def judge(self, error: Exception | None) -> Exception | None:
        """End the call: what the handler raised, and what that stands for."""
        self._end(error)
        return self._raised

    def _end(self, error: Exception | None) -> None:
        """Find out what became of the messages, and log it."""
        self._failures, self.split = [], []
        self._raised = None if error is None else judged(error, self._receiver, is_alone=len(self._pairs) == 1)
        if self._raised is None or isinstance(self._raised, Drop):
            if isinstance(self._raised, Drop):
                self._log_drop(self._raised)
            self._take_marks(self._pairs)
        elif isinstance(self._raised, Retry) and self._receiver.reliable:
            self._retry_all(self._raised)
        elif self._receiver.reliable and len(self._pairs) > 1:
            self.split = [run for run, _ in self._pairs]
            _cut(self._raised)
            logger.warning(
                "a batch failed; its messages are run one by one", extra=self._fields(None), exc_info=self._raised
            )
        else:
            for run, _ in self._pairs:
                self._failures.append((run, fail(self._receiver, self._name, run, self._raised)))
        self._is_ended = True

    def _end_late(self, error: Exception) -> None:
        """What is around the handler has failed. Where the handler had failed already, that is what counts."""
        if self._raised is None:
            self._end(error)
        else:
            logger.error("what is around a handler failed, too", extra=self._fields(None), exc_info=error)

    def _take_marks(self, pairs: Sequence[tuple[Run, Message]]) -> None:
        for run, message in pairs:
            mark = message.mark
            if mark is None:
                continue
            if isinstance(mark, Retry) and self._receiver.reliable:
                self._retry(run, mark)
            else:
                failed = Failed.of(self._receiver, reason_of(mark))
                level = logging.ERROR if failed.is_last(run.record) else logging.WARNING
                logger.log(level, "a handler marked a message as failed", extra=self._fields(run))
                self._failures.append((run, failed))

    def _retry_all(self, retry: Retry) -> None:
        """Only what fails alone may die: those of a batch whose last attempt it was get it each by itself."""
        is_batch = len(self._pairs) > 1
        marked = [(run, message) for run, message in self._pairs if is_batch and message.mark is not None]
        self._take_marks(marked)
        for run, message in self._pairs:
            if (run, message) in marked:
                continue
            if is_batch and self._asked(retry).is_last(run.record):
                self.split.append(run)
            else:
                self._retry(run, retry)

    def _retry(self, run: Run, retry: Retry) -> None:
        logger.info("a handler asked for a retry", extra=self._fields(run))
        self._failures.append((run, self._asked(retry)))

    def _asked(self, retry: Retry) -> Failed:
        after = wait_of(retry)
        return Failed.of(
            self._receiver, reason_of(retry), after_seconds=after, is_request=True, is_charged=bool(retry.charge)
        )

    def _log_drop(self, drop: Drop) -> None:
        fields = {"signals_count": len(self._pairs), "signals_reason": reason_of(drop.reason)}
        logger.info("a handler dropped messages", extra=self._fields(None) | fields)

    def _fields(self, run: Run | None) -> dict[str, object]:
        return fields_of(self._receiver, self._name, run)


class _Judging:
    """The innermost block: at its end it is judged what became of the call, and raised what that stands for."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, Exception):
            raised = self._call.judge(error)
            if raised is not None and raised is not error:
                raise raised from error


def fail(receiver: Receiver, name: str, run: Run, error: Exception) -> Failed:
    """A failure of `receiver` with a message, which is logged: as a warning where the message is run again."""
    text = error_of(error)
    if isinstance(error, RuntimeError) and any(known in text for known in _LOOP_ERRORS):
        text = f"{text} ({_LOOP_ADVICE})"
    _cut(error)
    failed = Failed.of(receiver, text, exception=error, is_final=is_final(error, receiver))
    level = logging.ERROR if failed.is_last(run.record) else logging.WARNING
    logger.log(level, "a handler failed", extra=fields_of(receiver, name, run), exc_info=error)
    return failed


def _cut(error: Exception) -> None:
    """Let the traceback of an application's error begin in the application."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OURS):
        traceback = traceback.tb_next
    if traceback is not None:
        error.__traceback__ = traceback


def fields_of(receiver: Receiver, name: str, run: Run | None) -> dict[str, object]:
    fields: dict[str, object] = {"signals_name": ascii(name), "signals_receiver": receiver.id}
    if run is not None:
        fields |= {"signals_message": run.record.id, "signals_attempt": run.record.attempt}
    return fields


def _handling(receiver: Receiver, messages: Sequence[Message], now: float) -> Handling:
    return Handling(
        receiver.id,
        messages,
        pattern="" if receiver.is_pair else str(receiver.template),
        is_reliable=receiver.reliable,
        is_batch=receiver.batch is not None,
        waited_seconds=[max(0.0, now - message.waits_since) for message in messages],
    )


def _handler_call(handling: Handling, name: str, seconds: float, raised: Exception | None) -> HandlerCall:
    count = len(handling.messages)
    if raised is None or isinstance(raised, Drop):
        marks = [reason_of(message.mark) for message in handling.messages if message.mark is not None]
        error = marks[-1] if marks else ""
        return HandlerCall(handling.receiver, name, count, len(marks), seconds, error, handling, raised)
    if handling.is_reliable and count > 1 and not isinstance(raised, Retry):
        count = 0  # A batch that is run again one by one is counted then.
    error = error_of(raised)
    return HandlerCall(handling.receiver, name, count, count, seconds, error, handling, raised)
