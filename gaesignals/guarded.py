"""Our loggers, made safe from what an application's logging raises.

A delivery logs a failure before it ends the message. What a filter, a handler or a factory of records raises then
would end the delivery, for this message and for all that were claimed with it.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import Any


class Guarded(logging.Logger):
    """A logger that writes to standard error what could not be logged, and why."""

    def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        try:
            return super().makeRecord(*args, **kwargs)
        except Exception:  # noqa: BLE001 - a factory of the application's
            _complain()
            name, level, file, line, message, arguments, exc_info = args[:7]
            return logging.LogRecord(name, level, file, line, message, arguments, exc_info)

    def handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except Exception:  # noqa: BLE001 - a filter or a handler of the application's
            _complain()
            if logging.lastResort is not None and record.levelno >= logging.lastResort.level:
                with suppress(Exception):
                    logging.lastResort.emit(record)


def guard(name: str) -> None:
    """Make the logger of this name one of these, whatever class the application has for loggers."""
    logger = logging.getLogger(name)
    kind = type(logger)
    if not isinstance(logger, Guarded):
        # The logger itself, since whoever has it already keeps it.
        logger.__class__ = Guarded if kind is logging.Logger else type("Guarded", (Guarded, kind), {})


def _complain() -> None:
    with suppress(Exception):
        sys.stderr.write("gaesignals: an application's logging failed\n")
        traceback.print_exc()
