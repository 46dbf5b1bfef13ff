"""The administrator's routes, for scripts and for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import pytest
from bs4 import BeautifulSoup
from webtest import TestResponse

from gaesignals import Receivers, Signal, send_many
from gaesignals.data.codec import dumps
from gaesignals.format.keys import slot_key, slot_of
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import ManualClock, MemoryStore
from worker.admin.inspector import MAX_NAMES
from worker.admin.routes import distance

from ..conftest import TASK_HEADERS, Client, MakeClient

MARKUP = """<script>alert("1")</script>'&amp;"""
ODD_NAMES = [
    MARKUP,
    "a:b/c*d?e[f",
    "grüße 字 𝄞",
    "{braces}",
    "../../etc",
    "a" * 200,
    "\u202egnp.exe",
    "-",
    "%00",
    "' OR 1=1",
]
HTML = {"Accept": "text/html"}
DRAINED = {"names": 0, "tasks": 0, "refused": 0, "unmatched": 0, "unreadable": 0, "paused": 0, "which": {}}


@pytest.fixture
def handled() -> list[Any]:
    return []


@pytest.fixture
def client(make_client: MakeClient, handled: list[Any]) -> Client:
    receivers = Receivers()
    receivers.connect("weak", handled.append, id="shop.weak")
    receivers.connect(
        Signal("user_{user_id}_changed"), lambda data, *, user_id: handled.append(user_id), id="shop.users"
    )

    @receivers.receiver("firm", reliable=True, max_attempts=1, id="shop.firm")
    def explode(data: object) -> None:
        raise RuntimeError(f"cannot: {MARKUP}")

    return make_client(receivers)


def soup(response: TestResponse) -> BeautifulSoup:
    return BeautifulSoup(response.text, "html.parser")


def die(client: Client, count: int = 1, name: str = "firm") -> None:
    for _ in range(count):
        Signal(name).send("payload")
    client.task({"names": [name]})


def script(client: Client, path: str, body: object = None, **options: Any) -> TestResponse:
    return client.http.post(path, **options) if body is None else client.http.post_json(path, body, **options)


