"""Watching what the library does: sends, deliveries, calls of handlers and of the store; able to change none of them.

A mailbox has one observer. What an observer raises is logged and forgotten, and it cannot swallow what is raised inside
the blocks that it wraps: watching must never lose a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from types import TracebackType
from typing import Final

from .format.entries import MAX_CONTEXT_CHARACTERS
from .message import Message
from .report import DeliveryReport
from .values import value

logger = logging.getLogger("gaesignals")


@value
class Sending:
    """A send that is about to be made, of these message ids.

    `pattern` is the template that all their names were filled in from, and empty where that is not known.
    """

    ids: Sequence[str]
    pattern: str = ""


@value
class Handling:
    """A call of a handler that is about to be made.

    `pattern` is the name or template that the receiver was connected to. It is empty for a plain pair, whose name may
    have been made at run time. `waited_seconds` has one number a message, from its sending until now, or from when it
    was due if it was for later.
    """

    receiver: str
    messages: Sequence[Message]
    pattern: str = ""
    is_reliable: bool = False
    is_batch: bool = False
    waited_seconds: Sequence[float] = ()


@value
class HandlerCall:
    """One call of a handler: of which receiver, with how many messages of which name, and what became of it.

    `failed` of the `count` messages failed or are to be retried; `error` is the last one's. `seconds` is how long the
    handler took. `handling` is what the observer was told before, `raised` what the handler raised, if it did.
    """

    receiver: str
    name: str
    count: int
    failed: int
    seconds: float
    error: str = ""
    handling: Handling | None = field(default=None, repr=False, compare=False)
    raised: Exception | None = field(default=None, repr=False, compare=False)


@value
class Judged:
    """What becomes of messages of one name that did not go well: the receiver of each that is to be run again, that
    became a dead letter, that was too old for it. A receiver stands there once for each message.
    """

    name: str
    retried: Sequence[str] = ()
    dead: Sequence[str] = ()
    expired: Sequence[str] = ()


_NO_BLOCK: Final[AbstractContextManager[object]] = nullcontext()


class Observer:
    """Does nothing. Override what is to be watched; the methods may be called in several threads at once.

    The blocks of `sending`, `delivering` and `handling` are left in the thread or task that entered them, and may hold
    an `await`.
    """

    def is_listening(self) -> bool:
        """Whether anything would come of telling this one now; asked at the beginning of each send and delivery."""
        return True

    def sending(self, sending: Sending) -> AbstractContextManager[object]:
        """Return a block around a send, which raises inside it if it fails."""
        return _NO_BLOCK

    def context(self) -> str:
        """Return the trace context that a message sent now carries, or an empty text; asked inside `sending`."""
        return ""

    def sent(self, names: Sequence[str]) -> None:
        """A send has stored messages: one for each of these names; told inside `sending`."""

    def replaced(self, names: Sequence[str]) -> None:
        """A send took the place of older messages, one for each of these names; told inside `sending`."""

    def brought(self, names: Sequence[str]) -> None:
        """Durable messages that the store had forgotten were brought back: one for each of these names."""

    def delivering(self) -> AbstractContextManager[object]:
        """Return a block around a delivery."""
        return _NO_BLOCK

    def claimed(self, counts: Mapping[str, int]) -> None:
        """A delivery has so many messages of each name to run next; told inside `delivering`."""

    def judged(self, judged: Judged) -> None:
        """It is known what becomes of messages that did not go well; told inside `delivering`."""

    def round_ended(self) -> None:
        """A delivery is done with all that it had claimed, and may claim more; told inside `delivering`."""

    def delivered(self, report: DeliveryReport) -> None:
        """A delivery ended; told inside `delivering`."""

    def handling(self, handling: Handling) -> AbstractContextManager[object]:
        """Return a block around a call of a handler, which raises inside it if it fails."""
        return _NO_BLOCK

    def handled(self, call: HandlerCall) -> None:
        """A handler returned or raised; told inside `handling`."""

    def called(self, verb: str) -> None:
        """The store was called: `gets`, `write` or `delete`."""


NOBODY: Final = Observer()
"""Stands for observers of whom none is listening, so that nothing has to be made for them."""


class Observers(Observer):
    """Tells several observers, each whatever the others do."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def listening(self) -> Observer:
        """Those who listen now: these, or `NOBODY`."""
        return self if self.is_listening() else NOBODY

    def is_listening(self) -> bool:
        for observer in self._observers:
            try:
                if observer.is_listening():
                    return True
            except Exception:
                logger.exception("an observer failed")
                return True
        return False

    def sending(self, sending: Sending) -> AbstractContextManager[object]:
        return _Blocks(self._observers, lambda observer: observer.sending(sending))

    def sent(self, names: Sequence[str]) -> None:
        self._tell(lambda observer: observer.sent(names))

    def replaced(self, names: Sequence[str]) -> None:
        self._tell(lambda observer: observer.replaced(names))

    def brought(self, names: Sequence[str]) -> None:
        self._tell(lambda observer: observer.brought(names))

    def context(self) -> str:
        """The first one's that has one which can be stored."""
        for observer in self._observers:
            try:
                context = observer.context()
                if context and len(context) <= MAX_CONTEXT_CHARACTERS and context.isascii():
                    return str(context)
            except Exception:
                logger.exception("an observer failed")
        return ""

    def delivering(self) -> AbstractContextManager[object]:
        return _Blocks(self._observers, lambda observer: observer.delivering())

    def claimed(self, counts: Mapping[str, int]) -> None:
        self._tell(lambda observer: observer.claimed(counts))

    def judged(self, judged: Judged) -> None:
        self._tell(lambda observer: observer.judged(judged))

    def round_ended(self) -> None:
        self._tell(lambda observer: observer.round_ended())

    def delivered(self, report: DeliveryReport) -> None:
        self._tell(lambda observer: observer.delivered(report))

    def handling(self, handling: Handling) -> AbstractContextManager[object]:
        return _Blocks(self._observers, lambda observer: observer.handling(handling))

    def handled(self, call: HandlerCall) -> None:
        self._tell(lambda observer: observer.handled(call))

    def called(self, verb: str) -> None:
        for observer in self._observers:
            try:
                observer.called(verb)
            except Exception:
                logger.exception("an observer failed")

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                logger.exception("an observer failed")


class _Blocks:
    """The blocks of several observers, left in reverse order. None of them can fail or swallow what is inside."""

    def __init__(
        self, observers: Sequence[Observer], block_of: Callable[[Observer], AbstractContextManager[object]]
    ) -> None:
        self._observers = observers
        self._block_of = block_of
        self._entered: list[AbstractContextManager[object]] = []

    def __enter__(self) -> None:
        for observer in self._observers:
            try:
                block = self._block_of(observer)
                block.__enter__()
            except Exception:
                logger.exception("an observer failed")
            else:
                self._entered.append(block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for block in reversed(self._entered):
            try:
                block.__exit__(kind, error, traceback)
            except Exception:
                logger.exception("an observer failed")
