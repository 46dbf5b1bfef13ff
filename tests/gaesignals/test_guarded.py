"""An application's logging that raises ends nothing of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gaesignals import Receivers, Signal, deliver
from gaesignals.guarded import Guarded, guard
from gaesignals.testing import ManualClock


class BadFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise IndexError("of the filter")


class BadHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise LookupError("of the handler")


def bad_factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
    raise KeyError("of the factory")


def with_filter(logger: logging.Logger) -> Callable[[], None]:
    bad = BadFilter()
    logger.addFilter(bad)
    return lambda: logger.removeFilter(bad)


def with_handler(logger: logging.Logger) -> Callable[[], None]:
    bad = BadHandler()
    logging.getLogger().addHandler(bad)
    return lambda: logging.getLogger().removeHandler(bad)


def with_factory(logger: logging.Logger) -> Callable[[], None]:
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(bad_factory)
    return lambda: logging.setLogRecordFactory(before)


@pytest.fixture(params=[with_filter, with_handler, with_factory])
def _bad_logging(request: pytest.FixtureRequest) -> Iterator[None]:
    undo = request.param(logging.getLogger("gaesignals"))
    yield
    undo()


@pytest.mark.usefixtures("mailbox", "_bad_logging")
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_a_delivery_goes_on_though_a_failure_cannot_be_logged(
    clock: ManualClock, capsys: pytest.CaptureFixture[str], is_coroutine: bool
) -> None:
    done: list[int] = []

    def handle(number: int) -> None:
        if number == 0:
            raise TimeoutError
        done.append(number)

    async def handle_soon(number: int) -> None:
        handle(number)

    receivers = Receivers(on_dead=lambda message, error: 1 // 0)
    receivers.connect("a", handle_soon if is_coroutine else handle, reliable=True, max_attempts=1)
    for number in range(3):
        Signal("a").send(number)
    report = deliver(receivers)
    assert (report.delivered, report.dead) == (2, 1)
    assert done == [1, 2]
    said = capsys.readouterr().err
    assert "an application's logging failed" in said
    assert "TimeoutError" in said


@pytest.mark.usefixtures("mailbox")
def test_an_error_whose_traceback_cannot_be_written_is_logged_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    def handle(data: object) -> None:
        raise SyntaxError("what?", ("a.py", "no line", "no column", 7))

    logger = logging.getLogger("gaesignals")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter())
    logger.addHandler(handler)
    logger.propagate = False
    try:
        Signal("a").send()
        assert deliver([("a", handle)]).failed == 1
    finally:
        logger.propagate = True
        logger.removeHandler(handler)


def test_a_line_says_where_it_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("gaesignals").warning("here")
    assert [(record.funcName, record.filename) for record in caplog.records] == [
        ("test_a_line_says_where_it_was_logged", "test_guarded.py")
    ]


def test_a_logger_of_the_applications_class_stays_one() -> None:
    class Theirs(logging.Logger):
        pass

    logging.setLoggerClass(Theirs)
    try:
        logger = logging.getLogger("gaesignals.tests.theirs")
    finally:
        logging.setLoggerClass(logging.Logger)
    guard(logger.name)
    guard(logger.name)
    assert isinstance(logger, Theirs)
    assert isinstance(logger, Guarded)
    assert type(logger).__mro__.count(Guarded) == 1