class TestDrain:
    def test_without_anything_dispatches_all_that_waits(self, client: Client) -> None:
        send_many([("weak", 1), ("user_7_changed", 2), ("nobodys", 3)])
        assert script(client, "/admin/drain").json == {
            **DRAINED,
            "names": 2,
            "tasks": 1,
            "unmatched": 1,
            "which": {"unmatched": ["nobodys"]},
        }

    def test_that_waits_is_refused_on_an_instance_that_stops(self, client: Client) -> None:
        Signal("weak").send()
        client.worker.stopping.set()
        answer = script(client, "/admin/drain", {"names": ["weak"], "wait": True}, status=503)
        assert "shutting down" in answer.json["error"]
        assert client.http.get("/admin/status").json["totals"]["waiting"] == 1

    def test_dispatches_again_what_cron_dispatched_already(self, client: Client) -> None:
        Signal("weak").send()
        client.cron()
        assert script(client, "/admin/drain").json["names"] == 1

    @pytest.mark.parametrize(
        "send",
        [
            lambda client: script(client, "/admin/drain", {"names": ["weak", "never_sent", "firm"]}),
            lambda client: client.http.post(
                "/admin/drain", [("names", "weak"), ("names", "never_sent"), ("names", "firm")]
            ),
            lambda client: client.http.post("/admin/drain?names=weak&names=never_sent&names=firm"),
            lambda client: client.http.post("/admin/drain?names=never_sent", [("names", "weak"), ("names", "firm")]),
        ],
    )
    def test_of_names_dispatches_those(self, client: Client, send: Callable[[Client], TestResponse]) -> None:
        send_many([("weak", 1), ("user_7_changed", 2)])
        assert send(client).json == {
            **DRAINED,
            "names": 2,
            "tasks": 1,
            "unmatched": 1,
            "which": {"unmatched": ["never_sent"]},
        }
        assert sorted(client.queue.tasks[0].names) == ["firm", "weak"]

    @pytest.mark.parametrize(
        "send",
        [
            lambda client: script(client, "/admin/drain", {"names": ["weak"], "wait": True}),
            lambda client: script(client, "/admin/drain", {"names": ["weak"], "wait": 1}),
            lambda client: client.http.post("/admin/drain", {"names": "weak", "wait": "1"}),
            lambda client: client.http.post("/admin/drain?wait=1", {"names": "weak"}),
            lambda client: client.http.post_json("/admin/drain?wait=1", {"names": ["weak"]}),
        ],
    )
    def test_that_waits_answers_with_the_report(
        self, client: Client, handled: list[Any], send: Callable[[Client], TestResponse]
    ) -> None:
        send_many([("weak", 1), ("user_7_changed", 2)])
        report = send(client).json
        assert handled == [1]
        assert (report["delivered"], report["more"], report["errors"]) == (1, [], [])
        assert client.queue.asked == 0

    def test_that_waits_delivers_everything_that_has_a_receiver(self, client: Client, handled: list[Any]) -> None:
        send_many([("weak", 1), ("user_7_changed", 2), ("nobodys", 3)])
        assert script(client, "/admin/drain", {"wait": True}).json["delivered"] == 2
        assert sorted(map(str, handled)) == ["1", "7"]

    def test_that_waits_finds_fixed_names_whose_entry_in_the_index_was_evicted(
        self, make_client: MakeClient, handled: list[Any]
    ) -> None:
        store = MemoryStore()
        Mailbox(store).send([("weak", dumps(1))])
        assert store.evict([slot_key(slot_of("weak"))])
        receivers = Receivers()
        receivers.connect("weak", handled.append, id="weak")
        script(make_client(receivers, store=store), "/admin/drain", {"wait": True})
        assert handled == [1]

    def test_that_waits_counts_names_without_a_receiver(self, client: Client) -> None:
        Signal("weak").send(1)
        names = ["weak", "waek", "wake"]
        report = script(client, "/admin/drain", {"names": names, "wait": True}).json
        assert (report["delivered"], report["unmatched"]) == (1, 2)
        page = soup(client.submit("/admin/drain", [("names", "waek"), ("wait", "1")]).follow())
        assert "1 name has no receiver here." in page.select_one(".flash").text

    def test_that_waits_says_what_failed(self, client: Client) -> None:
        Signal("firm").send("payload")
        report = script(client, "/admin/drain", {"names": ["firm"], "wait": True}).json
        assert (report["failed"], report["dead"]) == (1, 1)
        (error,) = report["errors"]
        assert (error["name"], error["receiver"]) == ("firm", "shop.firm")
        assert "RuntimeError" in error["error"]
        assert error["message_id"]

    def test_that_the_queue_refuses_is_a_failure_and_loses_nothing(self, client: Client, handled: list[Any]) -> None:
        Signal("weak").send(1)
        client.queue.refuse = lambda task: True
        assert script(client, "/admin/drain", status=503).json == {
            **DRAINED,
            "refused": 1,
            "which": {"refused": ["weak"]},
        }
        client.queue.refuse = lambda task: False
        client.cron()
        client.run_tasks()
        assert handled == [1]

    def test_takes_ten_thousand_names(self, client: Client) -> None:
        names = [f"user_{number}_changed" for number in range(10_000)]
        answer = script(client, "/admin/drain", {"names": names}).json
        assert (answer["names"], answer["tasks"]) == (10_000, 100)

    def test_takes_odd_names(self, make_client: MakeClient) -> None:
        receivers = Receivers()
        for number, name in enumerate(ODD_NAMES):
            receivers.connect(name if "{" not in name else "{any}", lambda data, **fields: None, id=str(number))
        client = make_client(receivers)
        for name in ODD_NAMES:
            answer = client.http.post("/admin/drain", {"names": name})
            assert answer.json["names"] == 1, name
        assert sorted(task.names[0] for task in client.queue.tasks) == sorted(ODD_NAMES)

    def test_answers_a_form_with_the_page(self, client: Client) -> None:
        Signal("weak").send()
        answer = client.submit("/admin/drain", {"names": "weak"}, status=303)
        assert answer.location == "/admin/?done=dispatched&names=1&tasks=1"
        assert "1 name went out in 1 task." in soup(answer.follow(headers={"Accept": "text/html"})).text.replace(
            "\n", " "
        )

    def test_that_waits_answers_a_form_with_the_page(self, client: Client) -> None:
        send_many([("weak", 1), ("firm", 2)])
        page = client.submit("/admin/drain", {"wait": "1"}, status=303).follow()
        flash = soup(page).select_one(".flash [role=status]")
        assert flash is not None
        assert "Delivered 1 message, 1 failed, 1 dead." in " ".join(flash.text.split())


