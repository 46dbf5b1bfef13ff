"""Dead letters for scripts, and the payload of one of them for whoever has to understand it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from gaesignals import Receivers, send_many
from gaesignals.cloudlog import fields_of
from gaesignals.testing import MemoryStore
from worker.admin.letters import MAX_ROWS
from worker.admin.payload import MAX_PAYLOAD_CHARACTERS
from worker.config import Environment

from ..conftest import Client, MakeClient

MARKUP = """<script>alert("1")</script>'&amp;"""
BODY = "x" * 20_000


@pytest.fixture
def receivers() -> Receivers:
    receivers = Receivers()
    for name in ("firm", MARKUP):

        def explode(data: object) -> None:
            raise RuntimeError(f"cannot: {MARKUP}")

        receivers.connect(name, explode, reliable=True, max_attempts=1, id=f"shop.{len(name)}")
    return receivers


@pytest.fixture
def client(make_client: MakeClient, receivers: Receivers) -> Client:
    return make_client(receivers)


def die(client: Client, *values: Any, name: str = "firm") -> list[str]:
    """The ids of the letters, the newest first."""
    for value in values:
        client_send(name, value)
        client.task({"names": [name]})
    return [each["id"] for each in client.http.get("/admin/dead", {"name": name}).json["letters"]]


def client_send(name: str, value: Any) -> None:
    send_many([(name, value)])


def payload(client: Client, id_: str, name: str = "firm", **options: Any) -> Any:
    return client.http.get("/admin/dead/payload", {"name": name, "id": id_}, **options).json


class TestLetters:
    def test_are_listed_the_newest_first_and_without_payload(self, client: Client) -> None:
        ids = die(client, "hunter2", "hunter3")
        answer = client.http.get("/admin/dead?name=firm")
        assert answer.json["name"] == "firm"
        newest, oldest = answer.json["letters"]
        assert list(newest) == ["id", "sent_at", "died_at", "attempts", "receivers", "error"]
        assert [newest["id"], oldest["id"]] == ids
        assert (newest["attempts"], newest["receivers"]) == (1, ["shop.4"])
        assert "Traceback" in newest["error"]
        assert MARKUP in newest["error"]
        assert datetime.fromisoformat(newest["died_at"]) >= datetime.fromisoformat(newest["sent_at"])
        assert "hunter" not in answer.text

    def test_are_listed_without_reading_large_payloads(self, make_client: MakeClient, receivers: Receivers) -> None:
        store = MemoryStore()
        client = make_client(receivers, store=store)
        client.http.post_json("/admin/send", {"name": "firm", "data": BODY, "count": 3})
        client.task({"names": ["firm"]})
        for path in ("/admin/dead?name=firm", "/admin/dead"):
            before = len(store.calls)
            client.http.get(path)
            assert len(store.calls) - before == 1

    def test_of_a_name_with_markup_are_text(self, client: Client) -> None:
        die(client, 1, name=MARKUP)
        for path in ("/admin/dead", "/admin/"):
            page = client.browse(path)
            assert not any(script.text for script in page.html.select("script"))
            letters = client.browse(page.html.select_one('a[href^="/admin/dead?name="]')["href"])
            assert not any(script.text for script in letters.html.select("script"))
            shown = client.browse(letters.html.select_one('a[href^="/admin/dead/payload"]')["href"])
            assert shown.html.select_one("pre").text == "1"

    def test_while_memcache_is_down_are_an_error(self, client: Client, break_memcache: Callable[[], None]) -> None:
        break_memcache()
        for path in ("/admin/dead", "/admin/dead?name=firm", "/admin/dead/payload?name=firm&id=x"):
            assert "The store" in client.http.get(path, status=503).json["error"]


def listed(page: Any) -> list[str]:
    return [each.text for each in page.html.select("tbody th")]


class TestThousandsOfNames:
    @pytest.fixture
    def client(self, make_client: MakeClient) -> Client:
        receivers = Receivers()
        receivers.connect("user_{id}", lambda data, *, id: 1 / 0, reliable=True, max_attempts=1, id="all")
        return make_client(receivers)

    def test_are_paged_by_how_many_they_have(self, client: Client) -> None:
        names = [f"user_{number}" for number in range(MAX_ROWS + 3)]
        send_many([(name, None) for name in names])
        send_many([(name, None) for name in names[100:]])
        client.task({"names": names[:100]})
        client.task({"names": names[100:]})
        first = client.browse("/admin/dead")
        assert len(listed(first)) == MAX_ROWS
        assert listed(first)[:3] == names[100:]
        assert first.html.select_one(".paging span").text == "1–100 of 103"
        second = client.browse(first.html.find("a", string="Next")["href"])
        assert set(listed(second)) == set(names) - set(listed(first))
        assert second.html.select_one(".paging span").text == "101–103 of 103"
        assert listed(client.browse(second.html.find("a", string="Previous")["href"])) == listed(first)
        assert listed(client.browse("/admin/dead?start=999999")) == listed(second)
        assert client.browse("/admin/dead?start=x", status=400)
        assert len(client.http.get("/admin/dead").json["names"]) == 103


