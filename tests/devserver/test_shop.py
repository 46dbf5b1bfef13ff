"""The example: its frontend and its receivers, over the API server's memcache."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from webtest import TestApp

from devserver.appengine.client import connected, ticket
from devserver.appengine.server import ApiServer
from devserver.appengine.services import AppEngine
from devserver.tasks.emulator import TasksEmulator
from gaesignals import deliver, waiting_names
from gaesignals.data.codec import loads
from gaesignals.format.rescue import Rescue
from gaesignals.mailbox import current_mailbox
from gaesignals.mailbox.look import MailboxStatus
from shop import ledger
from shop.frontend import create_app
from shop.orders import Order
from shop.signals import receivers

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def api_server() -> Iterator[ApiServer]:
    with ApiServer() as server, connected(server.port):
        yield server


@pytest.fixture
def app() -> TestApp:
    return TestApp(create_app(worker_url="http://localhost:8081"))


def deliver_all() -> dict[str, Any]:
    deliver(receivers, names=waiting_names(receivers))
    return ledger.handled()


@pytest.fixture
def emulator() -> Iterator[TasksEmulator]:
    with TasksEmulator((ROOT / "examples" / "shop" / "queue.yaml").read_text(), {}.get) as emulator:
        yield emulator


class TestOrders:
    """With Datastore and the queues."""

    @pytest.fixture(autouse=True)
    def api_server(self, emulator: TasksEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
        monkeypatch.setenv("APPLICATION_ID", "dev~localdev")
        with ApiServer(app_engine=AppEngine(tasks_address=emulator.address)) as server, connected(server.port):
            yield server

    def test_an_order_comes_with_a_task_for_its_packing_and_one_for_a_reminder_later(
        self, app: TestApp, emulator: TasksEmulator
    ) -> None:
        number = app.post("/order", {"item": "shoes"}).json["order"]
        queue = emulator.queues["signals-later"]
        names = queue.names_after("", limit=10)
        tasks = sorted((task for name in names if (task := queue.get(name))), key=lambda task: task.due_at)
        found = [Rescue.from_bytes(task.message.app_engine_http_request.body).messages for task in tasks]
        assert [name for messages in found for name, _ in messages] == ["order_placed", "payment_reminder"]
        assert loads(found[0][0][1].payload) == {"order": number, "item": "shoes"}
        assert 50 < tasks[1].due_at - tasks[0].due_at < 70

    def test_an_order_that_is_not_stored_has_none(
        self, app: TestApp, emulator: TasksEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("shop.orders.REMINDER_SECONDS", 10**9)
        app.post("/order", {"item": "shoes"}, status=400)
        assert Order.query().count() == 0
        assert emulator.queues["signals-later"].names_after("", limit=10) == []


class TestExamples:
    def test_of_page_views_wait_and_are_counted_in_a_batch(self, app: TestApp) -> None:
        assert app.post("/try", {"example": "views"}).json["sent"] == "50 × page_viewed"
        assert app.get("/waiting.json").json["page_viewed"]["waiting"] == 50
        assert deliver_all()["counts"] == {"page_viewed": 50}
        assert app.get("/waiting.json").json["page_viewed"]["waiting"] == 0

    def test_of_a_declined_order_is_retried_and_becomes_a_dead_letter(
        self, app: TestApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app.post("/try", {"example": "decline"})
        deliver(receivers, names=["order_paid"])
        assert app.get("/waiting.json").json["order_paid"] == {"waiting": 0, "running": 0, "retrying": 1, "dead": 0}
        now = time.time()
        for _ in range(4):
            now += 60
            monkeypatch.setattr(current_mailbox(), "clock", lambda at=now: at)
            deliver(receivers, names=["order_paid"])
        assert app.get("/waiting.json").json["order_paid"] == {"waiting": 0, "running": 0, "retrying": 0, "dead": 1}

    def test_of_a_name_made_at_run_time_are_shown_before_anything_was_handled(self, app: TestApp) -> None:
        app.post("/try", {"example": "password"})
        assert app.get("/waiting.json").json["user_54274_password_change"]["waiting"] == 1

    def test_that_wait_where_memcache_does_not_answer_are_not_known(
        self, app: TestApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app.post("/try", {"example": "pay"})
        unread = replace(MailboxStatus("order_paid"), is_readable=False)
        monkeypatch.setattr("shop.waiting.look", lambda mailbox, names: {"order_paid": unread})
        assert app.get("/waiting.json").json["order_paid"]["waiting"] is None

    def test_there_are_no_others(self, app: TestApp) -> None:
        assert "example has to be one of" in app.post("/try", {"example": "x"}, status=400).json["error"]
        app.post("/try", {"example": "pay"}, headers={"Origin": "http://evil.example"}, status=403)

    def test_work_without_a_script(self, app: TestApp) -> None:
        headers = {"Accept": "text/html"}
        page = app.get("/", headers=headers).forms[0].submit("example", value="pay", headers=headers).follow()
        assert page.html.find(class_="flash").text.startswith("Sent 1 × order_paid, order ")


class TestSending:
    def test_as_many_signals_as_asked_for_are_sent(self, app: TestApp) -> None:
        answer = app.post("/send", {"name": "page_viewed", "data": '{"path": "/"}', "count": "250"}).json
        assert answer["sent"] == len(set(answer["ids"])) == 250
        assert deliver_all()["counts"] == {"page_viewed": 250}

    def test_one_signal_is_sent_unless_a_count_is_given(self, app: TestApp) -> None:
        assert app.post("/send", {"name": "order_paid"}).json["sent"] == 1

    @pytest.mark.parametrize(
        ("text", "handled"),
        [
            ('{"order": 1}', '{"order": 1}'),
            ("[1, 2.5, null]", "[1, 2.5, null]"),
            ("plain text", '"plain text"'),
            ("{broken", '"{broken'),
            ("", "null"),
            ("[" * 100_000, '"[[['),
            ("9" * 5000, '"999'),
        ],
    )
    def test_data_is_json_if_it_parses_and_text_if_not(self, app: TestApp, text: str, handled: str) -> None:
        app.post("/send", {"name": "order_paid", "data": text})
        (latest,) = deliver_all()["latest"]
        assert latest["data"].startswith(handled)

    @pytest.mark.parametrize("name", ["a{b}c", "a/b:c*?[", "naïve ✓"])
    def test_a_name_is_taken_as_it_is(self, app: TestApp, name: str) -> None:
        assert app.post("/send", {"name": name}).json["sent"] == 1

    @pytest.mark.parametrize(
        ("form", "status", "message"),
        [
            ({"name": ""}, 400, "a name has at least one character"),
            ({"name": "a\nb"}, 400, "control character"),
            ({"name": "n" * 201}, 400, "200 is the most"),
            ({"name": "a", "count": "0"}, 400, "count has to be a number from 1 to 10000"),
            ({"name": "a", "count": "many"}, 400, "count has to be a number"),
            ({"name": "a", "count": "10001"}, 400, "count has to be a number"),
            ({"name": "a", "data": "x" * 960_000}, 400, "bytes"),
            ({"name": "a", "data": "x" * 10_000, "count": "2000"}, 400, "more than 16 MB"),
            ({"name": "a", "data": '"\\ud800"'}, 400, "surrogate"),
            ({"name": "a", "data": "x" * 3_000_000}, 413, "exceeds"),
        ],
    )
    def test_what_cannot_be_sent_is_refused_with_the_reason_and_nothing_is_stored(
        self, app: TestApp, api_server: ApiServer, form: dict[str, str], status: int, message: str
    ) -> None:
        answer = app.post("/send", form, status=status)
        assert message in answer.json["error"]
        assert ("memcache", "Set") not in api_server.app_engine.calls

    def test_a_memcache_that_does_not_answer_is_not_taken_for_success(
        self, app: TestApp, api_server: ApiServer
    ) -> None:
        api_server.close()
        assert "not stored" in app.post("/send", {"name": "a"}, status=503).json["error"]

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
        ],
    )
    def test_a_page_of_another_site_sends_nothing(
        self, app: TestApp, api_server: ApiServer, headers: dict[str, str]
    ) -> None:
        app.post("/send", {"name": "a"}, headers=headers, status=403)
        assert not api_server.app_engine.calls

    @pytest.mark.parametrize(
        "headers",
        [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost"}],
    )
    def test_a_script_and_the_page_itself_do(self, app: TestApp, headers: dict[str, str]) -> None:
        app.post("/send", {"name": "a"}, headers=headers, status=200)


class TestPage:
    HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}  # noqa: RUF012  # never changed

    def test_has_a_form_examples_and_a_link_to_the_worker(self, app: TestApp) -> None:
        page = app.get("/", headers=self.HTML)
        assert page.html.find("a", href="http://localhost:8081/admin/")
        assert [button["value"] for button in page.html.find_all("button", attrs={"name": "example"})] == [
            "views",
            "pay",
            "decline",
            "password",
            "place",
        ]

    def test_has_no_link_where_the_worker_is_not_known(self) -> None:
        assert TestApp(create_app()).get("/").html.find("a", class_="button") is None

    def test_works_without_its_script(self, app: TestApp) -> None:
        form = app.get("/", headers=self.HTML).forms["form"]
        form["name"], form["count"] = "page_viewed", "3"
        page = form.submit(headers=self.HTML).follow(headers=self.HTML)
        assert page.html.find(class_="flash").text == "Sent 3 × page_viewed."
        assert deliver_all()["counts"] == {"page_viewed": 3}

    def test_shows_what_is_wrong_and_keeps_what_was_typed(self, app: TestApp) -> None:
        page = app.post("/send", {"name": "<b>\t", "data": "<i>", "count": "7"}, headers=self.HTML, status=400)
        assert "control character" in page.html.find(class_="flash bad", role="alert").text
        form = page.forms["form"]
        assert (form["name"].value, form["data"].value, form["count"].value) == ("<b>\t", "<i>", "7")

    def test_every_field_has_a_label_and_nothing_comes_from_elsewhere(self, app: TestApp) -> None:
        page = app.get("/")
        fields = page.html.find_all(["input", "textarea"])
        assert [field["name"] for field in fields if field.find_parent("label") is None] == []
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert page.html.find_all("script", src=False) == page.html.find_all(style=True) == []

    @pytest.mark.parametrize("name", ["shop.css", "shop.js", "icon.svg"])
    def test_its_files_are_there(self, app: TestApp, name: str) -> None:
        assert app.get(f"/static/{name}").body

    def test_is_healthy(self, app: TestApp) -> None:
        assert app.get("/healthz").json == {"status": "ok"}


class TestHandled:
    def test_is_empty_at_first(self, app: TestApp) -> None:
        answer = app.get("/handled.json")
        assert answer.json == {"counts": {}, "latest": []}
        assert answer.headers["Cache-Control"] == "no-store"

    def test_counts_each_name_and_shows_the_latest(self, app: TestApp) -> None:
        for name in ("order_paid", "user_1_password_change", "user_2_password_change"):
            app.post("/send", {"name": name, "data": "5"})
        deliver_all()
        answer = app.get("/handled.json").json
        assert answer["counts"] == {"order_paid": 1, "user_1_password_change": 1, "user_2_password_change": 1}
        assert {entry["name"] for entry in answer["latest"]} == set(answer["counts"])
        assert set(answer["latest"][0]) == {"id", "name", "data", "attempt", "handled_at"}

    def test_shows_no_more_than_the_latest_twenty(self, app: TestApp) -> None:
        app.post("/send", {"name": "page_viewed", "count": "30"})
        assert len(deliver_all()["latest"]) == ledger.MAX_LATEST

    def test_a_declined_order_is_tried_again_and_not_counted(self, app: TestApp) -> None:
        app.post("/send", {"name": "order_paid", "data": json.dumps({"declined": True})})
        report = deliver(receivers, names=["order_paid"])
        assert (report.retried, report.delivered) == (1, 0)
        assert ledger.handled()["counts"] == {}


def test_counts_are_exact_under_concurrency() -> None:
    def enter_some(thread: int) -> None:
        with ticket():
            for number in range(20):
                entry = ledger.Entry(f"{thread}-{number}", "a", "null", 1, "")
                ledger.enter(f"name{number % 3}", [entry, entry])

    threads = [threading.Thread(target=enter_some, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.handled()["counts"] == {"name0": 56, "name1": 56, "name2": 48}


def test_data_of_any_type_is_shown_as_a_short_text() -> None:
    assert ledger.short_text(b"\x00") == "b'\\x00'"
    assert len(ledger.short_text("x" * 1000)) == 200
