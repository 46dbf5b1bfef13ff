"""Logs as Cloud Logging reads them: a JSON object a line, grouped by request and by trace.

`CloudFormatter` writes the lines, `RequestTrace` remembers the trace of each request. Neither adds anything that was
not logged: a message stays as it is written, fields are made text where JSON has no type for them, and a line break
anywhere in them cannot begin a line. An exception is written where Error Reporting looks for it, and the `labels`,
`json_fields` and `http_request` of Google's own handlers where Cloud Logging does.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from .raised import text_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SEVERITIES: Final = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (10, "DEBUG"))
_SPECIAL: Final = "logging.googleapis.com/"
_MAX_CHARACTERS: Final = 30_000  # an entry may have 256 KB
_MAX_ITEMS: Final = 100
_MAX_DEPTH: Final = 4

_CLOUD_TRACE: Final = re.compile(r"((?!0{32})[0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([01]))?")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


@dataclass(frozen=True, slots=True)
class _Trace:
    """Where a line belongs. `span_id` has sixteen hexadecimal digits or is empty."""

    id: str
    span_id: str = ""
    is_sampled: bool = False


_request: ContextVar[_Trace | None] = ContextVar("gaesignals_request_trace", default=None)


class RequestTrace:
    """WSGI middleware: what is logged while `app` answers carries the trace of the request.

    It is read from `X-Cloud-Trace-Context`, which App Engine sets and logs the request under, or else from
    `traceparent`. What is logged while a streamed body is sent is not covered.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        token = _request.set(_request_trace(environ))
        try:
            return self._app(environ, start_response)
        finally:
            _request.reset(token)


class CloudFormatter(logging.Formatter):
    """Writes a record as one line of JSON. `project` is the project's id, which traces are named with."""

    def __init__(self, *, project: str = "") -> None:
        super().__init__()
        self._prefix = f"projects/{project}/traces/" if project else ""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "severity": next((name for least, name in _SEVERITIES if record.levelno >= least), "DEFAULT"),
            "message": _cut(_message(record)),
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "logger": record.name,
            f"{_SPECIAL}sourceLocation": {
                "file": record.pathname,
                "line": str(record.lineno),
                "function": record.funcName,
            },
            **self._trace(),
        }
        fields = fields_of(record)
        entry |= _for_google(fields, entry)
        if fields:
            entry["fields"] = _plain(fields)
        stack = self._stack(record)
        if stack:
            entry["stack_trace"] = stack
        return json.dumps(entry)

    def _trace(self) -> dict[str, object]:
        """The current span's, and else the request's; the request's own stays a field where they differ."""
        request = _request.get()
        found = _span_trace() or request
        if found is None:
            return {}
        entry: dict[str, object] = {f"{_SPECIAL}trace": self._prefix + found.id}
        if found.span_id:
            entry[f"{_SPECIAL}spanId"] = found.span_id
        entry[f"{_SPECIAL}trace_sampled"] = found.is_sampled
        if request is not None and request.id != found.id:
            entry["request_trace"] = self._prefix + request.id
        return entry

    def _stack(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        parts += [record.stack_info] if record.stack_info else []
        text = text_of("\n".join(parts))
        # Error Reporting needs the first line, and a reader the last ones.
        half = _MAX_CHARACTERS // 2
        return text if len(text) <= _MAX_CHARACTERS else f"{text[:half]}\n...\n{text[-half:]}"


def log_to_cloud(*, project: str = "", level: int = logging.INFO) -> None:
    """Write this process's log to standard error as Cloud Logging reads it, unless it is set up already."""
    handler = logging.StreamHandler()
    handler.setFormatter(CloudFormatter(project=project))
    logging.basicConfig(level=level, handlers=[handler])


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was logged beside the message, as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _for_google(fields: dict[str, Any], entry: Mapping[str, object]) -> dict[str, object]:
    """Take out of `fields` what Google's own handlers read from `extra`; return it as Cloud Logging looks for it."""
    found: dict[str, object] = {}
    if isinstance(fields.get("json_fields"), Mapping):
        own = _mapping(fields.pop("json_fields"))
        found |= {name: value for name, value in own.items() if name not in entry}
    if isinstance(fields.get("labels"), Mapping):
        found[f"{_SPECIAL}labels"] = {
            name: _cut(text_of(value)) for name, value in _mapping(fields.pop("labels")).items()
        }
    if isinstance(fields.get("http_request"), Mapping):
        found["httpRequest"] = _mapping(fields.pop("http_request"))
    return found


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit are what the line is about, and no reason to lose it
        return text_of(record.msg)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _plain(value: object, depth: int = 0) -> object:
    """`value` in JSON's types, bounded in size and depth."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and value.bit_length() < 64):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return _mapping(value, depth)
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
    return _cut(text_of(value))


def _mapping(value: Mapping[Any, Any], depth: int = 0) -> dict[str, object]:
    items = list(value.items())[:_MAX_ITEMS]
    return {_cut(text_of(name)): _plain(item, depth + 1) for name, item in items}


def _request_trace(environ: WSGIEnvironment) -> _Trace | None:
    cloud = _CLOUD_TRACE.fullmatch(environ.get("HTTP_X_CLOUD_TRACE_CONTEXT", ""))
    if cloud:
        # Cloud Logging wants the span in hexadecimal digits, and the header has it in decimal ones.
        span_id = f"{int(cloud[2] or 0) & (2**64 - 1):016x}"
        return _Trace(cloud[1].lower(), span_id if int(span_id, 16) else "", cloud[3] == "1")
    parent = _TRACEPARENT.fullmatch(environ.get("HTTP_TRACEPARENT", ""))
    return _Trace(parent[1], parent[2], bool(int(parent[3], 16) & 1)) if parent else None


def _span_trace() -> _Trace | None:
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return _Trace(
        trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id), context.trace_flags.sampled
    )
