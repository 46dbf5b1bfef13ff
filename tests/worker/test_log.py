"""The log: fields are shown beside the message, and cannot forge lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from worker.log import FieldsFormatter, escaped, escaped_names, log_to_stderr


def record(message: str = "task done", **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "gaesignals.worker", "levelname": "INFO", "msg": message})
    vars(made).update(fields)
    return made


def test_fields_are_written_behind_the_message() -> None:
    line = FieldsFormatter().format(record(delivered=3, signals_names=["'a'"]))
    assert line == """INFO gaesignals.worker: task done delivered=3 signals_names=["'a'"]"""


def test_a_message_without_fields_is_written_alone() -> None:
    assert FieldsFormatter().format(record()) == "INFO gaesignals.worker: task done"


def test_a_field_cannot_begin_a_line() -> None:
    assert "\n" not in FieldsFormatter().format(record(detail="a\nERROR forged"))


def test_a_traceback_follows_the_fields() -> None:
    try:
        raise ValueError("why")
    except ValueError as error:
        line = FieldsFormatter().format(record(count=1, exc_info=(type(error), error, error.__traceback__)))
    assert line.splitlines()[0].endswith("task done count=1")
    assert line.splitlines()[-1] == "ValueError: why"


def test_names_are_escaped_and_cut() -> None:
    assert escaped("a\n\x1b[31m字") == r"'a\n\x1b[31m\u5b57'"
    assert len(escaped("a" * 10_000)) == 202
    assert escaped_names(str(number) for number in range(1000)) == [repr(str(number)) for number in range(10)]


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, which is set up as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_log_is_json_on_app_engine_and_text_elsewhere(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    for environ in ({"GAE_ENV": "localdev"}, {"GAE_ENV": "standard", "GOOGLE_CLOUD_PROJECT": "shop-1"}):
        root.handlers.clear()
        log_to_stderr(environ)
        root.info("up")
    text, line = capsys.readouterr().err.splitlines()
    assert text == "INFO root: up"
    assert json.loads(line)["severity"] == "INFO"
