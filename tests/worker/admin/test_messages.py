"""The messages of a name for people and scripts, and what is done with those that are to be retried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from gaesignals import Message, Receivers, current_message, send_many
from gaesignals.cloudlog import fields_of
from gaesignals.testing import MemoryStore

from ..conftest import Client, MakeClient

MARKUP = """<script>alert("1")</script>'&amp;"""
HTML = {"Accept": "text/html"}


class Shop:
    """Receivers that fail until they are mended."""

    def __init__(self) -> None:
        self.is_broken = True
        self.handled: list[object] = []
        self.dead: list[tuple[object, str]] = []
        self.receivers = Receivers(on_dead=self._note)
        for name in ("firm", MARKUP):
            self.receivers.connect(name, self._handle, reliable=True, backoff_seconds=3600, id=f"shop.{len(name)}")

    def _handle(self, data: object) -> None:
        if self.is_broken:
            raise RuntimeError(f"cannot: {MARKUP}")
        self.handled.append(data)

    def _note(self, message: Message, error: str) -> None:
        self.dead.append((message.data, error))


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def client(make_client: MakeClient, shop: Shop) -> Client:
    return make_client(shop.receivers)


def fail(client: Client, *values: object, name: str = "firm") -> list[str]:
    """Have these values fail once; return their ids."""
    ids = send_many([(name, value) for value in values])
    client.task({"names": [name]})
    return ids


def listed(client: Client, **query: str) -> Any:
    return client.http.get("/admin/messages", {"name": "firm", **query}).json


class TestMessages:
    def test_are_listed_with_what_is_known_of_each_and_without_payload(self, client: Client) -> None:
        (id_,) = fail(client, "hunter2")
        send_many([("firm", "hunter3")])
        answer = client.http.get("/admin/messages?name=firm")
        assert "hunter" not in answer.text
        assert answer.json["counts"] == {"retrying": 1, "leased": 0, "waiting": 1}
        assert (answer.json["omitted"], answer.json["missing"], answer.json["readable"]) == (0, 0, True)
        retry, fresh = answer.json["messages"]
        assert (retry["id"], retry["state"], retry["attempt"], retry["receivers"]) == (id_, "retrying", 2, ["shop.4"])
        assert "cannot" in retry["error"]
        assert datetime.fromisoformat(retry["next_try_at"]) > datetime.fromisoformat(retry["sent_at"])
        assert (fresh["state"], fresh["attempt"], fresh["next_try_at"], fresh["error"]) == ("waiting", 1, None, None)

    def test_are_listed_by_how_they_stand(self, client: Client) -> None:
        fail(client, 1)
        send_many([("firm", number) for number in range(120)])
        found = listed(client, state="waiting")
        assert (len(found["messages"]), found["omitted"], found["counts"]["retrying"]) == (100, 20, 1)
        assert [each["state"] for each in listed(client, state="retrying")["messages"]] == ["retrying"]
        assert client.http.get("/admin/messages?name=firm&state=lost", status=400)

    def test_of_no_name_in_particular_are_a_bad_request(self, client: Client) -> None:
        assert "whose messages" in client.http.get("/admin/messages", status=400).json["error"]

    def test_are_shown_as_text_whatever_they_say(self, client: Client) -> None:
        fail(client, MARKUP, name=MARKUP)
        page = client.browse("/admin/name", params={"name": MARKUP})
        page = client.browse(page.html.select_one('a[href*="state=retrying"]')["href"])
        assert not any(script.text for script in page.html.select("script"))
        assert MARKUP in page.html.select_one("tr.error").text
        shown = client.browse(page.html.select_one('a[href^="/admin/messages/payload"]')["href"])
        assert shown.html.select_one("pre").text == repr(MARKUP)

    @pytest.mark.parametrize("state", ["", "retrying", "leased", "waiting"])
    def test_of_a_name_without_any_are_said_to_be_none(self, client: Client, state: str) -> None:
        page = client.browse("/admin/messages", params={"name": "firm", "state": state})
        assert "under this name" in page.html.select_one(".empty").text

    def test_while_memcache_is_down_are_an_error(self, client: Client, break_memcache: Callable[[], None]) -> None:
        break_memcache()
        assert "The store" in client.http.get("/admin/messages?name=firm", status=503).json["error"]

    def test_that_are_in_part_unreadable_are_said_to_be(self, make_client: MakeClient, shop: Shop) -> None:
        store = MemoryStore()
        client = make_client(shop.receivers, store=store)
        client.http.post_json("/admin/send", {"name": "firm", "data": "x" * 9000, "count": 3})
        store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:b:")]
        page = client.browse("/admin/messages?name=firm")
        assert "did not answer for all" in page.html.select_one(".flash.bad").text
        store.before = None
        store.delete([key for key in store.keys() if key.startswith(b"gs:b:")])  # noqa: SIM118 - not a dict
        page = client.browse("/admin/messages?name=firm")
        assert "3 messages cannot be read" in page.html.select_one(".flash.bad").text


