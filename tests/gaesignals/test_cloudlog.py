"""Logs are a JSON object a line, grouped by request and by trace, whatever is in them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from gaesignals import Signal, deliver
from gaesignals.cloudlog import CloudFormatter, RequestTrace
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.telemetry.spans import Telemetry
from gaesignals.testing import MemoryStore

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


class Lines(logging.Handler):
    """What a logger's records are written as."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(CloudFormatter(project="shop-1"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def entry(self) -> dict[str, Any]:
        (line,) = self.lines
        assert len(line.splitlines()) == 1
        found: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
        return found


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


logger = logging.getLogger("tests.cloudlog")
logger.setLevel(logging.DEBUG)


def answer(headers: dict[str, str], app: Callable[..., list[bytes]] | None = None) -> None:
    """Let an application log a line inside a request with these headers."""

    def log(environ: object, start_response: object) -> list[bytes]:
        logger.info("answered")
        return []

    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    RequestTrace(app or log)(environ, lambda *rest: lambda data: None)  # type: ignore[arg-type, return-value]


def test_a_line_has_what_cloud_logging_reads(lines: Lines) -> None:
    logger.warning("task done", extra={"signals_count": 3, "signals_names": ["'a'"]})
    entry = lines.entry
    assert (entry["severity"], entry["message"], entry["logger"]) == ("WARNING", "task done", "tests.cloudlog")
    assert entry["fields"] == {"signals_count": 3, "signals_names": ["'a'"]}
    assert entry["time"].endswith("+00:00")
    where = entry["logging.googleapis.com/sourceLocation"]
    assert where["function"] == "test_a_line_has_what_cloud_logging_reads"
    assert "logging.googleapis.com/trace" not in entry
    assert "stack_trace" not in entry


def test_what_googles_handlers_read_from_extra_goes_where_cloud_logging_looks_for_it(lines: Lines) -> None:
    logger.info(
        "paid",
        extra={
            "labels": {"tenant": 7, "plan": "free"},
            "json_fields": {"order": 12, "items": ["a"], "severity": "EMERGENCY", "message": "forged"},
            "http_request": {"requestMethod": "GET", "status": 200},
            "mine": 1,
        },
    )
    entry = lines.entry
    assert entry["logging.googleapis.com/labels"] == {"tenant": "7", "plan": "free"}
    assert entry["httpRequest"] == {"requestMethod": "GET", "status": 200}
    assert (entry["order"], entry["items"], entry["fields"]) == (12, ["a"], {"mine": 1})
    assert (entry["severity"], entry["message"]) == ("INFO", "paid")


def test_a_field_that_is_only_called_like_googles_stays_a_field(lines: Lines) -> None:
    logger.info("paid", extra={"labels": ["a"], "json_fields": "b", "http_request": None})
    assert lines.entry["fields"] == {"labels": ["a"], "json_fields": "b", "http_request": None}


@pytest.mark.parametrize(
    ("level", "severity"),
    [(5, "DEFAULT"), (10, "DEBUG"), (20, "INFO"), (25, "INFO"), (40, "ERROR"), (50, "CRITICAL"), (60, "CRITICAL")],
)
def test_levels_become_severities(level: int, severity: str) -> None:
    made = logging.makeLogRecord({"levelno": level, "levelname": "a team's own", "msg": "x"})
    assert json.loads(CloudFormatter().format(made))["severity"] == severity


@pytest.mark.parametrize(
    ("headers", "span", "is_sampled"),
    [
        ({"X-Cloud-Trace-Context": f"{TRACE}/{int(SPAN, 16)};o=1"}, SPAN, True),
        ({"X-Cloud-Trace-Context": f"{TRACE}/1;o=0"}, "0000000000000001", False),
        ({"X-Cloud-Trace-Context": TRACE}, None, False),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, SPAN, True),
        ({"traceparent": f"00-{'1' * 32}-{SPAN}-00", "X-Cloud-Trace-Context": f"{TRACE}/1"}, "0000000000000001", False),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00", "X-Cloud-Trace-Context": "nonsense"}, SPAN, False),
    ],
)
def test_a_line_belongs_to_its_request(
    lines: Lines, headers: dict[str, str], span: str | None, is_sampled: bool
) -> None:
    answer(headers)
    entry = lines.entry
    assert entry["logging.googleapis.com/trace"] == f"projects/shop-1/traces/{TRACE}"
    assert entry.get("logging.googleapis.com/spanId") == span
    assert entry["logging.googleapis.com/trace_sampled"] is is_sampled