class TestBadDrains:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({"names": "weak"}, "names has to be a list of strings, not a string"),
            ({"names": []}, "names is empty"),
            ({"names": [1]}, "it has a number in it"),
            ({"names": None}, "not null"),
            ({"names": ["a\tb"]}, "bad signal name"),
            ({"names": [f"n{number}" for number in range(10_001)]}, "send at most 10000"),
            ({"wait": "yes"}, "wait has to be true or false"),
            ({"wait": 2}, "wait has to be true or false"),
            ({"wait": None}, "wait has to be true or false"),
            ({"name": "weak"}, "unknown field 'name'; there is names, wait"),
            ({"names": ["weak"], "force": True}, "unknown field 'force'"),
            ([], "has to be a JSON object"),
        ],
    )
    def test_in_json_get_a_clear_error(self, client: Client, body: object, error: str) -> None:
        Signal("weak").send()
        assert error in script(client, "/admin/drain", body, status=400).json["error"]
        assert client.queue.asked == 0

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ([("names", "")], "bad signal name"),
            ([("names", "a\r\nb")], "bad signal name"),
            ([("names", "weak"), ("wait", "yes")], "wait has to be"),
            ([("wait", "1"), ("wait", "0")], "wait is given more than once"),
            ([("name", "weak")], "unknown field 'name'"),
            ([(MARKUP, "1")], "unknown field"),
        ],
    )
    def test_in_forms_get_a_clear_error(self, client: Client, fields: Any, error: str) -> None:
        assert error in client.http.post("/admin/drain", fields, status=400).json["error"]
        page = client.submit("/admin/drain", fields, status=400)
        assert page.content_type == "text/html"
        assert "<script>" not in page.text

    @pytest.mark.parametrize(
        ("body", "content_type", "status"),
        [
            (b"{", "application/json", 400),
            (b"\xff", "application/json", 400),
            (b"names=weak", "text/plain", 415),
            (b"<names/>", "application/xml", 415),
            (b"{}", "", 415),
            (b"x" * (2**20 + 1), "application/json", 413),
            (b"names=" + b"x" * 2**20, "application/x-www-form-urlencoded", 413),
        ],
    )
    def test_are_told_by_status(self, client: Client, body: bytes, content_type: str, status: int) -> None:
        answer = client.http.post("/admin/drain", body, content_type=content_type, status=status)
        assert answer.json["error"]

    @pytest.mark.parametrize(
        ("path", "body", "content_type"),
        [
            ("/admin/drain", b"names=weak&names=firm&names=" + b"x" * 2**20, "application/x-www-form-urlencoded"),
            ("/admin/drain", b'{"names": ["weak"]}' + b" " * 2**20 + b"and more", "application/json"),
            ("/tasks/deliver", b'{"names": ["weak"]}' + b" " * 2**20 + b"and more", "application/json"),
        ],
    )
    def test_in_chunks_are_refused_and_not_cut_when_they_are_too_large(
        self, client: Client, path: str, body: bytes, content_type: str
    ) -> None:
        answer = client.worker.test_client().post(
            path,
            input_stream=BytesIO(body),
            content_type=content_type,
            headers={"Transfer-Encoding": "chunked", **TASK_HEADERS},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert answer.status_code == 413
        assert client.queue.asked == 0

    def test_in_chunks_are_read(self, client: Client, handled: list[Any]) -> None:
        Signal("weak").send(1)
        client.worker.test_client().post(
            "/admin/drain",
            input_stream=BytesIO(b"names=weak&wait=1"),
            content_type="application/x-www-form-urlencoded",
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert handled == [1]

    def test_with_a_file_are_refused(self, client: Client) -> None:
        client.http.post("/admin/drain", {"wait": "0"}, upload_files=[("names", "names.txt", b"weak")], status=400)

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"--other\r\n", "multipart/form-data; boundary=one"),
            (b'--one\r\nContent-Disposition: form-data; name="names"\r\n\r\nweak', "multipart/form-data"),
            (b'--one\r\nContent-Disposition: form-data; name="names"\r\n\r\nweak', "multipart/form-data; boundary=one"),
            (b"&", "application/x-www-form-urlencoded"),
        ],
    )
    def test_in_a_form_that_cannot_be_read_are_not_taken_for_a_drain_of_everything(
        self, client: Client, body: bytes, content_type: str
    ) -> None:
        Signal("firm").send()
        answer = client.worker.test_client().post("/admin/drain", data=body, content_type=content_type)
        assert (answer.status_code, answer.json) == (
            400,
            {"error": "the body is a form without a field that can be read"},
        )
        assert client.queue.asked == 0

    def test_with_a_field_twice_are_refused(self, client: Client) -> None:
        body = b'{"names": ["weak"], "names": ["firm"]}'
        answer = client.http.post("/admin/drain", body, content_type="application/json", status=400)
        assert answer.json["error"] == "the body has a field twice"

    def test_with_a_field_in_two_places_are_refused(self, client: Client) -> None:
        answer = client.http.post_json("/admin/drain?names=weak", {"names": ["firm"]}, status=400)
        assert answer.json["error"] == "names is given in the URL and in the body"

    def test_by_get_are_refused(self, client: Client) -> None:
        client.http.get("/admin/drain", status=405)

    def test_while_memcache_is_down_are_told_so(self, client: Client, break_memcache: Callable[[], None]) -> None:
        break_memcache()
        for body in ({}, {"wait": True}, {"names": ["weak"], "wait": True}):
            assert "The store" in script(client, "/admin/drain", body, status=503).json["error"]


