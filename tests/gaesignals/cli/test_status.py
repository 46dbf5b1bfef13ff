"""`gaesignals status`, against a real worker."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gaesignals.format.fleet import Instance, News
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.history import History
from worker.health import HealthCheck
from worker.queue import QueueState

from .conftest import Ask, Serve, Shell, Worker
from .test_client import Answering


def cron(worker: Worker) -> None:
    worker.app.test_client().get("/cron/drain", headers={"X-Appengine-Cron": "true"})


def test_shows_the_workers_health_and_the_names_where_something_waits(ask: Ask, worker: Worker) -> None:
    cron(worker)
    worker.send("order_paid", count=3)
    outcome = ask("status")
    assert outcome.code == 0
    assert outcome.lines[0].startswith(f"worker at {worker.url} (gaesignals ")
    assert outcome.lines[1].startswith("store ok; last fan-out ")
    assert outcome.lines[1].endswith("; queue running")
    assert outcome.lines[2] == "waiting 3, leased 0, retrying 0, dead 0, unmatched 0, paused 0"
    heading, row = outcome.lines[-2:]
    assert heading.split() == ["NAME", "WAITING", "LEASED", "RETRYING", "DEAD", "OLDEST", "RECEIVERS"]
    assert row.split()[:5] == ["order_paid", "3", "0", "0", "0"]
    assert row.split()[-1] == "ship"
    assert outcome.errors == ""


def test_what_stands_behind_durable_messages_is_a_line_where_there_is_any(ask: Ask, worker: Worker) -> None:
    ask("send", "order_paid", "--delay", "60")
    (line,) = [line for line in ask("status").lines if line.startswith("safety")]
    assert line == "safety tasks 0, tasks for later 1, brought back in the last day 0"


class TestThePast:
    @pytest.fixture(autouse=True)
    def done(self, worker: Worker) -> None:
        worker.send("order_paid", count=3)
        worker.app.test_client().post("/admin/drain", data={"names": "order_paid", "wait": "1"})

    def test_is_a_line_under_the_totals(self, ask: Ask) -> None:
        assert ask("status").lines[3] == "last hour: delivered 3; 1 instance, 0 at work"

    @pytest.mark.parametrize("window", ["hour", "day", "fortnight"])
    def test_is_a_table_of_a_window_in_which_what_is_not_known_is_no_zero(self, ask: Ask, window: str) -> None:
        lines = ask("status", "--window", window).lines
        assert lines[3].startswith(f"last {window}: delivered 3")
        heading = next(number for number, line in enumerate(lines) if line.startswith("FROM (UTC)"))
        rows = lines[heading + 1 : -1]
        assert len(rows) in (12, 13)
        assert rows[0].split()[2:4] == ["not", "known"]
        assert rows[-1].split()[2] == "3" or rows[-2].split()[2] == "3"

    def test_has_no_instance_that_was_not_heard_of_for_a_while(self, ask: Ask, worker: Worker) -> None:
        at_ms = int((time.time() - 1000) * 1000)
        gone = Instance("gone", 7, "v2", at_ms, at_ms)
        History(Mailbox(worker.store)).add({}, News(gone))
        assert ask("status").lines[3].endswith("; 1 instance, 0 at work")

    def test_is_told_as_far_as_the_instance_knows_it_while_memcache_is_down(self, ask: Ask, worker: Worker) -> None:
        worker.store.before = lambda call: call.keys
        lines = ask("status", "--window", "hour").lines
        assert lines[3].startswith("last hour: delivered 3; 1 instance")
        assert lines[-2].split()[2:6] == ["3", "not", "known", "not"]

    def test_is_that_of_each_receiver(self, ask: Ask) -> None:
        lines = ask("status", "--receivers").lines
        assert next(line.split()[1:5] for line in lines if line.startswith("ship ")) == ["3", "0", "0", "0"]

    def test_is_known_of_the_instances(self, ask: Ask) -> None:
        lines = ask("status", "--instances").lines
        assert lines[-2].split()[:4] == ["INSTANCE", "VERSION", "UP", "HEARD"]
        assert lines[-1].startswith("process ")


def test_a_worker_where_nothing_waits_says_so(ask: Ask, worker: Worker) -> None:
    cron(worker)
    assert ask("status").lines[-1] == "nothing waits"


def test_json_is_the_workers_own(ask: Ask, worker: Worker) -> None:
    worker.send("order_paid")
    served = json.loads(worker.app.test_client().get("/admin/status").data)
    shown = ask("status", "--json").json
    assert list(shown) == list(served)
    assert shown["names"] == served["names"]


def test_search_finds_names_in_any_case(ask: Ask, worker: Worker) -> None:
    worker.send("user_7_login")
    worker.send("order_paid")
    outcome = ask("status", "--search", "USER_7")
    assert "user_7_login" in outcome.output
    assert "order_paid" not in outcome.output
    assert [each["name"] for each in ask("status", "--search", "USER_7", "--json").json["names"]] == ["user_7_login"]
    assert ask("status", "--search", "nobody").lines[-1] == "no such name"


def test_names_that_nobody_listens_to_are_told_apart(ask: Ask, worker: Worker) -> None:
    worker.send("mistaken")
    outcome = ask("status")
    assert "No receiver of this worker listens to these; a middleware or another service may:" in outcome.lines
    assert outcome.lines[-1].split()[:2] == ["mistaken", "1"]


def test_a_paused_name_is_shown_as_paused(ask: Ask) -> None:
    ask("pause", "order_paid")
    assert "order_paid (paused)" in ask("status").output


@pytest.mark.parametrize("name", ["a\u202ecod.exe", "zero\u200bwidth", "back\\slash"])
def test_a_name_cannot_act_on_the_terminal(ask: Ask, worker: Worker, name: str) -> None:
    worker.send(name)
    assert all(line.isprintable() for line in ask("status").lines)


class TestManyNames:
    @pytest.fixture
    def many(self, worker: Worker) -> None:
        for number in range(30):
            worker.send(f"user_{number}_login")
            worker.send(f"mistaken_{number}")

    @pytest.mark.usefixtures("many")
    def test_leave_the_health_on_the_screen_of_a_terminal(self, ask: Ask) -> None:
        lines = ask("status", typed="").lines
        assert len([line for line in lines if line.startswith("user_")]) == 20
        assert len([line for line in lines if line.startswith("mistaken_")]) == 20
        assert lines.count("and 10 less busy names; --limit shows more") == 2

    @pytest.mark.usefixtures("many")
    def test_are_all_shown_in_a_pipe(self, ask: Ask) -> None:
        assert len([line for line in ask("status").lines if line.startswith("user_")]) == 30

    @pytest.mark.usefixtures("many")
    def test_are_as_many_as_are_asked_for(self, ask: Ask) -> None:
        assert len([line for line in ask("status", "--limit", "2").lines if line.startswith("user_")]) == 2

    @pytest.mark.usefixtures("many")
    def test_are_on_pages_of_a_thousand(self, ask: Ask) -> None:
        assert ask("status", "--page", "2", "--json").json["omitted"] == 64
        assert ask("status", "--page", "2").lines[-1] == "64 more names not looked at: see --page and --search"

    @pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 12, "²", "000000001" + "9" * 9])
    def test_have_no_page_that_is_no_number(self, shell: Shell, number: str) -> None:
        with pytest.raises(SystemExit):
            shell("status", f"--page={number}")


class TestExitCode:
    def test_is_1_when_memcache_does_not_answer(self, ask: Ask, worker: Worker) -> None:
        worker.store.before = lambda call: call.keys
        outcome = ask("status")
        assert (outcome.code, outcome.errors) == (1, "the store does not answer\n")
        assert ask("status", "--json").json["health"]["memcache"] == "down"

    def test_is_1_when_the_queue_is_paused(self, ask: Ask, worker: Worker) -> None:
        cron(worker)
        worker.queue.current_state = QueueState.PAUSED
        outcome = ask("status")
        assert outcome.code == 1
        assert outcome.errors.startswith("the queue is paused: nothing is delivered")

    def test_is_1_when_the_fan_out_is_late(self, ask: Ask, worker: Worker) -> None:
        earlier = Mailbox(worker.store, clock=lambda: time.time() - 600)
        HealthCheck(earlier, worker.queue).note_fan_out()
        outcome = ask("status")
        assert outcome.code == 1
        assert outcome.errors.startswith("the last fan-out was 10 min ago: does cron call")

    def test_is_0_for_a_worker_that_has_just_started(self, ask: Ask) -> None:
        assert ask("status").code == 0


HEALTH = {"memcache": "ok", "queue": "running", "last_fan_out_age_seconds": 1}
NAME = {"waiting": 5, "leased": 0, "retrying": 0, "dead": 0, "readable": True, "oldest_sent_at": None, "receivers": []}


def table_row(shell: Shell, serve: Serve, **fields: Any) -> str:
    totals = {"waiting": None, "leased": 0}
    status = {"totals": totals, "health": HEALTH, "names": [{"name": "a", **NAME, **fields}], "unmatched": []}
    outcome = shell("status", "--url", serve(Answering("200 OK", status)))
    assert outcome.lines[2] == "waiting not known, leased 0"
    return " ".join(outcome.lines[-1].split())


def test_what_is_not_known_is_said_so_and_never_0(shell: Shell, serve: Serve) -> None:
    assert table_row(shell, serve) == "a 5 0 0 0 not known"
    unread = dict.fromkeys(["waiting", "leased", "retrying", "dead"])
    assert table_row(shell, serve, readable=False, **unread) == "a" + " not known" * 5


def test_a_memcache_that_does_not_answer_is_no_empty_one(shell: Shell, serve: Serve) -> None:
    status = {"totals": {}, "health": {**HEALTH, "memcache": "down"}, "names": [], "unmatched": []}
    outcome = shell("status", "--url", serve(Answering("503 DOWN", status)))
    assert outcome.lines[-1] == "what waits is not known"


def test_what_a_later_version_has_stored_is_told_and_no_failure(shell: Shell, serve: Serve) -> None:
    readable = {"dead": False, "paused": True}
    status = {"totals": {"dead": None}, "health": HEALTH, "names": [], "unmatched": [], "readable": readable}
    outcome = shell("status", "--url", serve(Answering("200 OK", status)))
    assert (outcome.code, outcome.lines[2]) == (0, "dead not known")
    assert outcome.errors == "names with dead letters may be left out: a later version has stored which they are\n"


class Watch:
    """Lets `status --watch` look so many times, and then presses Ctrl-C."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self.times:
            raise KeyboardInterrupt


def test_watching_shows_it_again_until_ctrl_c(ask: Ask, shell: Shell, worker: Worker) -> None:
    shell.sleep = Watch(2)
    outcome = ask("status", "--watch", "7")
    assert (outcome.code, shell.sleep.slept) == (0, [7.0, 7.0])
    assert outcome.output.count("nothing waits") == 2
    shell.sleep = Watch(1)
    assert ask("status", "--watch", typed="").output.startswith("\x1b[H\x1b[2Jworker at ")


def test_watching_goes_on_while_the_worker_is_away(shell: Shell, serve: Serve) -> None:
    shell.sleep = Watch(2)
    outcome = shell("status", "--watch", "--url", serve(Answering("502 BAD GATEWAY", b"")))
    assert outcome.code == 0
    assert outcome.errors.count("answers 502") == 2
