"""How the worker logs: constant messages with fields beside them, and nothing a caller wrote unescaped."""

from __future__ import annotations

import logging
from collections.abc import Iterable

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_CHARACTERS = 200
_MAX_NAMES = 10


def escaped(text: str) -> str:
    """`text` in printable ASCII, cut to a readable length: for names and paths, which may hold anything."""
    return ascii(text[:_MAX_CHARACTERS])


def escaped_names(names: Iterable[str]) -> list[str]:
    """The first few of `names`, escaped."""
    return [escaped(name) for name, _ in zip(names, range(_MAX_NAMES), strict=False)]


class FieldsFormatter(logging.Formatter):
    """Writes a record's fields behind its message, as name=value."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = (f"{name}={value!r}" for name, value in vars(record).items() if name not in _STANDARD)
        return " ".join([super().formatMessage(record), *fields])


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show this process's log on standard error, where App Engine and gunicorn collect it; once is enough."""
    handler = logging.StreamHandler()
    handler.setFormatter(FieldsFormatter())
    logging.basicConfig(level=level, handlers=[handler])
