"""`gaesignals dead`, against a real worker."""

from __future__ import annotations

import pytest

from gaesignals.data import codec
from gaesignals.format.keys import dead_key

from .conftest import Ask, Worker


@pytest.fixture
def letters(ask: Ask, worker: Worker) -> list[str]:
    """The ids of two dead letters."""
    ids = worker.send("poison", count=2)
    ask("drain", "--wait")
    return ids


class TestList:
    def test_says_that_there_are_none(self, ask: Ask) -> None:
        assert ask("dead", "list").output == "no dead letters\n"
        assert ask("dead", "list", "poison").output == "no dead letters of poison\n"

    @pytest.mark.usefixtures("letters")
    def test_counts_those_of_each_name(self, ask: Ask) -> None:
        assert ask("dead", "list").lines == ["NAME    DEAD", "poison     2"]
        assert ask("dead", "list", "--json").json["names"] == {"poison": 2}

    def test_says_what_only_a_later_version_can_show(self, ask: Ask, worker: Worker) -> None:
        worker.store.set_raw(dead_key("poison"), codec.seal(200, []))
        outcome = ask("dead", "list", "poison")
        assert (outcome.code, outcome.output) == (0, "")
        assert outcome.errors.startswith("some are left out: a later version")

    def test_shows_those_of_a_name_with_their_errors(self, ask: Ask, letters: list[str]) -> None:
        outcome = ask("dead", "list", "poison")
        assert outcome.code == 0
        heading, *rows = outcome.lines
        assert heading.split() == ["ID", "DIED", "(UTC)", "ATTEMPTS", "RECEIVERS", "ERROR"]
        assert {row.split()[0] for row in rows} == set(letters)
        assert all(row.endswith(r"  ValueError: never\x1b[31m works") for row in rows)
        served = ask("dead", "list", "poison", "--json").json["letters"]
        assert all(letter["error"].startswith("Traceback") for letter in served)

    @pytest.mark.usefixtures("letters")
    def test_fits_the_terminal(self, ask: Ask) -> None:
        assert all(len(line) <= 100 for line in ask("dead", "list", "poison", typed="").lines)

    def test_shows_whole_ids_on_the_narrowest_terminal(
        self, ask: Ask, letters: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "40")
        _, *rows = ask("dead", "list", "poison", typed="").lines
        assert {row.split()[0] for row in rows} == set(letters)


class TestShow:
    def test_has_the_whole_error_line_by_line_and_escaped(self, ask: Ask, letters: list[str]) -> None:
        (served,) = [
            each for each in ask("dead", "list", "poison", "--json").json["letters"] if each["id"] == letters[0]
        ]
        outcome = ask("dead", "show", "poison", letters[0], typed="")
        assert outcome.code == 0
        assert [line.split()[0] for line in outcome.lines[:5]] == ["message", "sent", "died", "attempts", "receivers"]
        assert outcome.lines[0].split()[1] == letters[0]
        assert outcome.lines[5:] == served["error"].replace("\x1b", r"\x1b").splitlines()
        assert outcome.lines[5].startswith("Traceback")
        assert len(outcome.lines) > 8

    def test_is_of_one_message_as_json(self, ask: Ask, letters: list[str]) -> None:
        found = ask("dead", "show", "poison", letters[0], "--json").json
        assert [each["id"] for each in found["letters"]] == letters[:1]
        assert found["name"] == "poison"

    def test_is_of_each_receiver_that_failed(self, ask: Ask, worker: Worker) -> None:
        (id_,) = worker.send("twice")
        ask("drain", "twice", "--wait")
        lines = ask("dead", "show", "twice", id_).lines
        assert sum(line.startswith("receivers ") for line in lines) == 2
        assert lines.count("") == 1

    @pytest.mark.usefixtures("letters")
    def test_of_a_letter_that_is_gone_is_a_failure(self, ask: Ask) -> None:
        outcome = ask("dead", "show", "poison", "gone")
        assert (outcome.code, outcome.output) == (1, "")
        assert outcome.errors.startswith("no such dead letter of poison")
        assert ask("dead", "show", "poison", "gone", "--json").code == 1

    def test_says_what_only_a_later_version_can_show(self, ask: Ask, letters: list[str], worker: Worker) -> None:
        worker.store.set_raw(dead_key("poison"), codec.seal(200, []))
        outcome = ask("dead", "show", "poison", letters[0])
        assert outcome.code == 1
        assert "later version" in outcome.errors


