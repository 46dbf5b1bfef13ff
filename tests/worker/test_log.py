"""The log: fields are shown beside the message, and cannot forge lines."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaesignals import Receivers
from gaesignals.testing import MemoryStore
from worker.app import create_app
from worker.config import Settings
from worker.log import FieldsFormatter, enable_own_loggers, escaped, escaped_names, log_to_stderr

from .recording_queue import RecordingQueue
from .serving import GOOD, ROOT


def record(message: str = "task done", **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "gaesignals.worker", "levelname": "INFO", "msg": message})
    vars(made).update(fields)
    return made


def test_fields_are_written_behind_the_message() -> None:
    line = FieldsFormatter().format(record(delivered=3, signals_names=["'a'"]))
    assert line == "INFO gaesignals.worker: task done delivered=3 signals_names=['a']"


@pytest.mark.parametrize("text", ["a", "it's", "a\n\x1b[31m字", "", '"', "\\"])
def test_what_was_escaped_is_quoted_once(text: str) -> None:
    line = FieldsFormatter().format(record(signals_name=escaped(text)))
    assert line == f"INFO gaesignals.worker: task done signals_name={text!a}"


@pytest.mark.parametrize("text", ["'a' forged=1 'b'", "'a' 'b'", "'a", "'a'\n", "", "'\\u0061'", "b'a'"])
def test_what_only_looks_escaped_is_quoted(text: str) -> None:
    line = FieldsFormatter().format(record(detail=text))
    assert line.startswith(f"INFO gaesignals.worker: task done detail={text!r}"[:50])
    assert not line.endswith(f"detail={text}")


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
    assert line.splitlines()[-1] == "  ValueError: why"


ODD = "a\nERROR forged\x1b[31m\u202e"


def test_nothing_in_a_line_acts_on_a_terminal_or_begins_another() -> None:
    try:
        raise ValueError(ODD)
    except ValueError as error:
        made = record(ODD, detail=ODD, exc_info=(type(error), error, error.__traceback__), stack_info=ODD)
    first, *rest = FieldsFormatter().format(made).split("\n")
    assert first.startswith(r"INFO gaesignals.worker: a\nERROR forged\x1b[31m\u202e detail=")
    assert all(line.startswith("  ") for line in rest)
    assert all(line.isprintable() for line in (first, *rest))
    assert r"  ERROR forged\x1b[31m\u202e" in rest


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


def test_that_the_sdk_closes_its_eleventh_connection_is_no_news_and_other_trouble_of_it_is(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    root.handlers.clear()
    log_to_stderr({})
    pool = logging.getLogger("urllib3.connectionpool")
    pool.warning("Connection pool is full, discarding connection: %s. Connection pool size: %s", "127.0.0.1", 10)
    pool.warning("Retrying (%r) after connection broken by '%r': %s", 2, "reset", "/rpc_http")
    assert capsys.readouterr().err.startswith("WARNING urllib3.connectionpool: Retrying")


@pytest.fixture
def own_loggers() -> Iterator[list[logging.Logger]]:
    loggers = [logging.getLogger(name) for name in ("gaesignals", "gaesignals.worker")]
    yield loggers
    for logger in loggers:
        logger.disabled = False


def test_loggers_that_an_application_disabled_are_enabled_again_and_that_is_said(
    own_loggers: list[logging.Logger], caplog: pytest.LogCaptureFixture
) -> None:
    others = logging.getLogger("gaesignalsish"), logging.getLogger("shop")
    for logger in (*own_loggers, *others):
        logger.disabled = True
    create_app(Settings(), receivers=Receivers(), store=MemoryStore(), queue=RecordingQueue())
    assert not any(logger.disabled for logger in own_loggers)
    assert all(logger.disabled for logger in others)
    (said,) = caplog.records
    assert "disable_existing_loggers" in said.getMessage()
    assert said.__dict__["loggers"] == ["gaesignals", "gaesignals.worker"]
    caplog.clear()
    enable_own_loggers()
    assert caplog.records == []


TEAMS = {
    "dictConfig": """
        logging.config.dictConfig({
            "version": 1,
            "formatters": {"team": {"format": "TEAM %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "team"}},
            "root": {"handlers": ["stderr"], "level": "INFO"},
        })
    """,
    "basicConfig": "logging.basicConfig(format='TEAM %(message)s', level=logging.INFO)",
}
MAIN = """
import logging, os
from gaesignals.testing import MemoryStore
from gaesignals import Signal, deliver
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from worker.main import app
import team_receivers
with use_mailbox(Mailbox(MemoryStore())):
    Signal("broken").send(1)
    deliver(team_receivers.receivers, names=["broken"])
logging.getLogger("gaesignals.worker").info("task done")
"""


@pytest.mark.parametrize("set_up", TEAMS.values(), ids=TEAMS)
@pytest.mark.parametrize("environment", ["standard", "localdev"])
def test_a_log_that_a_team_set_up_is_the_only_one_and_has_our_lines(
    tmp_path: Path, set_up: str, environment: str
) -> None:
    (tmp_path / "team_receivers.py").write_text(
        "import logging, logging.config\nfrom gaesignals import Receivers\n"
        f"receivers = Receivers()\n{textwrap.dedent(set_up)}\n"
        "@receivers.receiver('broken', reliable=True, max_attempts=1)\n"
        "def broken(data): raise ValueError('no tax number')\n"
    )
    environ = {**os.environ, **GOOD, "GAE_ENV": environment, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    del environ["CLOUD_TASKS_EMULATOR_HOST"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAIN],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stderr.splitlines()
    assert [line for line in lines if "task done" in line] == ["TEAM task done"]
    assert lines.count("ValueError: no tax number") == 1, "the failure of a message is said, and once"
    assert ("loggers of gaesignals had been disabled" in done.stderr) is ("dictConfig" in set_up)
