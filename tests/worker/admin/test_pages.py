"""The administrator's pages: what they say first, what they ask before they act, and where a form leads back to."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from bs4 import BeautifulSoup
from webtest import TestResponse

from gaesignals import Receivers, Signal
from gaesignals.data import codec
from gaesignals.format.keys import page_key
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import MemoryStore
from worker.admin.commands import curl
from worker.config import Environment
from worker.queue import QueueState

from ..conftest import Client, MakeClient

AWKWARD = ['it\'s $HOME `id` "x" \\ !!', "@file", "a=b&c", "-o x", "طلب ٧", "\u202egnp.exe", "<b>", "a   b", "%00"]


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    receivers = Receivers()
    receivers.connect("weak", lambda data: None, id="shop.weak")

    @receivers.receiver("firm", reliable=True, max_attempts=1, id="shop.firm")
    def explode(data: object) -> None:
        raise RuntimeError("the bank declined")

    return make_client(receivers)


def text(response: TestResponse, selector: str) -> list[str]:
    page = BeautifulSoup(response.text, "html.parser")
    return [" ".join(each.text.split()) for each in page.select(selector)]


def die(client: Client, count: int = 1) -> None:
    for _ in range(count):
        Signal("firm").send("payload")
    client.task({"names": ["firm"]})


class TestReceivers:
    def test_show_their_queues_and_what_was_too_old_for_them(self, make_client: MakeClient, store: MemoryStore) -> None:
        receivers = Receivers()
        receivers.connect("mail", lambda data: None, id="shop.mail", queue="slow", max_age_seconds=60)
        receivers.connect("weak", lambda data: None, id="shop.weak")
        client = make_client(receivers, store=store)
        Mailbox(store, clock=lambda: time.time() - 100).send([("mail", codec.dumps(1))])
        client.task({"names": ["mail"], "handed_over": True})

        page = client.browse("/admin/receivers")

        assert text(page, ".receivers .note") == ["shop.mail, queue slow", "shop.weak"]
        assert text(page, ".receivers [data-label=Expired]") == ["1", "–"]
        assert text(client.browse("/admin/deliveries"), "[data-label=Expired]") == ["1"]
        assert [each["queue"] for each in client.http.get("/admin/status").json["receivers"]] == ["slow", None]

    def test_have_one_mark_an_id_which_is_no_other_on_the_page(self, make_client: MakeClient) -> None:
        receivers = Receivers()
        for name in ("one", "two"):
            receivers.connect(name, lambda data: None, id="main")
        page = make_client(receivers).browse("/admin/receivers")
        ids = [each["id"] for each in page.html.select("[id]")]
        assert len(ids) == len(set(ids))
        assert [each.get("id") for each in page.html.select(".receivers tbody")] == ["receiver-main", None]

    def test_are_paged_and_those_that_failed_come_first(self, make_client: MakeClient) -> None:
        """Of five thousand on one page, that page had 4.5 MB."""
        receivers = Receivers()
        for number in range(1000):
            receivers.connect(f"user_{number}_changed", lambda data: 1 / 0, id=f"shop.{number}")
        client = make_client(receivers)
        Signal("user_821_changed").send()
        client.task({"names": ["user_821_changed"]})

        page = client.browse("/admin/receivers")

        assert len(page.html.select(".receivers tbody")) == 100
        assert len(page.body) < 150_000
        assert text(page, ".receivers tbody:first-of-type bdi") == ["user_821_changed"]
        assert text(page, ".paging span") == ["1–100 of 1,000"]
        after = client.browse(page.html.select(".paging a")[-1]["href"])
        assert text(after, ".paging span") == ["101–200 of 1,000"]
        assert text(after, ".paging a") == ["Previous", "Next"]
        (link,) = client.browse("/admin/name?name=user_777_changed").html.select('a[href*="/admin/receivers?"]')
        found = client.browse(str(link["href"]))
        assert found.html.find(id="receiver-shop.777")
        assert text(found, ".paging span") == ["701–800 of 1,000"]
        assert text(client.browse("/admin/receivers?search=er_821_"), ".receivers .note") == ["shop.821"]
        assert text(client.browse("/admin/receivers?search=nobody"), ".empty") == ["No receiver here contains nobody."]
        last = client.browse("/admin/receivers?start=999999")
        assert text(last, ".paging span") == ["901–1,000 of 1,000"]
        client.http.get("/admin/receivers?start=-1", status=400)


class TestTheVerdict:
    def test_is_that_all_is_well_when_it_is(self, client: Client) -> None:
        client.cron()
        page = client.browse("/admin/")
        assert text(page, "h1") == ["All is well"]
        assert text(page, ".problems h2") == []

    def test_gives_a_new_instance_time_to_meet_cron(self, client: Client) -> None:
        page = client.browse("/admin/")
        assert (text(page, "h1"), text(page, ".problems h2")) == (["All is well"], ["No fan-out yet"])

    def test_tells_dead_letters_failures_and_names_nobody_listens_to(self, client: Client) -> None:
        client.cron()
        die(client, 2)
        Signal("nobodys").send()
        client.http.post_json("/admin/pause", {"names": ["weak"]})
        page = client.browse("/admin/")
        assert text(page, "h1") == ["Delivering, with something to look at"]
        assert text(page, ".problems h2") == [
            "2 dead letters",
            "1 name waits and nobody here listens",
            "1 receiver fails",
            "1 name is paused",
        ]

    def test_is_bad_while_the_queue_is_paused_and_has_the_command(self, client: Client) -> None:
        client.queue.current_state = QueueState.PAUSED
        page = client.browse("/admin/")
        assert text(page, "h1") == ["Something is wrong"]
        assert "gcloud tasks queues resume signals --location=local --project=shop-1" in text(page, ".problems code")

    def test_is_bad_while_a_long_backlog_is_dispatched_and_no_task_runs(
        self, make_client: MakeClient, store: MemoryStore
    ) -> None:
        receivers = Receivers()
        receivers.connect("firm", lambda data: None)
        client = make_client(receivers, store=store)
        before = Mailbox(store, clock=lambda: time.time() - 600)
        for _ in range(100):
            before.send([("firm", codec.dumps(None))])
        assert client.cron().json["names"] == 1
        page = client.browse("/admin/")
        assert text(page, "h1") == ["Something is wrong"]
        assert text(page, ".problems h2") == ["firm is stuck"]

    def test_is_good_while_a_delivery_is_at_a_long_backlog(self, make_client: MakeClient, store: MemoryStore) -> None:
        receivers, pages = Receivers(), []
        client = make_client(receivers, store=store)
        before = Mailbox(store, clock=lambda: time.time() - 600)

        @receivers.receiver("firm", reliable=True)
        def handle(data: object) -> None:
            if not pages:
                before.send([("firm", codec.dumps(None))])
                pages.append(client.browse("/admin/"))

        before.send([("firm", codec.dumps(None))])
        client.http.post_json("/admin/drain", {"names": ["firm"], "wait": True})
        assert "firm is stuck" not in text(pages[0], ".problems h2")

    def test_is_in_the_title(self, client: Client) -> None:
        client.cron()
        assert text(client.browse("/admin/"), "title") == ["All is well · Signals"]

    def test_of_memcache_that_is_down_shows_what_is_known(
        self, client: Client, break_memcache: Callable[[], None]
    ) -> None:
        die(client)
        break_memcache()
        page = client.browse("/admin/", status=503)
        assert text(page, "h1") == ["Something is wrong"]
        assert text(page, ".problems h2") == ["The store does not answer", "1 receiver fails"]
        assert text(page, ".totals") == []
        assert text(page, ".more dd")[0] == "not known"
        assert text(page, ".more dd")[2].startswith("1 instance, the first since ")
        assert text(page, ".more dd")[3].startswith("2 receivers")
        assert text(client.browse("/admin/receivers", status=503), "tbody th bdi") == ["weak", "firm"]
        assert "not known what is running" in text(client.browse("/admin/deliveries", status=503), ".empty")[-1]
        assert client.browse("/admin/name?name=weak", status=503)


class TestWhatIsNotKnown:
    def test_is_not_shown_as_zero(self, make_client: MakeClient, store: MemoryStore) -> None:
        receivers = Receivers()
        receivers.connect("weak", lambda data: None, id="shop.weak")
        client = make_client(receivers, store=store)
        store.before = lambda call: [key for key in call.keys if key == page_key("weak")]
        status = client.http.get("/admin/status").json
        assert [status["names"][0][count] for count in ("waiting", "leased", "retrying")] == [None, None, None]
        row = text(client.browse("/admin/"), "#names tbody tr")[0]
        assert row.count("not known") == 3
        assert text(client.browse("/admin/name?name=weak"), ".totals dd")[:3] == ["not known"] * 3

    def test_has_null_for_its_total_while_memcache_is_down(
        self, client: Client, break_memcache: Callable[[], None]
    ) -> None:
        break_memcache()
        totals = client.http.get("/admin/status", status=503).json["totals"]
        assert {name: totals[name] for name in ("waiting", "dead", "unmatched")} == dict.fromkeys(
            ("waiting", "dead", "unmatched")
        )

    def test_of_a_receiver_is_not_what_all_of_them_did(
        self, client: Client, break_memcache: Callable[[], None]
    ) -> None:
        die(client)
        client.browse("/admin/history")
        break_memcache()
        captions = text(client.browse("/admin/history?receiver=shop.weak", status=503), ".picture figcaption span")
        assert not [each for each in captions if "1 failed" in each]

    @pytest.mark.parametrize("path", ["/admin/receivers", "/admin/deliveries", "/admin/history"])
    def test_is_said_on_the_pages_of_what_all_instances_did(
        self, client: Client, break_memcache: Callable[[], None], path: str
    ) -> None:
        assert text(client.browse(path), ".flash") == []
        break_memcache()
        assert "The store does not answer" in text(client.browse(path, status=503), ".flash")[0]

    def test_is_when_a_retry_is_due_that_was_not_run(self, make_client: MakeClient, store: MemoryStore) -> None:
        receivers = Receivers()
        receivers.connect("firm", lambda data: 1 / 0, reliable=True, backoff=[0.001], id="shop.firm")
        client = make_client(receivers, store=store)
        Mailbox(store).send([("firm", codec.dumps(1))])
        client.task({"names": ["firm"]})
        (shown,) = text(client.browse("/admin/"), "#names td[data-label='To retry']")
        assert re.fullmatch(r"due (now|\d+ s ago) 1", shown)
        assert text(client.browse("/admin/name?name=firm"), ".facts dd")[1].startswith("due ")


class TestDeliveries:
    def test_lead_to_their_names_and_receivers_and_say_who_drained(self, client: Client) -> None:
        Signal("weak").send()
        Signal("firm").send()
        client.http.post_json("/admin/drain", {"names": ["weak"], "wait": True})
        client.task({"names": ["firm"]})
        page = client.browse("/admin/deliveries")
        rows = text(page, ".deliveries .what")
        assert rows == ["firm shop.firm · a task", "weak shop.weak · drained by a person"]
        links = [each["href"] for each in page.html.select(".deliveries .what a")]
        assert links[:2] == ["/admin/name?name=firm", "/admin/receivers?id=shop.firm#receiver-shop.firm"]
        assert client.browse(links[1]).html.find(id="receiver-shop.firm")


class TestAName:
    def test_has_a_page_with_every_action_and_its_command(self, client: Client) -> None:
        Signal("weak").send()
        page = client.browse("/admin/name?name=weak")
        assert text(page, ".deeds button") == [
            "Drain weak",
            "Drain and wait weak",
            "Pause weak",
            "Discard… what waits under weak",
        ]
        assert len(text(page, ".deeds .command pre")) == 4

    def test_has_no_button_that_would_do_nothing(self, client: Client) -> None:
        Signal("nobodys").send()
        page = client.browse("/admin/name?name=nobodys")
        assert text(page, ".deeds button") == ["Pause nobodys", "Discard… what waits under nobodys"]
        assert "no receiver of this worker listens" in text(page, ".deeds li")[0]
        client.submit("/admin/pause", {"names": "weak"})
        page = client.browse("/admin/name?name=weak")
        assert text(page, ".deeds button") == ["Resume weak"]
        assert text(page, ".deeds li")[-1] == "Nothing waits or is to be retried: there is nothing to discard."
        assert text(client.browse("/admin/name?name=firm"), ".deeds button") == ["Pause firm"]

    def test_that_is_listed_and_has_nothing_is_not_drained(self, make_client: MakeClient, store: MemoryStore) -> None:
        receivers = Receivers()
        receivers.connect("firm", lambda data: None, reliable=True)
        client = make_client(receivers, store=store)
        Mailbox(store).send([("firm", codec.dumps(1))])
        store.delete([page_key("firm")])
        page = client.browse("/admin/name?name=firm")
        assert "none: nothing is listed" not in text(page, ".facts dd")[2]
        assert text(page, ".totals dd") == ["0", "0", "0", "0"]
        assert text(page, ".deeds button") == ["Pause firm"]
        assert text(page, ".deeds li")[-1] == "Nothing waits or is to be retried: there is nothing to drain or discard."

    def test_that_draining_would_leave_alone_has_nothing_drained(self, client: Client) -> None:
        for name in ("nobodys", "weak"):
            Signal(name).send()
        assert "Drain all" in text(client.browse("/admin/"), "button")
        client.submit("/admin/pause", {"names": "weak"})
        answer = client.http.post_json("/admin/drain", {}).json
        assert (answer["names"], answer["paused"], answer["unmatched"]) == (0, 1, 1)
        for page in ("/admin/", "/admin/?show=unmatched"):
            assert not [each for each in text(client.browse(page), "button") if re.match("Drain (?!chosen)", each)]

    def test_is_discarded_only_behind_a_question(self, client: Client) -> None:
        Signal("weak").send()
        page = BeautifulSoup(client.browse("/admin/name?name=weak").text, "html.parser")
        (button,) = page.select("button.danger")
        assert button.find_parent("form")["action"].startswith("/admin/names/confirm")
        assert BeautifulSoup(client.browse("/admin/").text, "html.parser").select("[action='/admin/discard']") == []

    def test_is_written_out_where_it_may_deceive(self, client: Client) -> None:
        page = client.http.get("/admin/name", {"name": "\u202egnp.exe"}, headers={"Accept": "text/html"})
        assert text(page, "h1 + p code") == [r"'\u202egnp.exe'"]

    @pytest.mark.parametrize("query", ["", "?name=", "?name=a%00", "?name=" + "a" * 201])
    def test_that_cannot_be_one_is_a_bad_request(self, client: Client, query: str) -> None:
        client.http.get(f"/admin/name{query}", status=400)


class TestForms:
    @pytest.mark.parametrize(
        ("referrer", "location"),
        [
            ("http://localhost/admin/name?name=weak", "/admin/name?name=weak&done=paused&names=1"),
            ("http://localhost/admin/?search=w&start=0", "/admin/?search=w&start=0&done=paused&names=1"),
            ("http://localhost/admin/?done=sent&messages=3", "/admin/?done=paused&names=1"),
            ("http://localhost/admin/names/confirm?search=w&page=2", "/admin/?search=w&page=2&done=paused&names=1"),
            ("http://localhost/admin/send?name=weak", "/admin/send?name=weak&done=paused&names=1"),
            ("http://localhost/admin/names/confirm?of=weak", "/admin/name?name=weak&done=paused&names=1"),
            ("http://localhost/admin/status", "/admin/?done=paused&names=1"),
            ("http://localhost//evil.example/", "/admin/?done=paused&names=1"),
            ("http://[not-an-address", "/admin/?done=paused&names=1"),
        ],
    )
    def test_lead_back_to_where_they_were(self, client: Client, referrer: str, location: str) -> None:
        headers = {"Accept": "text/html", "Origin": "http://localhost", "Referer": referrer}
        answer = client.http.post("/admin/pause", {"names": "weak"}, headers=headers, status=303)
        sought = location.split("?")[1].split("&")
        path, query = answer.location.split("?")
        assert (path, sorted(query.split("&"))) == (location.split("?")[0], sorted(sought))

    def test_that_cannot_be_read_are_told_what_to_correct(self, client: Client) -> None:
        page = client.submit("/admin/names/confirm", {"names": "weak", "action": "look"}, status=400)
        assert text(page, "h1") == ["The request could not be understood."]
        assert "action has to be one of" in text(page, ".lead")[0]

    def test_to_send_with_bad_json_are_kept_as_they_were_filled_in(self, client: Client) -> None:
        fields = {"name": "<b>", "data": '\n{"order": 7', "count": "3", "durable": "true", "delay_seconds": "60"}
        page = client.submit("/admin/send", fields, status=400)
        assert "data is not JSON" in text(page, ".flash.bad[role=alert]")[0]
        form = page.form
        assert {name: form[name].value for name in ("name", "data", "count", "delay_seconds")} == {
            name: fields[name] for name in ("name", "data", "count", "delay_seconds")
        }
        assert (form["durable"].checked, form["wake"].checked) == (True, False)
        form["data"] = "{}"
        assert "sent" in form.submit(headers={"Accept": "text/html"}).location

    def test_to_send_with_bad_json_are_an_error_for_scripts(self, client: Client) -> None:
        answer = client.http.post("/admin/send", {"name": "weak", "data": "{"}, status=400)
        assert "data is not JSON" in answer.json["error"]

    def test_are_not_shown_to_whom_the_door_turns_away(self, make_client: MakeClient) -> None:
        client = make_client(Receivers(), environment=Environment.OTHER)
        page = client.browse("/admin/", status=403)
        assert text(page, "h1") == ["You may not do this."]
        assert text(page, "nav, form, .lead, main a") == []


class TestChosenNames:
    """Checkboxes on the overview lead to a page that asks, and that does it."""

    def choose(self, client: Client, *names: str, action: str, path: str = "/admin/") -> TestResponse:
        form = client.browse(path).forms["chosen"]
        for box in form.fields["names"]:
            box.checked = box._value in names
        return form.submit("action", value=action, headers={"Accept": "text/html"})

    @pytest.mark.parametrize(
        ("action", "question", "told"),
        [
            ("drain", "Drain 2 names?", "2 names went out in 1 task."),
            ("pause", "Pause 2 names?", "2 names paused: sent to as ever, and not delivered until resumed."),
            ("resume", "Resume 2 names?", "0 names resumed; what waits went to tasks."),
            ("discard", "Discard what waits under 2 names?", "3 messages discarded."),
        ],
    )
    def test_are_asked_about_together(self, client: Client, action: str, question: str, told: str) -> None:
        Signal("weak").send()
        Signal("firm").send()
        Signal("firm").send()
        page = self.choose(client, "weak", "firm", action=action)
        assert text(page, "h1") == [question]
        assert text(page, ".chosen bdi") == ["firm", "weak"]
        assert client.queue.tasks == []
        assert [each["waiting"] for each in client.http.get("/admin/status").json["names"]] == [2, 1]
        done = page.form.submit(headers={"Accept": "text/html"}).follow(headers={"Accept": "text/html"})
        assert text(done, ".flash [role=status]") == [told]

    def test_come_with_the_command_for_all_of_them(self, client: Client) -> None:
        page = self.choose(client, "weak", "firm", action="drain")
        (command,) = text(page, ".command pre")
        assert "--data-urlencode names=firm" in command
        assert "--data-urlencode names=weak" in command

    @pytest.mark.parametrize("action", ["drain", "pause", "resume", "discard"])
    def test_that_are_none_do_not_stand_for_all(self, client: Client, action: str) -> None:
        Signal("weak").send()
        page = self.choose(client, action=action)
        assert text(page, "h1") == ["Nothing is chosen"]
        assert text(page, "form") == []

    def test_are_not_drained_where_nobody_listens(self, client: Client) -> None:
        Signal("nobodys").send()
        page = client.browse("/admin/?show=unmatched")
        assert text(page, "#chosen button") == ["Pause chosen…", "Resume chosen…", "Discard chosen…"]

    def test_lead_back_to_the_search_they_were_found_with(self, client: Client) -> None:
        page = self.choose(client, "weak", action="pause", path="/admin/?search=wea")
        assert [link["href"] for link in page.html.select("main a")] == ["/admin/?search=wea"] * 2

    @pytest.mark.parametrize("name", AWKWARD)
    def test_may_be_called_anything(self, client: Client, name: str) -> None:
        Signal(name).send()
        page = self.choose(client, name, action="discard", path="/admin/?show=unmatched")
        done = page.form.submit(headers={"Accept": "text/html"}).follow(headers={"Accept": "text/html"})
        assert text(done, ".flash [role=status]") == ["1 message discarded."]

    def test_are_asked_about_while_memcache_is_down(self, client: Client, break_memcache: Callable[[], None]) -> None:
        break_memcache()
        page = client.submit("/admin/names/confirm", {"action": "discard", "names": "weak"}, status=503)
        assert text(page, ".chosen li") == ["weak what waits is not known"]
        assert "about" not in text(page, ".lead")[0]

    @pytest.mark.parametrize("fields", [{"names": "weak"}, {"names": "weak", "action": "drop"}])
    def test_have_nothing_else_done_with_them(self, client: Client, fields: dict[str, str]) -> None:
        client.submit("/admin/names/confirm", fields, status=400)


class TestConfirmation:
    def test_names_what_is_about_to_go(self, client: Client) -> None:
        die(client, 3)
        form = client.browse("/admin/dead?name=firm").form
        form.fields["ids"][0].checked = form.fields["ids"][1].checked = True
        page = form.submit("action", value="drop")
        assert text(page, "h1") == ["Drop 2 dead letters of firm?"]
        assert page.html.text.count("the bank declined") == 2
        page.form.submit(headers={"Accept": "text/html"})
        assert client.http.get("/admin/dead").json["names"] == {"firm": 1}

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            ("", "Choose dead letters by their checkboxes first."),
            ("&ids=gone", "The chosen letters are not there any more."),
        ],
    )
    def test_of_nothing_stands_for_nothing(self, client: Client, query: str, told: str) -> None:
        die(client)
        page = client.browse(f"/admin/dead/confirm?name=firm&action=drop{query}")
        assert text(page, ".lead") == [told]
        assert text(page, "form") == []

    @pytest.mark.parametrize("query", ["name=firm", "name=firm&action=x", "name=firm&action=drop-none", "action=drop"])
    def test_of_something_else_is_a_bad_request(self, client: Client, query: str) -> None:
        client.http.get(f"/admin/dead/confirm?{query}", status=400)

    def test_of_a_hundred_letters_fits_into_an_address(self, client: Client) -> None:
        die(client, 100)
        page = BeautifulSoup(client.browse("/admin/dead?name=firm").text, "html.parser")
        ids = [box["value"] for box in page.select("input[name=ids]")]
        # gunicorn takes 4,094 bytes; a name is at most 600 when it is quoted.
        assert len("&".join(f"ids={each}" for each in ids)) < 3_000


class TestANameThatMirrorsWhatStandsBesideIt:
    NAME = "\u202egnp.exe"

    @pytest.fixture
    def client(self, make_client: MakeClient) -> Client:
        receivers = Receivers()

        @receivers.receiver(self.NAME, reliable=True, backoff=[3600], id="shop.firm")
        def explode(data: object) -> None:
            raise RuntimeError("no such \u202e thing")

        client = make_client(receivers)
        Signal(self.NAME).send("\u202e")
        client.task({"names": [self.NAME]})
        return client

    @pytest.mark.parametrize(
        "path",
        [
            "/admin/",
            "/admin/?search=",
            "/admin/name?name=",
            "/admin/messages?name=",
            "/admin/receivers",
            "/admin/deliveries",
            "/admin/send?name=",
            "/admin/history?name=",
        ],
    )
    def test_is_written_out_wherever_it_is_shown(self, client: Client, path: str) -> None:
        self.check(client.browse(path + quote(self.NAME) if path.endswith("=") else path))

    def test_is_written_out_where_it_is_dead(self, client: Client) -> None:
        (message,) = client.http.get("/admin/messages", {"name": self.NAME}).json["messages"]
        client.http.post_json("/admin/messages/kill", {"name": self.NAME, "ids": [message["id"]]})
        (letter,) = client.http.get("/admin/dead", {"name": self.NAME}).json["letters"]
        for path in ("/admin/dead", f"/admin/dead?name={quote(self.NAME)}"):
            self.check(client.browse(path))
        payload = f"/admin/dead/payload?name={quote(self.NAME)}&id={letter['id']}"
        assert "\u202e" not in client.browse(payload).text
        self.check(client.submit("/admin/dead/names/confirm", {"action": "drop", "names": self.NAME}))

    def test_is_in_no_field_in_which_it_could_not_be_read(self, client: Client) -> None:
        page = client.browse(f"/admin/name?name={quote(self.NAME)}").html
        assert {field["type"] for field in page.select("[name=name], [name=names]")} == {"hidden"}
        page = client.browse(f"/admin/send?name={quote(self.NAME)}").html
        assert page.select_one("#send-name ~ .note code").text == r"\u202egnp.exe"
        assert client.browse("/admin/send?name=fine").html.select("#send-name ~ .note") == []

    def test_is_sent_back_as_it_is(self, client: Client) -> None:
        page = client.browse(f"/admin/send?name={quote(self.NAME)}")
        assert page.html.select_one("#send-name")["value"] == self.NAME
        told = client.submit("/admin/send", {"name": self.NAME, "data": "\u202e"}, status=400)
        assert told.html.select_one("#send-name")["value"] == self.NAME
        assert told.html.select_one("#send-data").text.strip("\n") == "\u202e"

    def check(self, page: TestResponse) -> None:
        html = page.html
        for field in html.select("[value]"):
            del field["value"]
        for area in html.select("textarea"):
            area.clear()
        assert "\u202e" not in str(html)
        assert r"\u202e" in str(html)


def test_a_command_shows_nothing_that_is_invisible_and_sends_it_all_the_same() -> None:
    assert curl("http://localhost/admin/pause", [("names", "a\u202eb c")]) == (
        "curl --fail-with-body --request POST \\\n  --data names=a%E2%80%AEb+c \\\n  http://localhost/admin/pause"
    )


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
@pytest.mark.parametrize("value", [each for each in AWKWARD if each.isprintable()])
def test_a_command_hands_curl_exactly_what_it_shall_send(value: str) -> None:
    command = curl("http://localhost/admin/send", [("name", value), ("data", '{"a": 1}')], needs_token=True)
    script = f"""curl() {{ printf '%s\\0' "$@"; }}; TOKEN=t; {command}"""
    told: Any = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    assert told == [
        "--fail-with-body",
        "--request",
        "POST",
        "--header",
        "Authorization: Bearer t",
        "--data-urlencode",
        f"name={value}",
        "--data-urlencode",
        'data={"a": 1}',
        "http://localhost/admin/send",
    ]
