"""Rescuing: what a task does whose messages memcache may have forgotten, or never had.

The task goes away only when its messages are done or are in memcache with a task of their own. Whatever is not certain
lets it come again.
"""

from __future__ import annotations

import enum
import logging

from gaesignals.errors import DecodeError, NewerFormatError, SendError
from gaesignals.format.rescue import Rescue

from .box import Mailbox

logger = logging.getLogger("gaesignals")


class Answer(enum.Enum):
    """What becomes of a rescue task, as an HTTP status.

    `KEPT` has the queue try the same task again later without slowing down; `AWAY` says that a service is away.
    """

    DONE = 200
    UNREADABLE = 400
    KEPT = 425
    AWAY = 503


def rescue(mailbox: Mailbox, body: bytes) -> Answer:
    """Do what the task with this body is for."""
    try:
        found = Rescue.from_bytes(body)
    except NewerFormatError:
        # A newer worker will read it, when the rollout is over.
        logger.warning("a rescue task of a later version of gaesignals")
        return Answer.AWAY
    except DecodeError as error:
        logger.error("a rescue task that cannot be read", extra={"signals_error": str(error)})
        return Answer.UNREADABLE
    try:
        mailbox.send_records(found.messages)
    except SendError as error:
        logger.warning(
            "a rescue task could not bring its messages",
            extra={"signals_error": str(error), "signals_count": len(found.messages)},
        )
        return Answer.AWAY
    return Answer.DONE
