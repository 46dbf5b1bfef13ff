"""How the worker logs: constant messages with fields beside them, and nothing a caller wrote unescaped."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from gaesignals.cli.text import printable
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
    """Writes a record's fields behind its message, as name=value.

    Whatever is in them, it is one line without anything that acts on a terminal, and a traceback is set in below it.
    """

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = (f"{name}={_shown(value)}" for name, value in fields_of(record).items())
        return printable(" ".join([super().formatMessage(record), *fields]))

    def formatException(self, ei: Any) -> str:
        return _set_in(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _set_in(super().formatStack(stack_info))


def _shown(value: object) -> str:
    """A value as Python writes it; what was escaped already has its quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return value if isinstance(value, str) and _is_escaped(value) else repr(value)


def _is_escaped(text: str) -> bool:
    """Whether it is exactly what `ascii` makes of a text: nothing that only looks so can pass for another field."""
    try:
        return text[:1] in "'\"" and ascii(ast.literal_eval(text)) == text
    except (SyntaxError, ValueError):
        return False


def _set_in(text: str) -> str:
    return "\n".join(f"  {printable(line)}" for line in text.split("\n"))


def enable_own_loggers() -> None:
    """Let what the application has disabled speak again: `dictConfig` disables all loggers that it does not name."""
    known = logging.root.manager.loggerDict
    disabled = [
        logger
        for name, logger in known.items()
        if isinstance(logger, logging.Logger) and logger.disabled and name.split(".")[0] == "gaesignals"
    ]
    for logger in disabled:
        logger.disabled = False
    if disabled:
        names = sorted(logger.name for logger in disabled)
        logging.getLogger("gaesignals.worker").warning(
            "loggers of gaesignals had been disabled, and are enabled again: failures would go unsaid; "
            "give logging.config.dictConfig `disable_existing_loggers: False`",
            extra={"loggers": names},
        )


def log_to_stderr(environ: Mapping[str, str], *, level: int = logging.INFO) -> None:
    """Show this process's log on standard error, where App Engine and gunicorn collect it.

    On App Engine it is JSON for Cloud Logging, elsewhere text for people. Where the application has given the root
    logger a handler of its own, as its receivers were imported, that stays the only one: no line is written twice.
    """
    logging.getLogger("urllib3.connectionpool").addFilter(_is_news)
    if environ.get("GAE_ENV") == "standard":
        log_to_cloud(project=environ.get("GOOGLE_CLOUD_PROJECT", ""), level=level)
        return
    handler = logging.StreamHandler()
    handler.setFormatter(FieldsFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def _is_news(record: logging.LogRecord) -> bool:
    """False where the SDK's pool says that it keeps ten connections and no more: that is so with every busy worker."""
    return not str(record.msg).startswith("Connection pool is full")
