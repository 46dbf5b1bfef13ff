"""What an administrator does to names: pause, resume, discard, send."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from gaesignals import Receivers, Signal, send_many
from gaesignals.format.keys import PAUSED_NAMES, page_key
from gaesignals.format.pauses import MAX_PAUSED
from gaesignals.mailbox.box import Mailbox
from gaesignals.tasks.queue import TaskError
from gaesignals.testing import ManualClock, MemoryStore

from ..conftest import Client, MakeClient

HTML = {"Accept": "text/html"}
MARKUP = """<script>alert("1")</script>'&amp;"""
NOTHING = {"names": 0, "tasks": 0, "refused": 0, "unmatched": 0, "unreadable": 0, "paused": 0}


@pytest.fixture
def handled() -> list[Any]:
    return []


@pytest.fixture
def receivers(handled: list[Any]) -> Receivers:
    receivers = Receivers()
    receivers.connect("a", handled.append, id="a")
    receivers.connect("b", handled.append, id="b")
    receivers.connect(MARKUP, handled.append, id="markup")
    receivers.connect(Signal("user_{user_id}_changed"), lambda data, *, user_id: handled.append(user_id), id="users")
    return receivers


@pytest.fixture
def client(make_client: MakeClient, receivers: Receivers) -> Client:
    return make_client(receivers)


def totals(client: Client) -> dict[str, int]:
    return client.http.get("/admin/status").json["totals"]


class TestAPausedName:
    @pytest.fixture(autouse=True)
    def paused(self, client: Client) -> None:
        assert client.http.post_json("/admin/pause", {"names": ["a"]}).json == {"paused": 1}

    def test_is_sent_to_and_not_dispatched(self, client: Client, handled: list[Any]) -> None:
        send_many([("a", 1), ("b", 2)])
        assert client.cron().json == {**NOTHING, "names": 1, "tasks": 1, "paused": 1}
        client.run_tasks()
        assert handled == [2]
        assert totals(client)["waiting"] == 1

    def test_gets_nothing_of_a_task_that_is_on_its_way(self, client: Client, handled: list[Any]) -> None:
        send_many([("a", 1), ("b", 2)])
        report = client.task({"names": ["a", "b"]}).json
        assert (report["delivered"], report["paused"]) == (1, 1)
        assert handled == [2]

    def test_alone_in_a_task_is_a_success(self, client: Client, handled: list[Any]) -> None:
        Signal("a").send(1)
        assert client.task({"names": ["a"]}, status=200).json["delivered"] == 0
        assert client.queue.asked == 0

    def test_is_left_alone_by_a_drain_which_says_so(self, client: Client, handled: list[Any]) -> None:
        send_many([("a", 1), ("b", 2)])
        drain = client.http.post_json("/admin/drain", {"names": ["a", "b"]}).json
        assert (drain["names"], drain["paused"]) == (1, 1)
        assert client.http.post("/admin/drain").json["paused"] == 1
        report = client.http.post_json("/admin/drain", {"wait": True}).json
        assert (report["delivered"], report["paused"]) == (1, 1)
        assert handled == [2]
        page = client.submit("/admin/drain", {"names": "a"}).follow(headers=HTML)
        assert "1 name is paused." in " ".join(page.html.select_one(".flash").text.split())

    def test_is_delivered_when_it_is_resumed(self, client: Client, handled: list[Any]) -> None:
        Signal("a").send(1)
        client.cron()
        client.task({"names": ["a"]})
        assert client.http.post_json("/admin/resume", {"names": ["a", "b"]}).json == {"resumed": 1}
        # Without a cron run: where every signal wakes, there may be none for long.
        client.run_tasks()
        assert handled == [1]

    def test_is_shown(self, client: Client) -> None:
        status = client.http.get("/admin/status").json
        assert [each["name"] for each in status["paused"]] == ["a"]
        assert [each["name"] for each in status["names"] if each["paused"]] == ["a"]
        assert status["totals"]["paused"] == 1
        assert "paused" in client.browse("/admin/").html.select_one(".badge").text

    def test_that_nobody_listens_to_is_shown_as_well(self, client: Client) -> None:
        client.http.post_json("/admin/pause", {"names": ["nobodys"]})
        names = client.http.get("/admin/status").json["names"]
        assert [each["name"] for each in names if each["paused"]] == ["a", "nobodys"]

    def test_with_markup_in_it_is_text(self, client: Client) -> None:
        client.submit("/admin/pause", {"names": MARKUP})
        page = client.browse("/admin/")
        assert [script for script in page.html.find_all("script") if not script.get("src")] == []
        resume = next(form for form in page.forms.values() if form.action.endswith("/resume"))
        assert resume.submit(headers=HTML).status_int == 303

    def test_costs_a_fan_out_one_call(self, make_client: MakeClient, receivers: Receivers) -> None:
        store = MemoryStore()
        client = make_client(receivers, store=store)
        client.http.post_json("/admin/pause", {"names": ["a"]})
        before = len(store.calls)
        client.cron()
        # Five to look for evicted home pages, eight for the index, and one to note that there was a fan-out.
        reads = [call.keys for call in store.calls[before:]]
        assert reads.count((PAUSED_NAMES,)) == 1