class TestStatus:
    def test_has_a_stable_shape(self, client: Client) -> None:
        send_many([("weak", 1), ("weak", 2), ("nobodys", 3)])
        die(client)
        status = client.http.get("/admin/status").json
        assert list(status) == [
            "looked_at",
            "version",
            "health",
            "totals",
            "names",
            "unmatched",
            "omitted",
            "readable",
            "paused",
            "receivers",
            "running",
            "deliveries",
            "instances",
            "safety",
            "history",
        ]
        assert status["totals"] == {
            "waiting": 3,
            "leased": 0,
            "retrying": 0,
            "dead": 1,
            "unmatched": 1,
            "paused": 0,
        }
        weak, firm = status["names"]
        assert (weak["name"], weak["waiting"], weak["receivers"]) == ("weak", 2, ["shop.weak"])
        assert (firm["name"], firm["waiting"], firm["dead"]) == ("firm", 0, 1)
        assert set(weak) == {
            "name",
            "waiting",
            "leased",
            "retrying",
            "dead",
            "readable",
            "paused",
            "due_at",
            "oldest_sent_at",
            "next_retry_at",
            "receivers",
        }
        assert datetime.fromisoformat(weak["due_at"]).tzinfo is not None
        assert [each["name"] for each in status["unmatched"]] == ["nobodys"]
        assert [(each["id"], each["name"], each["mode"]) for each in status["receivers"]] == [
            ("shop.weak", "weak", "weak"),
            ("shop.users", "user_{user_id}_changed", "weak"),
            ("shop.firm", "firm", "reliable"),
        ]

    def test_counts_what_is_to_be_retried(self, make_client: MakeClient) -> None:
        receivers = Receivers()

        @receivers.receiver("firm", reliable=True, backoff_seconds=3600)
        def explode(data: object) -> None:
            raise RuntimeError

        client = make_client(receivers)
        die(client)
        (firm,) = client.http.get("/admin/status").json["names"]
        assert (firm["retrying"], firm["waiting"]) == (1, 0)
        assert firm["next_retry_at"] is not None

    def test_of_an_empty_mailbox_lists_the_fixed_names(self, client: Client) -> None:
        assert [each["name"] for each in client.http.get("/admin/status").json["names"]] == ["firm", "weak"]

    def test_is_bounded_and_says_what_it_leaves_out(self, make_client: MakeClient) -> None:
        clock = ManualClock()
        store = MemoryStore(clock=clock)
        receivers = Receivers()
        receivers.connect("n{number}", lambda data, *, number: None)
        Mailbox(store, clock=clock).send([(f"n{number}", b"") for number in range(MAX_NAMES + 200)])
        status = make_client(receivers, store=store).http.get("/admin/status").json
        assert (len(status["names"]), status["omitted"]) == (MAX_NAMES, 200)

    def test_leaves_out_no_fixed_name(self, make_client: MakeClient) -> None:
        clock = ManualClock()
        store = MemoryStore(clock=clock)
        mailbox = Mailbox(store, clock=clock)
        receivers = Receivers()
        receivers.connect("n{number}", lambda data, *, number: None)
        receivers.connect("busy", print)
        mailbox.send([(f"n{number}", b"") for number in range(MAX_NAMES + 200)])
        clock.advance(1)
        mailbox.send([("busy", b"")] * 3)
        status = make_client(receivers, store=store).http.get("/admin/status").json
        assert (status["names"][0]["name"], status["names"][0]["waiting"]) == ("busy", 3)

    def test_while_memcache_is_down_is_a_failure(self, client: Client, break_memcache: Callable[[], None]) -> None:
        break_memcache()
        status = client.http.get("/admin/status", status=503).json
        assert status["health"]["memcache"] == "down"
        assert (status["names"], status["unmatched"], status["paused"], status["running"]) == ([], [], [], [])
        assert len(status["receivers"]) == 3
        page = client.browse("/admin/", status=503)
        assert "Nothing was lost by this; try again." in page.text


