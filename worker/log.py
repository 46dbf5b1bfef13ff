"""How the worker logs: constant messages with fields beside them, and nothing a caller wrote unescaped."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from gaesignals.cloudlog import fields_of, log_to_cloud

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
        fields = (f"{name}={value!r}" for name, value in fields_of(record).items())
        return " ".join([super().formatMessage(record), *fields])


def log_to_stderr(environ: Mapping[str, str], *, level: int = logging.INFO) -> None:
    """Show this process's log on standard error, where App Engine and gunicorn collect it; once is enough.

    On App Engine it is JSON for Cloud Logging, elsewhere text for people.
    """
    if environ.get("GAE_ENV") == "standard":
        log_to_cloud(project=environ.get("GOOGLE_CLOUD_PROJECT", ""), level=level)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(FieldsFormatter())
    logging.basicConfig(level=level, handlers=[handler])