class TestAPayload:
    def test_is_shown_when_it_is_asked_for_and_who_asks_is_logged(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        (id_,) = fail(client, {"card": "hunter2"})
        with caplog.at_level(logging.INFO, logger="gaesignals.worker"):
            answer = client.http.get("/admin/messages/payload", {"name": "firm", "id": id_})
        assert answer.json == {"name": "firm", "id": id_, "data": "{'card': 'hunter2'}"}
        (told,) = [record for record in caplog.records if record.message == "a message's payload is shown"]
        assert fields_of(told)["signals_message"] == f"'{id_}'"
        assert "caller" in fields_of(told)
        assert "hunter" not in caplog.text

    def test_of_a_message_that_is_gone_is_not_found(self, client: Client) -> None:
        client.http.get("/admin/messages/payload?name=firm&id=x", status=404)
        client.http.get("/admin/messages/payload?name=firm", status=400)


class TestRunning:
    def test_one_now_hands_it_to_a_task(self, client: Client, shop: Shop) -> None:
        one, _ = fail(client, 1, 2)
        shop.is_broken = False
        client.queue.tasks.clear()
        assert client.http.post_json("/admin/messages/run", {"name": "firm", "ids": [one, "x"]}).json == {
            "run": 1,
            "missing": 1,
            "which": {},
        }
        client.run_tasks()
        assert shop.handled == [1]

    def test_one_that_is_gone_starts_nothing(self, client: Client) -> None:
        client.http.post_json("/admin/messages/run", {"name": "firm", "ids": ["x"]})
        assert client.queue.tasks == []


class TestWhatIsNotToBeRetried:
    @pytest.mark.parametrize("action", ["run", "drop", "kill"])
    def test_is_left_alone_and_the_answer_says_how_it_stands(self, client: Client, action: str) -> None:
        (id_,) = send_many([("firm", 1)])
        answer = client.http.post_json(f"/admin/messages/{action}", {"name": "firm", "ids": [id_, "gone"]}).json
        assert (answer["missing"], answer["which"]) == (2, {"waiting": [id_]})
        assert listed(client)["counts"] == {"retrying": 0, "leased": 0, "waiting": 1}

    def test_is_told_to_a_person(self, client: Client) -> None:
        (id_,) = send_many([("firm", 1)])
        answer = client.submit("/admin/messages/drop", [("name", "firm"), ("ids", id_), ("ids", "gone")])
        told = client.browse(answer.location).html.select_one(".flash [role=status]").text
        assert "1 message waits for its first run: only what is to be retried" in told
        assert "1 message is not there any more, or done" in told

    def test_is_left_to_the_delivery_that_has_it(self, make_client: MakeClient) -> None:
        answers = []

        def handle(data: object) -> None:
            ids = [current_message().id]
            answers.append(client.http.post_json("/admin/messages/run", {"name": "firm", "ids": ids}).json)

        receivers = Receivers()
        receivers.connect("firm", handle, reliable=True)
        client = make_client(receivers)
        (id_,) = send_many([("firm", 1)])
        client.task({"names": ["firm"]})
        assert answers == [{"run": 0, "missing": 1, "which": {"leased": [id_]}}]


class TestKilling:
    def test_keeps_in_sight_what_failed(self, client: Client) -> None:
        (id_,) = fail(client, 1)
        client.http.post_json("/admin/messages/kill", {"name": "firm", "ids": [id_]})
        headline = client.browse("/admin/dead?name=firm").html.select_one(".letters h2")
        assert "cannot" in headline.select_one("code").text
        assert headline.select_one(".badge").text == "an administrator made it a dead letter"

    def test_is_counted_as_any_death_is(self, client: Client) -> None:
        one, two, _ = fail(client, 1, 2, 3)
        client.http.post_json("/admin/messages/kill", {"name": "firm", "ids": [one, two]})
        client.http.post_json("/admin/messages/kill", {"name": "firm", "ids": [one]})
        status, metrics = client.http.get("/admin/status").json, client.http.get("/metrics").text
        assert sum(point["dead"] or 0 for point in status["history"]["points"]) == 2
        assert [each["dead"] for each in status["receivers"]] == [2, 0]
        assert "gaesignals_dead_total 2\n" in metrics
        assert 'gaesignals_name_messages_total{name="firm",outcome="dead"} 2\n' in metrics

    def test_makes_a_dead_letter_and_tells_on_dead(
        self, client: Client, shop: Shop, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, _ = fail(client, 1, 2)
        assert client.http.post_json("/admin/messages/kill", {"name": "firm", "ids": [one]}).json["killed"] == 1
        ((data, error),) = shop.dead
        assert data == 1
        assert "an administrator" in error
        assert "a message is dead" in caplog.text
        assert [each["id"] for each in client.http.get("/admin/dead?name=firm").json["letters"]] == [one]
        assert listed(client)["counts"]["retrying"] == 1


class TestChanges:
    def test_drop_what_they_name_and_nothing_else(self, client: Client) -> None:
        one, two, three = fail(client, 1, 2, 3)
        client.http.post_json("/admin/messages/drop", {"name": "firm", "ids": [one, three]})
        assert [each["id"] for each in listed(client)["messages"]] == [two]

    @pytest.mark.parametrize("action", ["run", "drop", "kill"])
    @pytest.mark.parametrize(
        "fields",
        [
            {"name": "firm"},
            {"name": "firm", "ids": []},
            {"name": "firm", "ids": [str(number) for number in range(101)]},
            {"ids": ["x"]},
            {"name": "firm", "ids": ["x"], "all": True},
        ],
    )
    def test_that_do_not_say_of_what_are_refused(self, client: Client, action: str, fields: dict[str, Any]) -> None:
        fail(client, 1)
        client.http.post_json(f"/admin/messages/{action}", fields, status=400)
        assert listed(client)["counts"]["retrying"] == 1

    @pytest.mark.parametrize("action", ["run", "drop", "kill"])
    def test_that_memcache_does_not_store_are_an_error(
        self, client: Client, break_memcache: Callable[[], None], action: str
    ) -> None:
        (id_,) = fail(client, 1)
        break_memcache()
        answer = client.http.post_json(f"/admin/messages/{action}", {"name": "firm", "ids": [id_]}, status=503)
        assert "nothing is changed" in answer.json["error"]

    def test_are_logged_with_who_made_them(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        (id_,) = fail(client, 1)
        with caplog.at_level(logging.INFO, logger="gaesignals.worker"):
            client.http.post_json("/admin/messages/drop", {"name": "firm", "ids": [id_]})
        (told,) = [record for record in caplog.records if record.message == "an administrator changed messages"]
        assert (fields_of(told)["action"], fields_of(told)["signals_count"]) == ("dropped", 1)


class TestThePage:
    @pytest.mark.parametrize(
        ("action", "question", "told"),
        [
            (
                "run",
                "Run 2 messages now, of firm?",
                "2 messages are due now, and handed to a task unless the name is paused.",
            ),
            ("drop", "Drop 2 messages, of firm?", "2 messages dropped."),
            ("kill", "Make 2 dead letters, of firm?", "2 messages are dead letters now."),
        ],
    )
    def test_asks_before_it_changes_several(self, client: Client, action: str, question: str, told: str) -> None:
        fail(client, 1, 2, 3)
        form = client.browse("/admin/messages?name=firm").forms["chosen"]
        for box in form.fields["ids"][:2]:
            box.checked = True
        page = form.submit("action", value=action, headers=HTML)
        assert page.html.h1.text == question
        assert f"/admin/messages/{action}" in page.html.select_one(".command pre").text
        assert listed(client)["counts"]["retrying"] == 3
        done = page.form.submit(headers=HTML).follow(headers=HTML)
        assert " ".join(done.html.select_one(".flash [role=status]").text.split()) == told

    def test_runs_one_with_a_button_of_its_own(self, client: Client, shop: Shop) -> None:
        fail(client, 1)
        shop.is_broken = False
        page = client.browse("/admin/messages?name=firm")
        button = page.html.select_one("tbody button")
        assert "Run now" in button.text
        fields = {each["name"]: each["value"] for each in button.parent.select("input")}
        done = client.submit("/admin/messages/run", fields).follow(headers=HTML)
        assert "1 message is due now" in done.html.select_one(".flash").text

    def test_says_of_a_retry_that_was_due_that_it_is_due_and_not_that_it_is_to_come(self, client: Client) -> None:
        (id_,) = fail(client, 1)
        assert "next try in" in client.browse("/admin/messages?name=firm").html.select_one("tbody").text
        client.http.post_json("/admin/messages/run", {"name": "firm", "ids": [id_]})
        row = " ".join(client.browse("/admin/messages?name=firm").html.select_one("tbody").text.split())
        assert " due now " in row or " due " in row

    def test_says_what_a_delivery_has_taken_meanwhile(self, client: Client) -> None:
        done = client.submit("/admin/messages/drop", {"name": "firm", "ids": "x"}).follow(headers=HTML)
        assert "1 message is not there any more, or done" in done.html.select_one(".flash").text

    def test_of_messages_that_only_wait_offers_nothing_to_change(self, client: Client) -> None:
        send_many([("firm", number) for number in range(3)])
        page = client.browse("/admin/messages?name=firm")
        assert page.html.select("input, button") == []

    def test_asks_about_nothing_where_nothing_is_chosen(self, client: Client) -> None:
        for path, told in (
            ("/admin/messages/confirm?name=firm&action=run", "Choose messages by their checkboxes first."),
            ("/admin/messages/confirm?name=firm&action=run&ids=x", "not to be retried any more"),
        ):
            assert told in client.browse(path).html.text
        client.browse("/admin/messages/confirm?name=firm&action=look", status=400)
