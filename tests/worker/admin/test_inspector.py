"""What the status tells of thousands of names, of trouble, and of what runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from gaesignals import Receivers
from gaesignals.data.codec import dumps
from gaesignals.format.keys import page_key
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import ManualClock, MemoryStore
from worker.admin.inspector import MAX_NAMES

from ..conftest import Client, MakeClient

MARKUP = """<script>alert("1")</script>'&amp;"""


class DiedError(BaseException):
    """The process is gone."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def mailbox(store: MemoryStore, clock: ManualClock) -> Mailbox:
    return Mailbox(store, clock=clock)


@pytest.fixture
def client(make_client: MakeClient, store: MemoryStore) -> Client:
    receivers = Receivers()
    receivers.connect("user_{number}", lambda data, *, number: None, id="users")
    receivers.connect("fixed", lambda data: None, id="fixed")
    return make_client(receivers, store=store)


def look(client: Client, query: str = "", **options: Any) -> dict[str, Any]:
    return client.http.get(f"/admin/status{query}", **options).json


def names(status: dict[str, Any]) -> list[str]:
    return [each["name"] for each in status["names"]]


class TestTenThousandNames:
    @pytest.fixture(autouse=True)
    def sent(self, mailbox: Mailbox, store: MemoryStore) -> None:
        mailbox.send([(f"user_{number:05}", b"\xf6") for number in range(9_998)])
        mailbox.send([("user_09997", b"\xf6")] * 2)
        mailbox.send([("Nobodys", b"\xf6")])

    def test_are_read_a_thousand_at_a_time(self, client: Client, store: MemoryStore) -> None:
        before = len(store.calls)
        status = look(client)
        assert len(status["names"]) + len(status["unmatched"]) == MAX_NAMES
        assert status["omitted"] == 9_000
        assert len(store.calls) - before <= 16

    def test_are_all_found_on_their_pages(self, client: Client) -> None:
        found = [name for page in range(1, 11) for name in names(look(client, f"?page={page}"))]
        assert len(found) == len(set(found)) == 9_999
        assert "fixed" in found
        assert look(client, "?page=11")["names"] == []

    def test_are_searched_whatever_the_case(self, client: Client) -> None:
        status = look(client, "?search=USER_0999")
        assert names(status)[0] == "user_09997"
        assert (len(status["names"]), status["omitted"]) == (8, 0)
        assert [each["name"] for each in look(client, "?search=body")["unmatched"]] == ["Nobodys"]
        assert look(client, "?search=nothing+like+it")["omitted"] == 0

    def test_can_be_turned_over_on_the_page(self, client: Client) -> None:
        page = client.browse("/admin/")
        assert "1–12 of 10,000" in page.html.text
        assert "13–24 of 10,000" in page.click("Next").html.text
        last = client.browse("/admin/?start=4995")
        assert "4,993–4,999 of 10,000" in last.html.text
        following = last.click("Next")
        assert "5,001–5,012 of 10,000" in following.html.text
        assert "4,993–4,999 of 10,000" in following.click("Previous").html.text

    def test_are_sorted_five_thousand_at_a_time_on_the_page(self, client: Client, mailbox: Mailbox) -> None:
        mailbox.send([("user_04000", b"\xf6")] * 3)
        rows = client.browse("/admin/").html.select("#names tbody tr")
        assert rows[0]["data-name"] == "user_04000"

    def test_are_said_not_to_be_all_in_the_totals(self, client: Client) -> None:
        note = " ".join(client.browse("/admin/").html.select_one(".totals + .note").text.split())
        assert note.endswith("the others of the 5,000 that were read; 5,000 more names are on other pages.")
        note = " ".join(client.browse("/admin/?page=2").html.select_one(".totals").text.split())
        assert note.startswith("Waiting10,001")

    def test_are_all_in_the_totals_and_problems_whatever_is_searched_for(
        self, client: Client, mailbox: Mailbox, store: MemoryStore
    ) -> None:
        client.http.post_json("/admin/pause", {"names": ["user_00001"]})
        before = client.http.get("/admin/status").json
        for query in ("?search=user_0999", "?search=nothing+like+it"):
            found = client.http.get(f"/admin/status{query}").json
            # Those that were found beyond the first thousand count as well.
            assert found["totals"]["waiting"] == before["totals"]["waiting"] + 10 * ("user" in query)
            assert found["totals"]["unmatched"] == before["totals"]["unmatched"] == 1
        told = [each.text for each in client.browse("/admin/?search=user_0999").html.select(".problems h2")]
        assert "1 name waits and nobody here listens" in told
        assert "1 name is paused" in told

    def test_are_read_in_a_few_calls_for_the_page(self, client: Client, store: MemoryStore) -> None:
        before = len(store.calls)
        client.browse("/admin/")
        assert len(store.calls) - before <= 20


def test_a_memcache_that_does_not_answer_is_asked_once(client: Client, store: MemoryStore) -> None:
    """A call that hangs takes ten seconds, and there are some twenty in a look."""
    store.before = lambda call: call.keys
    before = len(store.calls)
    client.browse("/admin/", status=503)
    assert len(store.calls) - before == 1


class TestASearch:
    def test_may_be_for_anything(self, client: Client, mailbox: Mailbox) -> None:
        mailbox.send([(MARKUP, b"\xf6")])
        for query in ("<script>", '")<', "'&amp;"):
            found = client.http.get("/admin/status", {"search": query}).json
            assert [each["name"] for each in found["unmatched"]] == ([MARKUP] if query in MARKUP else [])
        page = client.http.get("/admin/", {"search": MARKUP}, headers={"Accept": "text/html"})
        assert [script.text for script in page.html.select("script")] == [""]
        assert page.html.select_one("input[name=search]")["value"] == MARKUP

    @pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "", "9" * 30, "1000001"])
    def test_of_a_page_that_cannot_be_is_a_bad_request(self, client: Client, page: str) -> None:
        for path in ("/admin/", "/admin/status"):
            answer = client.http.get(path, {"page": page}, status=400)
            assert answer.json["error"] == "page has to be a whole number from 1 to 1000000"


class TestWhatRuns:
    def test_is_told_with_its_instance(self, make_client: MakeClient, mailbox: Mailbox, store: MemoryStore) -> None:
        def die(data: object) -> None:
            raise DiedError

        receivers = Receivers()
        receivers.connect("firm", die, reliable=True, id="firm")
        client = make_client(receivers, store=store, instance="00c61b117c8717096ff64563", lease_seconds=7200)
        mailbox.send([("firm", dumps(1)), ("firm", dumps(2))])
        with pytest.raises(DiedError):
            client.task({"names": ["firm"]})
        status = look(client)
        (running,) = status["running"]
        assert list(running) == [
            "name",
            "count",
            "instance",
            "expires_at",
            "is_takeover",
            "heard_at",
            "done",
            "claimed",
        ]
        assert (running["name"], running["count"], running["instance"]) == ("firm", 2, "6ff64563")
        assert running["is_takeover"] is False
        # What SIGNALS_LEASE_SECONDS says, of the worker's own clock.
        remaining = datetime.fromisoformat(running["expires_at"]) - datetime.fromisoformat(status["looked_at"])
        assert timedelta(hours=1) < remaining <= timedelta(hours=2, seconds=1)
        assert status["totals"]["leased"] == 2
        assert status["version"]["instance"] == "6ff64563"


class TestTrouble:
    def test_with_one_page_leaves_the_others(self, client: Client, mailbox: Mailbox, store: MemoryStore) -> None:
        mailbox.send([("user_1", b"\xf6"), ("user_2", b"\xf6")])
        store.before = lambda call: [key for key in call.keys if key == page_key("user_1")]
        status = look(client)
        assert {each["name"]: each["readable"] for each in status["names"]} == {
            "user_1": False,
            "user_2": True,
            "fixed": True,
        }
        assert status["health"]["memcache"] == "ok"
        assert "not readable" in client.browse("/admin/").text

    @pytest.mark.parametrize("key", [b"gs:dead:", b"gs:i:"])
    def test_with_what_lists_names_is_told(self, client: Client, store: MemoryStore, key: bytes) -> None:
        store.before = lambda call: [each for each in call.keys if each.startswith(key)]
        status = look(client, status=503)
        assert status["health"]["memcache"] == "down"
        assert status["names"] == []
        assert "The store does not answer" in client.browse("/admin/", status=503).text

    def test_with_all_of_memcache_leaves_what_the_instance_knows(
        self, client: Client, mailbox: Mailbox, break_memcache: Callable[[], None], store: MemoryStore
    ) -> None:
        client.http.post_json("/admin/pause", {"names": ["user_1"]})
        look(client)
        store.before = lambda call: call.keys
        status = look(client, status=503)
        assert [each["name"] for each in status["paused"]] == ["user_1"]
        assert len(status["receivers"]) == 2


def test_the_version_says_what_runs(make_client: MakeClient) -> None:
    version = look(make_client(Receivers(), version="20260101t101010", service="signals-worker"))["version"]
    assert (version["service"], version["deployed"], version["instance"]) == ("signals-worker", "20260101t101010", "")
    assert version["gaesignals"][0].isdigit()
    assert version["started_at"].endswith("+00:00")
