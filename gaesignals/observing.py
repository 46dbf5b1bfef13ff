"""Watching what the library does: told of each send, call of a handler and delivery, and able to change none of them.

A mailbox has one observer. What an observer raises is logged and forgotten: watching must never lose a message.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from .report import DeliveryReport

logger = logging.getLogger("gaesignals")


@dataclass(frozen=True, slots=True)
class HandlerCall:
    """One call of a handler: of which receiver, with how many messages of which name, and what became of it.

    `failed` of the `count` messages failed or are to be retried; `error` is the last one's. `seconds` is how long the
    handler took.
    """

    receiver: str
    name: str
    count: int
    failed: int
    seconds: float
    error: str = ""


class Observer:
    """Does nothing. Override what is to be watched; the methods may be called in several threads at once."""

    def sent(self, names: Sequence[str]) -> None:
        """A send has stored messages: one for each of these names."""

    def handled(self, call: HandlerCall) -> None:
        """A handler returned or raised."""

    def delivered(self, report: DeliveryReport) -> None:
        """A delivery ended."""


class Observers(Observer):
    """Tells several observers, each whatever the others do."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def sent(self, names: Sequence[str]) -> None:
        for observer in self._observers:
            try:
                observer.sent(names)
            except Exception:
                logger.exception("an observer failed")

    def handled(self, call: HandlerCall) -> None:
        for observer in self._observers:
            try:
                observer.handled(call)
            except Exception:
                logger.exception("an observer failed")

    def delivered(self, report: DeliveryReport) -> None:
        for observer in self._observers:
            try:
                observer.delivered(report)
            except Exception:
                logger.exception("an observer failed")