@pytest.mark.parametrize(
    "header", ["", "x", f"{TRACE}\n{{}}", "0" * 32, f"{TRACE}/9;o=1\n", f"{TRACE}/{'9' * 400}"], ids=repr
)
def test_a_header_that_is_none_is_ignored(lines: Lines, header: str) -> None:
    answer({"X-Cloud-Trace-Context": header, "traceparent": header})
    assert "logging.googleapis.com/trace" not in lines.entry


def test_a_trace_ends_with_its_request(lines: Lines) -> None:
    def fail(environ: object, start_response: object) -> list[bytes]:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        answer({"X-Cloud-Trace-Context": TRACE}, fail)
    logger.info("later")
    assert "logging.googleapis.com/trace" not in lines.entry


def test_what_a_handler_logs_belongs_to_its_span_and_names_its_request(lines: Lines) -> None:
    provider = TracerProvider()
    spans = provider.get_tracer("test")
    with use_mailbox(Mailbox(MemoryStore(), observer=Telemetry(tracer_provider=provider))):
        with spans.start_as_current_span("request") as span:
            Signal("a").send()

        def work(environ: object, start_response: object) -> list[bytes]:
            deliver([("a", lambda data: logger.info("handled"))])
            return []

        answer({"X-Cloud-Trace-Context": f"{TRACE}/1"}, work)
    entry = lines.entry
    assert entry["logging.googleapis.com/trace"].endswith(f"/{span.get_span_context().trace_id:032x}")
    assert len(entry["logging.googleapis.com/spanId"]) == 16
    assert entry["request_trace"] == f"projects/shop-1/traces/{TRACE}"


def test_an_exception_is_where_error_reporting_looks_for_it(lines: Lines) -> None:
    try:
        raise ValueError("line\nbreak \u2028 字")
    except ValueError:
        logger.exception("a handler failed", stack_info=True)
    stack = lines.entry["stack_trace"]
    assert stack.startswith("Traceback (most recent call last):\n")
    assert "ValueError: line\nbreak \u2028 字\nStack (most recent call last):" in stack


def test_a_long_traceback_keeps_both_ends(lines: Lines) -> None:
    try:
        raise ValueError("x" * 100_000 + " the end")
    except ValueError:
        logger.exception("a handler failed")
    stack = lines.entry["stack_trace"]
    assert len(stack) < 31_000
    assert stack.startswith("Traceback")
    assert stack.endswith(" the end")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), "nan"),
        (10**30, str(10**30)),
        (b"\xff", "b'\\xff'"),
        ("\ud800\n\x1b", "\\ud800\n\x1b"),
        ({1: {"a": {"b": {"c": {}}}}}, {"1": {"a": {"b": "{'c': {}}"}}}),
        ((1, None, True, 1.5), [1, None, True, 1.5]),
        (Unprintable(), "a Unprintable that str() fails for"),
        ("x" * 40_000, "x" * 30_000 + "..."),
        (list(range(1000)), list(range(100))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_field_of_any_type_can_be_written(lines: Lines, value: object, written: object) -> None:
    logger.info("x", extra={"value": value})
    assert lines.entry["fields"] == {"value": written}


def test_a_field_cannot_pass_for_one_of_cloud_loggings_own(lines: Lines) -> None:
    logger.info("x\n{}", extra={"severity": "ERROR", "logging.googleapis.com/trace": "forged"})
    assert lines.entry["severity"] == "INFO"
    assert "logging.googleapis.com/trace" not in lines.entry


def test_arguments_that_do_not_fit_the_message_lose_no_line() -> None:
    made = logging.makeLogRecord({"levelno": 20, "msg": "%d of %d", "args": ("x",)})
    assert json.loads(CloudFormatter().format(made))["message"] == "%d of %d"


def test_log_to_cloud_sets_up_the_process() -> None:
    program = "import logging; from gaesignals.cloudlog import log_to_cloud; log_to_cloud(); logging.info('up %d', 1)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stderr)["message"] == "up 1"
