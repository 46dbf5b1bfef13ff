"""Deaths: a message that became a dead letter is logged, and handed to the application's `on_dead`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from contextvars import copy_context
from typing import Final

from gaesignals.format.letter import DeadLetter
from gaesignals.limits import LEASE_SECONDS, handler_seconds
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.message import Message
from gaesignals.ndb import own_contexts
from gaesignals.observing import Judged
from gaesignals.receivers import OnDead, Receivers
from gaesignals.report import DeliveryReport

from .coroutines import Coroutines
from .results import finish

logger = logging.getLogger("gaesignals")


# No lease waits for it, so it may take as long as a handler with a usual one.
_TELL_SECONDS: Final = handler_seconds(LEASE_SECONDS)


def announce_each(name: str, letters: Sequence[DeadLetter], receivers: Receivers, mailbox: Mailbox) -> None:
    """Log and tell deaths that came outside a delivery: a person made dead letters of messages.

    Observers are told as by a delivery that ran nothing, so these deaths are counted as any others are.
    """
    if not letters:
        return
    observer = mailbox.observer.listening()
    with (
        observer.delivering(),
        use_mailbox(mailbox),
        closing(Coroutines(limit_seconds=_TELL_SECONDS)) as coroutines,
    ):
        observer.judged(Judged(name, dead=[receiver for letter in letters for receiver in letter.receivers]))
        for letter in letters:
            announce(name, letter, receivers, mailbox, coroutines)
        observer.delivered(DeliveryReport(dead=len({letter.id for letter in letters})))


def announce(name: str, letter: DeadLetter, receivers: Receivers, mailbox: Mailbox, coroutines: Coroutines) -> None:
    """Log one death and tell `on_dead`, whose failure is logged and nothing else."""
    fields = {
        "signals_name": ascii(name),
        "signals_message": letter.id,
        "signals_receiver": ",".join(letter.receivers),
        "signals_attempt": letter.attempt,
    }
    logger.error("a message is dead", extra=fields)
    if receivers.on_dead is None:
        return
    try:
        with mailbox.namespaces.using(letter.record.namespace):
            message = _message(name, letter, receivers)
            copy_context().run(_tell, receivers.on_dead, message, letter.error, coroutines)
    except Exception:
        logger.exception("on_dead failed", extra=fields)


def _tell(on_dead: OnDead, message: Message, error: str, coroutines: Coroutines) -> None:
    with own_contexts():
        finish(on_dead(message, error), coroutines)


def _message(name: str, letter: DeadLetter, receivers: Receivers) -> Message:
    """The message as its receiver got it; one that cannot be decoded has None for its data."""
    record = letter.record
    mine = [match.receiver for match in receivers.matching(name) if match.receiver.id in letter.receivers]
    try:
        data = mine[0].load(record.payload) if mine else letter.data
    except Exception:  # noqa: BLE001 - a declared type is the application's code
        data = None
    return Message(record.id, name, data, record.sent_us, record.attempt, record.namespace, context=record.context)