class TestWhatIsPausedAndCannotBeRead:
    def lose(self, store: MemoryStore) -> None:
        store.before = lambda call: [key for key in call.keys if key == PAUSED_NAMES]

    def test_stays_paused_where_it_was_known(
        self, make_client: MakeClient, receivers: Receivers, store: MemoryStore, handled: list[Any]
    ) -> None:
        client = make_client(receivers, store=store)
        client.http.post_json("/admin/pause", {"names": ["a"]})
        client.cron()
        self.lose(store)
        client.http.post_json("/admin/send", {"name": "a", "data": 1})
        assert client.cron().json["paused"] == 1
        client.task({"names": ["a"]})
        assert handled == []

    def test_is_delivered_where_it_was_not(
        self,
        make_client: MakeClient,
        receivers: Receivers,
        store: MemoryStore,
        handled: list[Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        make_client(receivers, store=store).http.post_json("/admin/pause", {"names": ["a"]})
        client = make_client(receivers, store=store)
        client.http.post_json("/admin/send", {"name": "a", "data": 1})
        self.lose(store)
        client.task({"names": ["a"]})
        assert handled == [1]
        assert "which names are paused cannot be read; what was known stands" in caplog.messages

    def test_cannot_be_changed(self, make_client: MakeClient, receivers: Receivers, store: MemoryStore) -> None:
        client = make_client(receivers, store=store)
        self.lose(store)
        for action in ("pause", "resume"):
            error = client.http.post_json(f"/admin/{action}", {"names": ["a"]}, status=503).json["error"]
            assert error.startswith("The store failed: ")


class TestDiscarding:
    def test_answers_with_the_count_and_delivers_nothing(self, client: Client, handled: list[Any]) -> None:
        send_many([("a", 1), ("a", 2), ("b", 3)])
        assert client.http.post_json("/admin/discard", {"names": ["a"]}).json == {"discarded": 2}
        client.cron()
        client.run_tasks()
        assert handled == [3]

    def test_is_a_button_of_the_page(self, client: Client) -> None:
        send_many([(MARKUP, 1)])
        page = client.browse(f"/admin/name?{urlencode({'name': MARKUP})}")
        form = next(form for form in page.forms.values() if form.action.startswith("/admin/names/confirm"))
        question = form.submit("action", headers=HTML)
        assert client.browse(question.html.find("a", string="Cancel")["href"]).html.h1.text == MARKUP
        after = question.form.submit(headers=HTML).follow(headers=HTML)
        assert "1 message discarded." in " ".join(after.html.text.split())

    def test_says_how_far_it_came(self, make_client: MakeClient, receivers: Receivers) -> None:
        store = MemoryStore()
        client = make_client(receivers, store=store)
        for name in ("a", "b"):
            client.http.post_json("/admin/send", {"name": name})
        store.before = lambda call: [key for key in call.keys if key == page_key("a")]
        error = client.http.post_json("/admin/discard", {"names": ["a", "b"]}, status=503).json["error"]
        assert "1 of the names" in error
        assert "1 messages are discarded" in error

    def test_is_logged_with_the_names_escaped(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        client.http.post_json("/admin/discard", {"names": ["grüße"]})
        (record,) = [each for each in caplog.records if each.message == "an administrator changed names"]
        assert (record.action, record.signals_names) == ("discarded", [ascii("grüße")])  # type: ignore[attr-defined]


class TestSending:
    @pytest.mark.parametrize(
        ("body", "data"),
        [
            ({"name": "a"}, None),
            ({"name": "a", "data": None}, None),
            ({"name": "a", "data": {"order": [1, 2.5, "x", True]}}, {"order": [1, 2.5, "x", True]}),
            ({"name": "a", "data": "7"}, "7"),
            ({"name": "a", "data": ""}, ""),
        ],
    )
    def test_json_carries_any_value(self, client: Client, handled: list[Any], body: object, data: object) -> None:
        answer = client.http.post_json("/admin/send", body).json
        assert answer["sent"] == len(answer["ids"]) == 1
        client.cron()
        client.run_tasks()
        assert handled == [data]

    @pytest.mark.parametrize(
        ("text", "data"),
        [("7", 7), ('"7"', "7"), ('{"a": null}', {"a": None}), ("", None), ("  ", None), ("null", None)],
    )
    def test_a_form_carries_json_text(self, client: Client, handled: list[Any], text: str, data: object) -> None:
        client.http.post("/admin/send", {"name": "a", "data": text})
        client.http.post("/admin/send?name=a", {"data": text})
        client.cron()
        client.run_tasks()
        assert handled == [data, data]

    def test_sends_many(self, client: Client, handled: list[Any]) -> None:
        answer = client.http.post_json("/admin/send", {"name": "a", "count": 1000}).json
        assert answer["sent"] == len(set(answer["ids"])) == 1000
        assert client.http.post("/admin/send", {"name": "a", "count": "3"}).json["sent"] == 3
        assert totals(client)["waiting"] == 1003

    def test_is_a_form_of_the_page(self, client: Client) -> None:
        page = client.browse("/admin/send")
        form = page.form
        form["name"] = MARKUP
        form["data"] = '{"a": 1}'
        after = form.submit(headers=HTML).follow(headers=HTML)
        assert "1 test signal sent." in " ".join(after.html.text.split())
        assert totals(client)["waiting"] == 1

    @pytest.mark.parametrize(
        ("field", "value"),
        [("wake", True), ("wake", "true"), ("wake", 0), ("durable", True), ("durable", "1"), ("delay_seconds", "0")],
    )
    def test_travels_as_it_is_told(self, client: Client, field: str, value: object) -> None:
        queue = {"wake": "signals", "durable": "signals-safety", "delay_seconds": "signals-later"}[field]
        body = {"name": "a", field: value}
        client.http.post_json("/admin/send", body)
        if isinstance(value, str):
            client.http.post("/admin/send", body)
        assert {task.queue for task in client.tasks.added} == {queue}
        assert totals(client)["waiting"] == (0 if field == "delay_seconds" else 1 + isinstance(value, str))

    @pytest.mark.parametrize("fields", [{}, {"wake": "false", "durable": "0", "delay_seconds": ""}])
    def test_is_plain_where_nothing_else_is_said(self, client: Client, fields: dict[str, str]) -> None:
        client.http.post("/admin/send", {"name": "a", **fields})
        assert (client.tasks.added, totals(client)["waiting"]) == ([], 1)

    def test_counts_alone_if_it_is_the_newest_by_the_form_as_well(self, client: Client) -> None:
        client.http.post_json("/admin/send", {"name": "a", "latest": True})
        form = client.browse("/admin/send?name=a").form
        form["latest"] = True
        form.submit(headers=HTML).follow(headers=HTML)
        assert totals(client)["waiting"] == 1

    def test_is_durable_and_for_later_by_the_form_as_well(self, client: Client) -> None:
        form = client.browse("/admin/send?name=b").form
        form["name"], form["wake"], form["durable"], form["delay_seconds"] = "a", True, True, "60"
        form.submit(headers=HTML).follow(headers=HTML)
        ((task,), now) = client.tasks.added, time.time()
        assert (task.queue, task.due is not None and now < task.due < now + 61) == ("signals-later", True)

    def test_that_no_queue_takes_says_so(self, client: Client) -> None:
        def refuse(kind: str) -> None:
            raise TaskError("there is no queue signals-safety")

        client.tasks.before = refuse
        body = {"name": "a", "durable": True}
        assert "there is no queue" in client.http.post_json("/admin/send", body, status=503).json["error"]
        assert totals(client)["waiting"] == 0

    def test_takes_a_name_with_braces_as_it_is(self, client: Client) -> None:
        client.http.post_json("/admin/send", {"name": "user_{user_id}_changed"})
        assert totals(client)["waiting"] == 1

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({}, "name is missing"),
            ({"name": ""}, "bad signal name"),
            ({"name": 7}, "bad signal name"),
            ({"name": "a" * 201}, "bad signal name"),
            ({"name": "a", "count": 0}, "count has to be a whole number from 1 to 1000"),
            ({"name": "a", "count": 1001}, "count has to be"),
            ({"name": "a", "count": True}, "count has to be"),
            ({"name": "a", "count": 1.5}, "count has to be"),
            ({"name": "a", "count": "x"}, "count has to be"),
            ({"name": "a", "count": None}, "count has to be"),
            ({"name": "a", "data": "\ud800"}, "lone surrogate"),
            ({"name": "a", "data": "x" * 100_000, "count": 1000}, "too much at a time"),
            (
                {"names": ["a"]},
                "unknown field 'names'; there is name, data, count, wake, durable, latest, delay_seconds",
            ),
            ({"name": "a", "wake": 61}, "wake=61 cannot be"),
            ({"name": "a", "wake": "soon"}, "wake has to be a number of seconds"),
            ({"name": "a", "durable": "yes"}, "durable has to be true or false"),
            ({"name": "a", "latest": "yes"}, "latest has to be true or false"),
            ({"name": "a", "delay_seconds": -1}, "delay_seconds=-1.0 cannot be"),
            ({"name": "a", "delay_seconds": 30 * 86400}, "from now to 29 days ahead"),
            ({"name": "a", "delay_seconds": True}, "delay_seconds has to be a number of seconds"),
            ({"name": "a", "delay_seconds": "nan"}, "delay_seconds has to be a number of seconds"),
            ({"name": "a", "delay_seconds": 10**400}, "delay_seconds has to be a number of seconds"),
            ({"name": "a", "data": "x" * 90_000, "durable": True}, "a task holds 90,000"),
        ],
    )
    def test_of_nonsense_gets_a_clear_error(self, client: Client, body: object, error: str) -> None:
        assert error in client.http.post_json("/admin/send", body, status=400).json["error"]
        assert totals(client)["waiting"] == 0

    @pytest.mark.parametrize("text", ["{", "hello", "NaN", "1 2", "[" * 100_000, "9" * 5000])
    def test_of_text_that_is_not_json_gets_a_clear_error(self, client: Client, text: str) -> None:
        error = client.http.post("/admin/send", {"name": "a", "data": text}, status=400).json["error"]
        assert error == 'data is not JSON; a text has to be in quotes: "like this"'

    def test_while_memcache_is_down_says_what_was_sent(
        self, client: Client, break_memcache: Callable[[], None]
    ) -> None:
        break_memcache()
        error = client.http.post_json("/admin/send", {"name": "a"}, status=503).json["error"]
        assert "0 stored, 1 not stored" in error

    def test_keeps_the_form_of_a_person_while_memcache_is_down(
        self, client: Client, break_memcache: Callable[[], None]
    ) -> None:
        break_memcache()
        fields = {"name": "a", "data": '{"order": 7}', "count": "3", "latest": "true"}
        page = client.submit("/admin/send", fields, status=503).html
        assert "Not everything was sent" in page.select_one(".flash.bad").text
        assert page.select_one("#send-data").text.strip() == '{"order": 7}'
        assert (page.select_one("#send-name")["value"], page.select_one("#send-count")["value"]) == ("a", "3")
        assert page.select_one("[name=latest]").has_attr("checked")

    def test_logs_no_payload(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        client.http.post_json("/admin/send", {"name": "a", "data": "hunter2"})
        assert "hunter2" not in caplog.text


class TestBadRequests:
    @pytest.mark.parametrize("action", ["pause", "resume", "discard"])
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({}, "names is missing: say which"),
            ({"names": []}, "names is empty"),
            ({"names": "a"}, "names has to be a list"),
            ({"names": [1]}, "it has a number in it"),
            ({"names": ["a\tb"]}, "bad signal name"),
            ({"names": [f"n{number}" for number in range(10_001)]}, "send at most 10000"),
            ({"names": ["a"], "name": "a"}, "unknown field 'name'"),
            ([], "has to be a JSON object"),
        ],
    )
    def test_change_nothing(self, client: Client, action: str, body: object, error: str) -> None:
        Signal("a").send(1)
        assert error in client.http.post_json(f"/admin/{action}", body, status=400).json["error"]
        assert (totals(client)["waiting"], totals(client)["paused"]) == (1, 0)

    @pytest.mark.parametrize("action", ["pause", "resume", "discard", "send"])
    def test_without_anything_do_not_stand_for_everything(self, client: Client, action: str) -> None:
        assert "is missing" in client.http.post(f"/admin/{action}", status=400).json["error"]
        if action != "send":
            client.http.get(f"/admin/{action}", status=405)
        client.http.post(f"/admin/{action}", "x" * (2**20 + 1), content_type="application/json", status=413)
        client.http.post(f"/admin/{action}", "<a/>", content_type="application/xml", status=415)

    @pytest.mark.parametrize("action", ["pause", "resume", "discard", "send"])
    def test_from_another_site_are_refused(self, client: Client, action: str) -> None:
        client.http.post(f"/admin/{action}", {"names": "a"}, headers={"Origin": "https://evil.example"}, status=403)

    def test_to_pause_too_many_change_nothing(self, client: Client) -> None:
        names = [f"n{number}" for number in range(MAX_PAUSED + 1)]
        error = client.http.post_json("/admin/pause", {"names": names}, status=400).json["error"]
        assert "1000 is the most" in error
        assert totals(client)["paused"] == 0


class TestAPauseDuringADelivery:
    def test_ends_it_after_the_round_at_hand(self, make_client: MakeClient) -> None:
        """More waits than one claim takes; the first handler pauses its own name."""
        clock = ManualClock()
        store = MemoryStore(clock=clock)
        handled: list[Any] = []
        receivers = Receivers()

        def pause(data: object) -> None:
            if not handled:
                client.http.post_json("/admin/pause", {"names": ["a"]})
            handled.append(data)

        receivers.connect("a", pause, id="a")
        client = make_client(receivers, store=store)
        mailbox = Mailbox(store, clock=clock)
        for _ in range(2000):
            mailbox.send([("a", b"\xf6")])
        client.task({"names": ["a"]})
        assert 0 < len(handled) < 2000
        assert client.http.get("/admin/status").json["totals"]["waiting"] == 2000 - len(handled)