class TestLettersOfSeveralNames:
    def choose(self, client: Client, *names: str, action: str) -> Any:
        form = client.browse("/admin/dead").forms["chosen"]
        for box in form.fields["names"]:
            box.checked = box._value in names
        return form.submit("action", value=action, headers={"Accept": "text/html"})

    @pytest.fixture(autouse=True)
    def dead(self, client: Client) -> None:
        die(client, 1, 2)
        die(client, 3, name=MARKUP)

    @pytest.mark.parametrize(
        ("action", "told"), [("requeue", "3 messages sent again."), ("drop", "3 dead letters dropped.")]
    )
    def test_are_requeued_or_dropped_together_after_a_question(self, client: Client, action: str, told: str) -> None:
        page = self.choose(client, "firm", MARKUP, action=action)
        assert page.html.h1.text == f"{action.capitalize()} all dead letters of 2 names?"
        assert [each.text for each in page.html.select(".chosen bdi")] == ["firm", MARKUP]
        assert "names=firm" in page.html.select_one(".command pre").text
        assert client.http.get("/admin/dead").json["names"] == {"firm": 2, MARKUP: 1}
        done = page.form.submit(headers={"Accept": "text/html"}).follow(headers={"Accept": "text/html"})
        assert " ".join(done.html.select_one(".flash [role=status]").text.split()) == told
        assert client.http.get("/admin/dead").json["names"] == {}

    def test_are_searched_by_name(self, client: Client) -> None:
        assert client.http.get("/admin/dead", {"search": "FIR"}).json["names"] == {"firm": 2}
        assert listed(client.browse("/admin/dead?search=FIR")) == ["firm"]
        nothing = client.browse("/admin/dead?search=<b>")
        assert "No name with dead letters contains <b>." in nothing.html.text
        assert nothing.forms[0]["search"].value == "<b>"

    @pytest.mark.parametrize("action", ["requeue", "drop"])
    def test_of_no_name_do_not_stand_for_all(self, client: Client, action: str) -> None:
        assert self.choose(client, action=action).html.h1.text == "Nothing is chosen"

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("/admin/dead/drop", {"names": ["firm"], "name": "firm"}),
            ("/admin/dead/drop", {"names": ["firm"], "ids": ["x"]}),
            ("/admin/dead/drop", {"names": []}),
            ("/admin/dead/drop", {"names": [f"n{number}" for number in range(1001)]}),
        ],
    )
    def test_are_not_touched_by_a_bad_request(self, client: Client, path: str, fields: dict[str, Any]) -> None:
        client.http.post_json(path, fields, status=400)
        assert client.http.get("/admin/dead").json["names"] == {"firm": 2, MARKUP: 1}

    def test_have_nothing_else_done_with_them(self, client: Client) -> None:
        client.submit("/admin/dead/names/confirm", {"names": "firm", "action": "look"}, status=400)

    def test_are_logged_name_by_name(self, client: Client, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", logger="gaesignals.worker"):
            client.http.post_json("/admin/dead/drop", {"names": ["firm", MARKUP]})
        told = [fields_of(record)["signals_name"] for record in caplog.records]
        assert told == ["'firm'", ascii(MARKUP)]


class TestAPayload:
    @pytest.mark.parametrize("value", [None, 7, "text", {"a": [1, (2,)]}, b"\x00", MARKUP, datetime(2026, 1, 1)])
    def test_is_shown_as_python_writes_it(self, client: Client, value: Any) -> None:
        (id_,) = die(client, value)
        assert payload(client, id_) == {"name": "firm", "id": id_, "data": repr(value)}
        page = client.http.get("/admin/dead/payload", {"name": "firm", "id": id_}, headers={"Accept": "text/html"})
        assert page.html.select_one("pre").text == repr(value)
        assert page.html.find("script") is None

    def test_is_cut(self, client: Client) -> None:
        (id_,) = die(client, BODY)
        assert payload(client, id_)["data"] == repr(BODY)[:MAX_PAYLOAD_CHARACTERS]

    def test_with_more_digits_than_python_shows_is_said_to_be(self, client: Client) -> None:
        (id_,) = die(client, 10**5000)
        assert payload(client, id_)["data"] in (
            repr_or_note(10**5000),
            "<it has an integer with more digits than Python shows>",
        )

    def test_that_was_evicted_is_not_found(self, make_client: MakeClient, receivers: Receivers) -> None:
        store = MemoryStore()
        client = make_client(receivers, store=store)
        client.http.post_json("/admin/send", {"name": "firm", "data": BODY})
        client.task({"names": ["firm"]})
        (letter,) = client.http.get("/admin/dead?name=firm").json["letters"]
        assert store.evict(lambda key: key.startswith(b"gs:b:dead."))
        assert "evicted" in payload(client, letter["id"], status=404)["error"]
        page = client.submit("/admin/dead/requeue", {"name": "firm"}).follow(headers={"Accept": "text/html"})
        assert "Nothing was sent again" in page.html.select_one(".flash [role=status]").text

    def test_that_somebody_sees_is_logged_and_not_what_it_is(
        self, client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        (id_,) = die(client, "hunter2", name=MARKUP)
        payload(client, id_, MARKUP)
        (record,) = [each for each in caplog.records if each.message == "a dead letter's payload is shown"]
        assert record.levelno == logging.INFO
        assert (record.signals_name, record.signals_message) == (ascii(MARKUP), id_)  # type: ignore[attr-defined]
        assert "hunter2" not in caplog.text

    def test_is_logged_with_the_e_mail_of_who_asked(
        self, make_client: MakeClient, receivers: Receivers, app_engine: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        (id_,) = die(make_client(receivers), 1)
        client = make_client(receivers, environment=Environment.STANDARD)
        app_engine.setup_env(USER_EMAIL="ada@example.com", USER_ID="1", USER_IS_ADMIN="1", overwrite=True)
        payload(client, id_)
        (record,) = [each for each in caplog.records if each.message == "a dead letter's payload is shown"]
        assert record.caller == "'ada@example.com'"  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("query", "status", "error"),
        [
            ("", 400, "name is missing"),
            ("?id=x", 400, "name is missing"),
            ("?name=firm", 400, "id is missing: which message?"),
            ("?name=firm&id=", 400, "id is missing"),
            ("?name=&id=x", 400, "bad signal name"),
            ("?name=firm&id=unknown", 404, "no such dead letter"),
            ("?name=quiet&id=x", 404, "no such dead letter"),
        ],
    )
    def test_of_nobody_is_a_clear_error(self, client: Client, query: str, status: int, error: str) -> None:
        assert error in client.http.get(f"/admin/dead/payload{query}", status=status).json["error"]

    def test_is_not_shown_to_strangers(self, make_client: MakeClient, receivers: Receivers) -> None:
        (id_,) = die(make_client(receivers), 1)
        payload(make_client(receivers, environment=Environment.STANDARD), id_, status=403)


def repr_or_note(value: int) -> str:
    try:
        return repr(value)
    except ValueError:
        return ""


def test_requeueing_some_reads_the_payloads_of_those_alone(make_client: MakeClient, receivers: Receivers) -> None:
    store = MemoryStore()
    client = make_client(receivers, store=store)
    for _ in range(2):
        client.http.post_json("/admin/send", {"name": "firm", "data": BODY})
        client.task({"names": ["firm"]})
    newest, _ = client.http.get("/admin/dead?name=firm").json["letters"]
    before = len(store.calls)
    client.http.post_json("/admin/dead/requeue", {"name": "firm", "ids": [newest["id"]]})
    read = {key for call in store.calls[before:] if call.verb == "gets" for key in call.keys}
    assert len([key for key in read if key.startswith(b"gs:b:dead.")]) == 1


def test_a_requeue_that_came_half_way_does_not_say_that_it_can_be_repeated(
    make_client: MakeClient, receivers: Receivers
) -> None:
    store = MemoryStore()
    client = make_client(receivers, store=store)
    client.http.post_json("/admin/send", {"name": "firm", "data": "1"})
    client.task({"names": ["firm"]})
    dead = b"gs:d:firm"
    store.before = lambda call: [dead] if call.verb == "write" and dead in call.keys else []
    refused = client.http.post_json("/admin/dead/requeue", {"name": "firm"}, status=503)
    assert "look at them before repeating it" in refused.json["error"]


def test_letters_of_a_receiver_that_was_renamed_can_be_requeued_for_those_of_today(make_client: MakeClient) -> None:
    handled: list[object] = []

    def fail(data: object) -> None:
        raise ValueError

    receivers = Receivers()
    receivers.connect("firm", fail, reliable=True, max_attempts=1, id="before")
    store = MemoryStore()
    client = make_client(receivers, store=store)
    client.http.post_json("/admin/send", {"name": "firm", "data": "7"})
    client.task({"names": ["firm"]})
    renamed = Receivers()
    renamed.connect("firm", handled.append, reliable=True, id="after")
    client = make_client(renamed, store=store)
    asked = {"name": "firm", "receivers": "current"}
    assert client.http.post_json("/admin/dead/requeue", asked).json == {"requeued": 1}
    client.task({"names": ["firm"]})
    assert handled == ["7"]


@pytest.mark.parametrize(("path", "whom"), [("requeue", "all"), ("requeue", ""), ("drop", "current")])
def test_whom_letters_are_requeued_for_is_one_of_two(client: Client, path: str, whom: str) -> None:
    client.http.post_json(f"/admin/dead/{path}", {"name": "firm", "receivers": whom}, status=400)
