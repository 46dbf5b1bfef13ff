"""The log: fields are shown beside the message, and cannot forge lines."""

from __future__ import annotations

import logging

from worker.log import FieldsFormatter, escaped, escaped_names


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
