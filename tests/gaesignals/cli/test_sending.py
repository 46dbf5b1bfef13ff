"""`gaesignals send`, against a real worker."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Ask, Worker


def test_sends_without_data(ask: Ask, worker: Worker) -> None:
    outcome = ask("send", "order_paid")
    assert outcome.code == 0
    assert outcome.output.startswith("sent 1 message to order_paid: ")
    ask("drain", "--wait")
    assert worker.handled == [("order_paid", None)]


@pytest.mark.parametrize(
    ("text", "data"),
    [('{"order": [1, 2.5, "ü"]}', {"order": [1, 2.5, "ü"]}), ("-1", -1), ("null", None), ("1" * 40, int("1" * 40))],
)
def test_data_is_json(ask: Ask, worker: Worker, text: str, data: Any) -> None:
    assert ask("send", "order_paid", "--data", text).code == 0
    ask("drain", "--wait")
    assert worker.handled == [("order_paid", data)]


def test_sends_many(ask: Ask, worker: Worker) -> None:
    assert ask("send", "order_paid", "--count", "40").output == "sent 40 messages to order_paid\n"
    assert ask("drain", "--wait").output == "delivered 40\n"


def test_says_how_it_travels(ask: Ask, worker: Worker) -> None:
    assert ask("send", "order_paid", "--wake").code == 0
    assert ask("send", "order_paid", "--durable", "--wake").code == 0
    assert ask("send", "order_paid", "--delay", "60").code == 0
    queues = [task.queue for task in worker.tasks.added]
    assert queues == ["signals", "signals-safety", "signals", "signals-later"]


def test_of_a_name_only_the_newest_may_count(ask: Ask) -> None:
    for number in ("1", "2"):
        assert ask("send", "order_paid", "--data", number, "--latest").code == 0
    assert ask("drain", "--wait").output == "delivered 1\n"


def test_json_has_the_ids(ask: Ask) -> None:
    answer = ask("send", "order_paid", "--count", "2", "--json").json
    assert answer["sent"] == len(answer["ids"]) == 2


def test_what_the_worker_refuses_is_a_failure(ask: Ask) -> None:
    outcome = ask("send", "order_paid", "--data", f'"{"x" * 960_000}"')
    assert outcome.code == 1
    assert outcome.errors.startswith("gaesignals: the worker says: ")
    assert ask("send", "order_paid", "--json", "--data", f'"{"x" * 960_000}"').json["error"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["a\nb"], r"gaesignals send: argument NAME: bad signal name 'a\nb': it has a control character"),
        (["a", "--data", "{"], "gaesignals send: argument --data: '{' is no JSON"),
        (["a", "--data", "NaN"], "gaesignals send: argument --data: 'NaN' is no JSON"),
        (["a", "--count", "0"], "gaesignals send: argument --count: '0' is not a number from 1 to 1000"),
        (["a", "--count", "1001"], "gaesignals send: argument --count: '1001' is not a number from 1 to 1000"),
        (["a", "--count", "00000000019999999"], "gaesignals send: argument --count: '00000000019999999' is not a"),
        (["a", "--count", "0000000019" + "9" * 5000], "gaesignals send: argument --count: '0000000019999"),
        (["a", "--delay", "soon"], "gaesignals send: argument --delay: 'soon' is no number of seconds from 0 to 29"),
        (["a", "--delay", "-1"], "gaesignals send: argument --delay: '-1' is no number of seconds from 0 to 29 days"),
        (["a", "--delay", "nan"], "gaesignals send: argument --delay: 'nan' is no number of seconds from 0 to 29 days"),
        ([], "gaesignals send: the following arguments are required: NAME"),
    ],
)
def test_what_cannot_be_sent_is_a_usage_error_in_one_line(
    ask: Ask, capsys: pytest.CaptureFixture[str], arguments: list[str], error: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        ask("send", *arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(error)
