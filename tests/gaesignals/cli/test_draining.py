"""`gaesignals drain`, against a real worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from .conftest import Ask, Serve, Shell, Worker


def test_hands_what_waits_to_the_queue(ask: Ask, worker: Worker) -> None:
    worker.send("order_paid")
    worker.send("user_7_login")
    outcome = ask("drain")
    assert (outcome.code, outcome.output) == (0, "handed 2 names to the queue in 1 task\n")
    assert [sorted(task.names) for task in worker.queue.tasks] == [["order_paid", "user_7_login"]]


def test_names_limit_it(ask: Ask, worker: Worker) -> None:
    worker.send("order_paid")
    worker.send("user_7_login")
    assert ask("drain", "order_paid").code == 0
    assert [task.names for task in worker.queue.tasks] == [("order_paid",)]


def test_a_name_without_a_receiver_is_a_failure_if_it_was_asked_for(ask: Ask, worker: Worker) -> None:
    worker.send("mistaken")
    assert ask("drain").code == 0
    outcome = ask("drain", "mistaken")
    assert outcome.code == 1
    assert outcome.errors == "no receiver of the worker listens to mistaken\n"


def test_a_paused_name_is_a_failure_if_it_was_asked_for(ask: Ask, worker: Worker) -> None:
    worker.send("order_paid")
    ask("pause", "order_paid")
    assert ask("drain").code == 0
    outcome = ask("drain", "order_paid")
    assert outcome.code == 1
    assert outcome.errors == "paused: order_paid; `gaesignals resume` ends that\n"


def test_what_the_queue_refuses_is_a_failure(ask: Ask, worker: Worker) -> None:
    worker.send("order_paid")
    worker.queue.refuse = lambda task: True
    outcome = ask("drain")
    assert outcome.code == 1
    assert outcome.errors == "the queue refused order_paid, which cron tries again\n"


class TestWait:
    def test_delivers(self, ask: Ask, worker: Worker) -> None:
        worker.send("order_paid", {"order": 7}, count=3)
        outcome = ask("drain", "--wait")
        assert (outcome.code, outcome.output) == (0, "delivered 3\n")
        assert worker.handled == [("order_paid", {"order": 7})] * 3

    def test_a_message_that_fails_is_named_with_its_error_and_nothing_acts_on_the_terminal(
        self, ask: Ask, worker: Worker
    ) -> None:
        (message_id,) = worker.send("poison")
        outcome = ask("drain", "--wait", "poison")
        assert (outcome.code, outcome.output) == (1, "delivered 0, failed 1, dead 1\n")
        assert outcome.errors == f"poison {message_id}: fail: ValueError: never\\x1b[31m works\n"

    def test_json_of_one_round_is_the_workers_own(self, ask: Ask, worker: Worker) -> None:
        worker.send("order_paid")
        fields = ask("drain", "--wait", "--json").json
        served = worker.app.test_client().post("/admin/drain", data={"wait": "1"}).get_json()
        assert list(fields) == list(served)
        assert fields["delivered"] == 1


class Rounds:
    """A worker that answers each drain with the next of `answers`; `asked` are the bodies that came."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.asked: list[Any] = []
        self._answers = list(answers)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(self._answers.pop(0)).encode()]


FIRST = {"delivered": 1000, "failed": 1, "retried": 1, "remaining": 500, "more": ["a"], "errors": [{"x": 1}]}
LAST = {"delivered": 500, "failed": 0, "retried": 0, "remaining": 0, "more": [], "errors": []}


class TestRepeating:
    """A drain that takes longer than a request may, which no real worker does in a test."""

    def test_goes_on_until_nothing_remains(self, shell: Shell, serve: Serve) -> None:
        rounds = Rounds(FIRST, LAST)
        outcome = shell("drain", "--wait", "--json", "a", "--url", serve(rounds))
        assert rounds.asked == [{"names": ["a"], "wait": True}] * 2
        assert outcome.json == {**LAST, "delivered": 1500, "failed": 1, "retried": 1, "errors": [{"x": 1}]}
        assert outcome.code == 1

    def test_shows_how_far_it_is_on_a_line_each(self, shell: Shell, serve: Serve) -> None:
        outcome = shell("drain", "--wait", "--json", "--url", serve(Rounds(FIRST, LAST)))
        assert outcome.errors == "delivered 1,000, 500 messages left\n"

    def test_shows_how_far_it_is_on_the_same_line_of_a_terminal(self, shell: Shell, serve: Serve) -> None:
        outcome = shell("drain", "--wait", "--json", "--url", serve(Rounds(FIRST, FIRST, LAST)), typed="")
        assert outcome.errors == (
            "\r\x1b[Kdelivered 1,000, 500 messages left\r\x1b[Kdelivered 2,000, 500 messages left\n"
        )

    def test_says_on_a_terminal_that_it_still_waits(
        self, shell: Shell, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gaesignals.cli.waiting.FIRST_SECONDS", 0.01)
        rounds, gate = Rounds(LAST), threading.Event()

        def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            gate.wait(0.1)
            return rounds(environ, start_response)

        outcome = shell("drain", "--wait", "--url", serve(slow), typed="")
        assert outcome.errors.startswith("\r\x1b[Kdelivering; waiting for the worker, 0 s")
        assert outcome.output == "delivered 500\n"

    def test_asks_no_more_often_than_a_night_is_long(
        self, shell: Shell, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gaesignals.cli.draining.MAX_ROUNDS", 3)
        monkeypatch.setattr("gaesignals.cli.draining.MAX_ERRORS", 2)
        endless = {**LAST, "more": ["a"], "errors": [{"x": 1}]}
        rounds = Rounds(*[endless] * 5)
        outcome = shell("drain", "--wait", "--json", "--url", serve(rounds))
        assert (outcome.code, len(rounds.asked)) == (1, 3)
        assert outcome.errors.splitlines()[-1] == "it was asked 3 times, and there is more"
        assert (outcome.json["delivered"], outcome.json["errors"]) == (1500, [{"x": 1}] * 2)

    def test_ends_when_what_remains_cannot_be_delivered_now(self, shell: Shell, serve: Serve) -> None:
        stuck = {"delivered": 0, "remaining": 4, "more": []}
        outcome = shell("drain", "--wait", "--url", serve(Rounds({**stuck, "delivered": 2}, stuck)))
        assert (outcome.code, outcome.output) == (1, "delivered 2, remaining 4\n")
        assert outcome.errors.splitlines()[-1].startswith("what remains is leased by somebody else or not due yet")
