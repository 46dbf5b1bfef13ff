"""Tells which signal went where: a line for each send and for each delivery that did something, in the service's log.

A line names at most a few signals and never has a payload in it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from gaesignals.errors import SignalsError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import current_mailbox
from gaesignals.observing import HandlerCall, Observer, Observers
from gaesignals.report import DeliveryReport

from .console import print_line

_MAX_NAMED = 4
_MAX_ERROR_CHARACTERS = 200


class Narrator(Observer):
    """Writes the lines; safe in threads, each of which makes its deliveries one after the other."""

    def __init__(self, tell: Callable[[str], None] = print_line) -> None:
        self._tell = tell
        self._here = threading.local()

    def sent(self, names: Sequence[str]) -> None:
        self._tell(f"sent {_counted(names)}")

    def replaced(self, names: Sequence[str]) -> None:
        self._tell(f"replaced {_counted(names)}")

    def handled(self, call: HandlerCall) -> None:
        self._handled[call.name, call.receiver] += call.count - call.failed

    def delivered(self, report: DeliveryReport) -> None:
        handled = self._handled
        self._here.handled = Counter()
        if not report.is_idle:
            self._tell("; ".join(part for part in (_went(handled), _counts(report), _first_error(report)) if part))

    @property
    def _handled(self) -> Counter[tuple[str, str]]:
        if not hasattr(self._here, "handled"):
            self._here.handled = Counter()
        handled: Counter[tuple[str, str]] = self._here.handled
        return handled


def narrate(app: object) -> None:
    """Tell of the sends and deliveries of this process, and of those of `app` if it is a worker's."""
    narrator = Narrator()
    try:
        mailboxes = [current_mailbox()]
    except SignalsError as error:
        print_line(str(error))
        return
    own = getattr(app, "extensions", {}).get("gaesignals")
    for mailbox in [*mailboxes, *([own] if isinstance(own, Mailbox) else [])]:
        mailbox.observer = Observers([mailbox.observer, narrator])


def _went(handled: Counter[tuple[str, str]]) -> str:
    return (
        "delivered "
        + _listed(f"{_times(count, name)} to {receiver}" for (name, receiver), count in handled.items() if count)
        if any(handled.values())
        else ""
    )


def _counts(report: DeliveryReport) -> str:
    counts = {
        "failed": report.failed,
        "to be tried again": report.retried,
        "dead": report.dead,
        "lost": report.lost,
        "taken over by others": report.overtaken,
        "too old": report.expired,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _first_error(report: DeliveryReport) -> str:
    if not report.errors:
        return ""
    first = report.errors[0]
    said = " ".join(first.error.split())[:_MAX_ERROR_CHARACTERS]
    return f"{first.name}: {said}" + (f" ({first.receiver})" if first.receiver else "")


def _counted(names: Iterable[str]) -> str:
    return _listed(_times(count, name) for name, count in Counter(names).items())


def _times(count: int, name: str) -> str:
    return f"{count} × {name}"


def _listed(items: Iterable[str]) -> str:
    listed = list(items)
    rest = len(listed) - _MAX_NAMED
    return ", ".join(listed[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
