"""`gaesignals pause`, `resume` and `discard`, against a real worker."""

from __future__ import annotations

import pytest

from .conftest import Ask, Worker


def test_a_paused_name_is_not_delivered_until_it_is_resumed(ask: Ask, worker: Worker) -> None:
    worker.send("order_paid")
    outcome = ask("pause", "order_paid", "user_7_login")
    assert (outcome.code, outcome.output) == (0, "paused 2 names, as long as the store remembers it\n")
    ask("drain", "--wait")
    assert worker.handled == []
    assert ask("resume", "order_paid").output == "resumed 1 name\n"
    ask("drain", "--wait")
    assert worker.handled == [("order_paid", None)]


@pytest.mark.parametrize(("command", "answer"), [("pause", {"paused": 1}), ("resume", {"resumed": 0})])
def test_json_is_the_workers_own(ask: Ask, command: str, answer: dict[str, int]) -> None:
    assert ask(command, "order_paid", "--json").json == answer


class TestDiscard:
    def test_empties_a_name_after_asking(self, ask: Ask, worker: Worker) -> None:
        worker.send("order_paid", count=3)
        outcome = ask("discard", "order_paid", typed="y\n")
        assert (outcome.code, outcome.output) == (0, "discarded 3 messages\n")
        assert outcome.errors == "Discard everything that waits for order_paid? [y/N] "
        assert ask("drain", "--wait").output == "delivered 0\n"

    @pytest.mark.parametrize("typed", ["n\n", "\n", "what\n", ""])
    def test_changes_nothing_unless_the_answer_is_yes(self, ask: Ask, worker: Worker, typed: str) -> None:
        worker.send("order_paid")
        outcome = ask("discard", "order_paid", typed=typed)
        assert (outcome.code, outcome.output) == (1, "")
        assert outcome.errors.endswith("nothing was discarded\n")
        assert ask("drain", "--wait").output == "delivered 1\n"

    def test_asks_about_few_names_however_many_there_are(self, ask: Ask) -> None:
        outcome = ask("discard", *"abcde", typed="n\n")
        assert outcome.errors.startswith("Discard everything that waits for a, b, c and 2 more?")

    def test_refuses_where_there_is_nobody_to_ask(self, ask: Ask, worker: Worker) -> None:
        worker.send("order_paid")
        outcome = ask("discard", "order_paid")
        assert outcome.code == 2
        assert "give --yes" in outcome.errors
        assert ask("drain", "--wait").output == "delivered 1\n"

    def test_yes_answers_beforehand(self, ask: Ask, worker: Worker) -> None:
        worker.send("order_paid")
        assert ask("discard", "order_paid", "--yes", "--json").json == {"discarded": 1}