class TestPage:
    def test_of_an_empty_mailbox_looks_intended(self, make_client: MakeClient) -> None:
        page = soup(make_client(Receivers()).browse("/admin/"))
        assert [empty.text.split(".")[0] for empty in page.select(".empty")] == [
            "Nothing was sent yet that a receiver listens to",
        ]
        assert [line.text.strip().partition(", the first since")[0] for line in page.select(".more dd")] == [
            "no reliable delivery; weak ones hold no lease",
            "none lately, or the store has forgotten it",
            "1 instance",
            "0 receivers",
        ]
        assert page.select("main button") == page.select("#search + button")

    def test_lists_names_and_lets_them_be_drained(self, client: Client, handled: list[Any]) -> None:
        Signal("weak").send(7)
        page = client.browse("/admin/")
        one = [form for form in page.forms.values() if form.id != "chosen" and "names" in form.fields]
        form = next(form for form in one if form["names"].value == "weak")
        form.submit(headers={"Accept": "text/html"}).follow()
        client.run_tasks()
        assert handled == [7]

    def test_drains_all_with_one_button(self, client: Client, handled: list[Any]) -> None:
        def buttons(page: Any) -> list[Any]:
            return [
                each for each in page.forms.values() if each.action.endswith("/drain") and "names" not in each.fields
            ]

        assert buttons(client.browse("/admin/")) == []
        send_many([("weak", 1), ("user_7_changed", 2)])
        # At first it stands with the problem, that nothing was fanned out yet.
        (form,) = buttons(client.browse("/admin/"))
        form.submit(headers={"Accept": "text/html"})
        client.run_tasks()
        assert sorted(map(str, handled)) == ["1", "7"]
        client.cron()
        send_many([("weak", 1)])
        (form,) = buttons(client.browse("/admin/"))

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_shows_any_name_as_text(self, make_client: MakeClient, name: str) -> None:
        receivers = Receivers()
        receivers.connect("{any}", lambda data, *, any: None)
        client = make_client(receivers)
        send_many([(name, 1)])
        page = soup(client.browse("/admin/"))
        assert page.select("section tbody th bdi")[0].text == name.replace("\u202e", r"\u202e")
        assert [script.text for script in page.select("script")] == [""]
        assert {field["value"] for field in page.select("input[name=names]")} == {name}

    def test_loads_nothing_from_elsewhere_and_has_nothing_inline(self, client: Client) -> None:
        die(client)
        for path in ("/admin/", "/admin/dead?name=firm"):
            answer = client.browse(path)
            page = soup(answer)
            assert {link["href"] for link in page.select("link")} == {
                "/admin/static/admin.css",
                "/admin/static/icon.svg",
                "/admin/static/pictures.css",
            }
            assert [(each["src"], each.text) for each in page.select("script")] == [("/admin/static/admin.js", "")]
            assert page.select("img, iframe, style, [style], [onclick]") == []
            policy = answer.headers["Content-Security-Policy"].split("; ")
            assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "style-src 'self'"} <= set(policy)

    def test_has_its_style_sheet(self, client: Client) -> None:
        assert client.http.get("/admin/static/admin.css").content_type == "text/css"
        client.http.get("/admin/static/../app.py", status="*").mustcontain(no="import")

    @pytest.mark.parametrize(
        "query",
        ["done=<b>", "done=dispatched&names=<b>", "done=delivered&delivered=x", "done=requeued&letters=-", "done="],
    )
    def test_repeats_nothing_that_a_link_says(self, client: Client, query: str) -> None:
        assert "<b>" not in client.browse(f"/admin/?{query}").text

    @pytest.mark.parametrize(
        ("query", "told", "not_told"),
        [
            ("done=dispatched", "Nothing was waiting.", "The store"),
            ("done=dispatched&unreadable=128", "The store did not answer for 128 parts of the index", "Nothing"),
            ("done=delivered&delivered=5&lost=2", "Delivered 5 messages, 2 lost by the store.", "failed"),
            ("done=delivered&overtaken=3", "Delivered 0 messages, 3 taken over by another delivery meanwhile.", "lost"),
            ("done=delivered&delivered=5&refused=1", "Cloud Tasks refused 1 name", "tasks."),
        ],
    )
    def test_says_what_did_not_go_as_it_should(self, client: Client, query: str, told: str, not_told: str) -> None:
        flash = " ".join(soup(client.browse(f"/admin/?{query}")).select_one(".flash").text.split())
        assert told in flash
        assert not_told not in flash

    def test_shows_no_payload(self, client: Client) -> None:
        Signal("weak").send("hunter2")
        Signal("firm").send("hunter2")
        client.task({"names": ["firm"]})
        assert "hunter2" not in client.browse("/admin/").text
        assert "hunter2" not in client.browse("/admin/dead?name=firm").text

    def test_is_found_without_the_slash(self, client: Client) -> None:
        assert client.http.get("/admin", status=308).location == "http://localhost/admin/"


