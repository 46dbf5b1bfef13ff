"""`gaesignals messages`, against a real worker."""

from __future__ import annotations

import pytest

from .conftest import Ask, Worker


@pytest.fixture
def retries(ask: Ask, worker: Worker) -> list[str]:
    """The ids of two messages that are to be retried."""
    ids = worker.send("again", count=2)
    ask("drain", "--wait")
    return ids


class TestList:
    def test_says_that_there_are_none(self, ask: Ask) -> None:
        assert ask("messages", "list", "again").output == "no messages of again\n"

    def test_shows_how_each_stands_and_what_comes_next(self, ask: Ask, worker: Worker, retries: list[str]) -> None:
        worker.send("again")
        heading, *rows = ask("messages", "list", "again").lines
        assert heading.split() == ["ID", "STATE", "ATTEMPT", "AGE", "NEXT", "ERROR"]
        assert {row.split()[0] for row in rows[:2]} == set(retries)
        assert all(row.endswith(r"  ValueError: never\x1b[31m works") for row in rows[:2])
        assert all(row.split()[1:3] == ["retrying", "2"] for row in rows[:2])
        assert rows[2].split()[1:3] == ["waiting", "1"]

    def test_shows_those_that_stand_as_asked_for_and_counts_the_others(self, ask: Ask, worker: Worker) -> None:
        worker.send("again", count=130)
        outcome = ask("messages", "list", "again", "--state", "waiting")
        assert len(outcome.lines) == 102
        assert outcome.lines[-1] == "and about 30 more"
        assert ask("messages", "list", "again", "--state", "leased").output == "no messages of again\n"
        assert ask("messages", "list", "again", "--json").json["counts"]["waiting"] == 130

    def test_says_what_memcache_has_forgotten_or_does_not_answer_for(self, ask: Ask, worker: Worker) -> None:
        worker.send("again", "x" * 9000)
        worker.store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:b:")]
        outcome = ask("messages", "list", "again")
        assert (outcome.output, outcome.errors) == (
            "and about 1 more\n",
            "the store did not answer for all of them: there may be more\n",
        )
        worker.store.before = None
        worker.store.delete([key for key in worker.store.keys() if key.startswith(b"gs:b:")])  # noqa: SIM118
        assert "1 message cannot be read" in ask("messages", "list", "again").errors


class TestPayload:
    def test_is_shown_as_python_writes_it(self, ask: Ask, worker: Worker) -> None:
        (id_,) = worker.send("again", {"order": 7})
        assert ask("messages", "payload", "again", id_).output == "{'order': 7}\n"
        assert ask("messages", "payload", "again", id_, "--json").json["data"] == "{'order': 7}"

    def test_of_a_message_that_is_gone_is_not_found(self, ask: Ask) -> None:
        outcome = ask("messages", "payload", "again", "x")
        assert (outcome.code, outcome.output) == (1, "")


class TestChanging:
    @pytest.mark.parametrize(
        ("action", "said", "field"),
        [
            ("run", "due now: 1 message", "run"),
            ("drop", "dropped 1 message", "dropped"),
            ("kill", "dead letters now: 1 message", "killed"),
        ],
    )
    def test_says_what_was_done_and_what_was_not(
        self, ask: Ask, retries: list[str], action: str, said: str, field: str
    ) -> None:
        yes = ["--yes"] if action == "drop" else []
        outcome = ask("messages", action, "again", retries[0], "x", *yes)
        assert (outcome.code, outcome.output) == (1, f"{said} of again\n")
        assert outcome.errors == "1 message not there any more, or done\n"
        outcome = ask("messages", action, "again", retries[1], "--json", *yes)
        assert (outcome.code, outcome.json) == (0, {field: 1, "missing": 0, "which": {}})

    @pytest.mark.parametrize("action", ["run", "drop", "kill"])
    def test_of_what_was_not_run_yet_says_what_is_for_that(self, ask: Ask, worker: Worker, action: str) -> None:
        (id_,) = worker.send("again")
        outcome = ask("messages", action, "again", id_, *(["--yes"] if action == "drop" else []))
        assert outcome.code == 1
        assert outcome.errors == (
            f"1 message not run yet: {action} is for what failed and is to be retried; "
            "see `gaesignals drain` and `gaesignals discard`, which take all of a name\n"
        )

    def test_runs_what_it_says(self, ask: Ask, worker: Worker, retries: list[str]) -> None:
        ask("messages", "run", "again", retries[0])
        ask("drain", "--wait")
        attempts = {each["id"]: each["attempt"] for each in ask("messages", "list", "again", "--json").json["messages"]}
        assert attempts == {retries[0]: 3, retries[1]: 2}

    def test_asks_before_it_drops(self, ask: Ask, retries: list[str]) -> None:
        outcome = ask("messages", "drop", "again", *retries, typed="n\n")
        assert outcome.code == 1
        assert "Drop 2 messages of again? [y/N]" in outcome.errors
        assert len(ask("messages", "list", "again", "--json").json["messages"]) == 2

    def test_needs_ids(self, ask: Ask) -> None:
        with pytest.raises(SystemExit):
            ask("messages", "drop", "again", "--yes")