class TestPayload:
    def test_is_shown_as_python_writes_it_and_escaped(self, ask: Ask, worker: Worker) -> None:
        (id_,) = worker.send("poison", {"order": 7, "note": "\u202ered"})
        ask("drain", "--wait")
        outcome = ask("dead", "payload", "poison", id_)
        assert (outcome.code, outcome.output) == (0, "{'order': 7, 'note': '\\u202ered'}\n")
        assert ask("dead", "payload", "poison", id_, "--json").json["data"] == outcome.output.strip()

    def test_that_is_asked_for_is_logged(self, ask: Ask, letters: list[str], caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", logger="gaesignals.worker"):
            ask("dead", "payload", "poison", letters[0])
        assert [record.message for record in caplog.records] == ["a dead letter's payload is shown"]

    @pytest.mark.usefixtures("letters")
    def test_of_a_letter_that_is_gone_is_a_failure(self, ask: Ask) -> None:
        outcome = ask("dead", "payload", "poison", "gone")
        assert (outcome.code, outcome.output) == (1, "")
        assert outcome.errors.startswith("gaesignals: the worker says: there is no such dead letter")


class TestRequeue:
    def test_sends_all_again(self, ask: Ask, letters: list[str]) -> None:
        outcome = ask("dead", "requeue", "poison")
        assert (outcome.code, outcome.output) == (0, "requeued 2 dead letters of poison\n")
        assert ask("dead", "list").output == "no dead letters\n"

    def test_sends_those_that_are_named(self, ask: Ask, letters: list[str]) -> None:
        assert ask("dead", "requeue", "poison", letters[0], "--json").json == {"requeued": 1, "missing": 0}

    def test_can_be_meant_for_the_receivers_of_today(self, ask: Ask, letters: list[str]) -> None:
        assert ask("dead", "requeue", "poison", letters[0], "--to-current").output == (
            "requeued 1 dead letter of poison\n"
        )
        assert ask("dead", "list", "--json").json["names"] == {"poison": 1}

    def test_one_that_is_gone_is_a_failure(self, ask: Ask, letters: list[str]) -> None:
        outcome = ask("dead", "requeue", "poison", letters[0], "gone")
        assert (outcome.code, outcome.output) == (1, "requeued 1 dead letter of poison\n")
        assert outcome.errors == "1 dead letter not there any more\n"

    def test_one_that_is_gone_is_a_failure_beside_one_that_two_receivers_failed_with(
        self, ask: Ask, worker: Worker
    ) -> None:
        (id_,) = worker.send("twice")
        ask("drain", "twice", "--wait")
        outcome = ask("dead", "requeue", "twice", id_, "gone")
        assert (outcome.code, outcome.output) == (1, "requeued 2 dead letters of twice\n")
        assert outcome.errors == "1 dead letter not there any more\n"

    def test_one_whose_payload_was_evicted_is_a_failure(self, ask: Ask, worker: Worker) -> None:
        (id_,) = worker.send("poison", "x" * 20_000)
        ask("drain", "poison", "--wait")
        assert worker.store.evict(lambda key: key.startswith(b"gs:b:dead."))
        outcome = ask("dead", "requeue", "poison", id_)
        assert (outcome.code, outcome.output) == (1, "requeued 0 dead letters of poison\n")
        assert outcome.errors == "1 dead letter without the payload, which was evicted\n"


class TestDrop:
    def test_drops_after_asking(self, ask: Ask, letters: list[str]) -> None:
        outcome = ask("dead", "drop", "poison", letters[0], typed="yes\n")
        assert (outcome.code, outcome.output) == (0, "dropped 1 dead letter of poison\n")
        assert outcome.errors == "Drop 1 dead letter of poison? [y/N] "

    @pytest.mark.usefixtures("letters")
    def test_keeps_them_unless_the_answer_is_yes(self, ask: Ask) -> None:
        assert ask("dead", "drop", "poison", typed="no\n").code == 1
        assert ask("dead", "list", "--json").json["names"] == {"poison": 2}

    @pytest.mark.usefixtures("letters")
    def test_refuses_where_there_is_nobody_to_ask(self, ask: Ask) -> None:
        assert ask("dead", "drop", "poison").code == 2
        assert ask("dead", "drop", "poison", "--yes").output == "dropped 2 dead letters of poison\n"