class TestDeadLetters:
    def test_are_shown_with_their_error(self, client: Client) -> None:
        die(client, 2)
        page = soup(client.browse("/admin/dead?name=firm"))
        assert len(page.select(".letters li")) == 2
        assert all(MARKUP in each.text for each in page.select("pre"))

    def test_are_requeued_one_by_one_from_the_page(self, client: Client) -> None:
        die(client, 2)
        page = client.browse("/admin/dead?name=firm").click("Requeue…", index=1)
        assert "Requeue 1 dead letter of firm?" in page.html.text
        after = page.form.submit(headers=HTML).follow(headers=HTML)
        assert "1 message sent again." in " ".join(soup(after).text.split())
        status = client.http.get("/admin/status").json["totals"]
        assert (status["waiting"], status["dead"]) == (1, 1)

    @pytest.mark.parametrize(("action", "waiting"), [("requeue", 3), ("drop", 0)])
    def test_are_requeued_or_dropped_all_at_once(self, client: Client, action: str, waiting: int) -> None:
        die(client, 3)
        answer = script(client, f"/admin/dead/{action}", {"name": "firm"}).json
        assert answer == {"requeued" if action == "requeue" else "dropped": 3}
        totals = client.http.get("/admin/status").json["totals"]
        assert (totals["waiting"], totals["dead"]) == (waiting, 0)

    def test_are_chosen_by_their_ids(self, client: Client) -> None:
        die(client, 3)
        report = client.browse("/admin/dead?name=firm")
        ids = [box["value"] for box in soup(report).select("input[name=ids]")]
        assert script(client, "/admin/dead/drop", {"name": "firm", "ids": ids[:2]}).json == {"dropped": 2, "missing": 0}
        one_left = [("name", "firm"), ("ids", ids[2]), ("ids", "unknown"), ("ids", ids[0])]
        assert client.http.post("/admin/dead/drop", one_left).json == {"dropped": 1, "missing": 2}

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_of_any_name_can_be_looked_at_and_dropped(self, make_client: MakeClient, name: str) -> None:
        receivers = Receivers()

        @receivers.receiver("{any}", reliable=True, max_attempts=1)
        def explode(data: object, *, any: str) -> None:
            raise RuntimeError

        client = make_client(receivers)
        send_many([(name, 1)])
        client.task({"names": [name]})
        page = client.browse("/admin/")
        link = soup(page).select_one("td.bad a")
        assert link is not None
        letters = client.browse(str(link["href"]))
        drop = letters.form.submit("action", value="drop-all").form
        assert "1 dead letter dropped." in " ".join(soup(drop.submit(headers=HTML).follow(headers=HTML)).text.split())

    def test_of_a_quiet_name_are_none(self, client: Client) -> None:
        assert "No dead letters of this name." in client.browse("/admin/dead?name=weak").text
        assert script(client, "/admin/dead/requeue", {"name": "weak"}).json == {"requeued": 0}

    @pytest.mark.parametrize("path", ["/admin/dead?name=", "/admin/dead?name=a%00", "/admin/dead?name=" + "a" * 201])
    def test_of_a_bad_name_are_a_bad_request(self, client: Client, path: str) -> None:
        client.http.get(path, status=400)

    def test_of_no_name_are_counted_by_name(self, client: Client) -> None:
        assert client.http.get("/admin/dead").json["names"] == {}
        assert "No dead letters." in client.browse("/admin/dead").text
        die(client, 2)
        assert client.http.get("/admin/dead").json["names"] == {"firm": 2}
        (link,) = soup(client.browse("/admin/dead")).select("tbody a")
        assert link["href"] == "/admin/dead?name=firm"

    @pytest.mark.parametrize("action", ["requeue", "drop"])
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({}, "name is missing"),
            ({"name": 1}, "bad signal name"),
            ({"name": ["firm"]}, "bad signal name"),
            ({"name": "a\u0000"}, "bad signal name"),
            ({"name": "firm", "ids": "x"}, "ids has to be a list"),
            ({"name": "firm", "ids": []}, "ids is empty"),
            ({"name": "firm", "ids": [1]}, "it has a number in it"),
            ({"name": "firm", "id": "x"}, "unknown field 'id'"),
        ],
    )
    def test_are_not_touched_by_a_bad_request(self, client: Client, action: str, body: object, error: str) -> None:
        die(client)
        assert error in script(client, f"/admin/dead/{action}", body, status=400).json["error"]
        assert client.http.get("/admin/status").json["totals"]["dead"] == 1

    def test_are_not_touched_by_get(self, client: Client) -> None:
        client.http.get("/admin/dead/drop?name=firm", status=405)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (0.9, "now"),
        (5, "in 5 s"),
        (-59, "59 s ago"),
        (-61, "1 min ago"),
        (7300, "in 2 h"),
        (-2e6, "23 d ago"),
    ],
)
def test_distances_in_time_are_rough(seconds: float, text: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert distance(now + timedelta(seconds=seconds), now) == text


def test_status_json_is_json(client: Client) -> None:
    send_many([(name, 1) for name in ODD_NAMES])
    assert {each["name"] for each in json.loads(client.http.get("/admin/status").text)["unmatched"]} == set(ODD_NAMES)
