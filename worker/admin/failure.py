"""A change that a person asked for and that the store did not take, or took in part."""

from __future__ import annotations

import logging

from werkzeug.wrappers import Response

from gaesignals.errors import LeftAloneError, StoreError

from ..access.callers import caller
from ..answer import refuse
from ..log import escaped

logger = logging.getLogger("gaesignals.worker")


def failed_change(what: str, error: StoreError, *, done: str = "") -> Response:
    """503 with what is known of how far it came: our errors say it, and hold nothing of a message.

    `done` is what came before. Where a later version has stored it, nothing was done, which the worker answers.
    """
    if isinstance(error, LeftAloneError):
        raise error
    logger.error(what, extra={"detail": str(error), "caller": escaped(caller())})
    return refuse(503, f"The store failed: {error}{done}", heading="The store failed.")
