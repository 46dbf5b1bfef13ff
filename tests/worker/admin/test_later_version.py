"""What a later version has stored is left out of the pages, which say so and show the rest."""

from __future__ import annotations

from typing import Any

import pytest

from gaesignals import Receivers
from gaesignals.data import codec
from gaesignals.format.keys import PAUSED_NAMES, dead_key, dead_names_key, dead_names_page_of
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import MemoryStore

from ..conftest import Client, MakeClient

LATER = codec.seal(200, "whatever it is")
INDEX = dead_names_key(dead_names_page_of("firm"))
ALL = {"dead": True, "paused": True}
PAGES = (
    "/admin/",
    "/admin/name?name=firm",
    "/admin/dead",
    "/admin/dead?name=firm",
    "/admin/receivers",
    "/admin/deliveries",
)


@pytest.fixture
def client(make_client: MakeClient, store: MemoryStore) -> Client:
    """A worker with a dead letter each of two names, whose counts are on two pages of the index."""
    receivers = Receivers()

    @receivers.receiver("firm", reliable=True, max_attempts=1, id="firm")
    @receivers.receiver("other", reliable=True, max_attempts=1, id="other")
    def explode(data: object) -> None:
        raise RuntimeError("no")

    assert dead_names_page_of("firm") != dead_names_page_of("other")
    client = make_client(receivers, store=store)
    Mailbox(store).send([("firm", codec.dumps(1)), ("other", codec.dumps(1))])
    client.task({"names": ["firm", "other"]})
    return client


def status(client: Client) -> Any:
    return client.http.get("/admin/status").json


def dead_by_name(client: Client) -> dict[str, int | None]:
    return {each["name"]: each["dead"] for each in status(client)["names"]}


@pytest.mark.parametrize("key", [INDEX, dead_key("firm"), PAUSED_NAMES])
@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_shown(client: Client, store: MemoryStore, key: bytes, path: str) -> None:
    store.set_raw(key, LATER)
    client.browse(path, status=200)


def test_where_nothing_is_left_out_nothing_is_said(client: Client) -> None:
    found = status(client)
    assert (found["readable"], found["totals"]["dead"], found["totals"]["paused"]) == (ALL, 2, 0)
    assert "later version" not in "".join(client.browse(path).text for path in PAGES)


class TestIndexOfDeadLetters:
    @pytest.fixture(autouse=True)
    def stored_by_a_later_version(self, client: Client, store: MemoryStore) -> None:
        store.set_raw(INDEX, LATER)

    def test_the_status_has_the_rest_and_null_for_what_is_not_known(self, client: Client) -> None:
        found = status(client)
        assert (found["readable"], found["totals"]["dead"]) == (ALL | {"dead": False}, None)
        assert found["health"]["memcache"] == "ok"
        assert dead_by_name(client) == {"firm": None, "other": 1}

    def test_the_overview_says_what_is_left_out(self, client: Client) -> None:
        page = client.browse("/admin/").html
        (problem,) = [each.get_text() for each in page.select(".problems li") if "later version" in each.get_text()]
        assert "Some names with dead letters are left out below" in problem
        assert "paused" not in problem
        assert "not known" in page.select_one('.totals dd a[href="/admin/dead"]').get_text()

    def test_the_list_of_names_has_the_others(self, client: Client) -> None:
        assert client.http.get("/admin/dead").json == {"names": {"other": 1}, "readable": False}
        page = client.browse("/admin/dead").html
        assert [each.get_text() for each in page.select("tbody th")] == ["other"]
        assert "Some names are left out" in page.select_one(".flash").get_text()

    def test_no_list_is_taken_for_an_empty_one(self, client: Client) -> None:
        client.http.post_json("/admin/dead/drop", {"name": "other"})
        assert "No dead letters." not in client.browse("/admin/dead").text
        assert "No other name with" in client.browse("/admin/dead?search=firm").text

    def test_the_letters_of_a_name_are_shown_though_it_is_left_out(self, client: Client) -> None:
        assert len(client.http.get("/admin/dead?name=firm").json["letters"]) == 1

    @pytest.mark.parametrize("action", ["requeue", "drop"])
    def test_a_change_that_could_not_be_noted_there_is_not_begun(
        self, client: Client, store: MemoryStore, action: str
    ) -> None:
        before = len(store.calls)
        answer = client.http.post_json(f"/admin/dead/{action}", {"name": "firm"}, status=503)
        assert answer.json["error"].startswith("nothing was done: a later version")
        assert [call.verb for call in store.calls[before:]] == ["gets"]
        page = client.submit(f"/admin/dead/{action}", {"name": "firm"}, status=503)
        assert page.html.h1.get_text() == "This version leaves that alone."

    @pytest.mark.parametrize("action", ["requeued", "dropped"])
    def test_the_letters_of_other_names_can_be_changed(self, client: Client, action: str) -> None:
        path = "/admin/dead/" + {"requeued": "requeue", "dropped": "drop"}[action]
        assert client.http.post_json(path, {"name": "other"}).json == {action: 1}

    def test_a_scraper_gets_no_count(self, client: Client) -> None:
        metrics = client.http.get("/metrics").text
        assert "gaesignals_dead_letters" not in metrics
        assert "gaesignals_paused_names 0\n" in metrics


class TestLettersOfAName:
    @pytest.fixture(autouse=True)
    def stored_by_a_later_version(self, client: Client, store: MemoryStore) -> None:
        store.set_raw(dead_key("firm"), LATER)

    def test_their_page_says_who_can_show_them(self, client: Client) -> None:
        assert client.http.get("/admin/dead?name=firm").json == {"name": "firm", "letters": [], "readable": False}
        assert "it alone can show and change" in client.browse("/admin/dead?name=firm").text

    @pytest.mark.parametrize("path", ["payload?name=firm&id=x", "confirm?name=firm&action=drop-all"])
    def test_what_is_asked_of_them_is_refused_with_the_reason(self, client: Client, path: str) -> None:
        answer = client.browse(f"/admin/dead/{path}", status=503)
        assert answer.html.h1.get_text() == "This version leaves that alone."
        assert "a later version of gaesignals has stored these dead letters" in answer.text


class TestPauses:
    @pytest.fixture(params=[False, True], ids=["never read", "read before"])
    def is_known(self, request: pytest.FixtureRequest, client: Client, store: MemoryStore) -> bool:
        """Whether the instance knew a pause when a later version stored them."""
        is_known: bool = request.param
        if is_known:
            client.http.post_json("/admin/pause", {"names": ["firm"]})
            status(client)
        store.set_raw(PAUSED_NAMES, LATER)
        return is_known

    def test_the_status_says_that_they_are_not_known(self, client: Client, is_known: bool) -> None:
        found = status(client)
        assert (found["readable"], found["totals"]["paused"]) == (ALL | {"paused": False}, None)
        assert [each["name"] for each in found["paused"]] == ["firm"] * is_known

    def test_the_overview_says_by_what_the_instance_goes(self, client: Client, is_known: bool) -> None:
        (problem,) = [
            each.get_text()
            for each in client.browse("/admin/").html.select(".problems li")
            if "later version" in each.get_text()
        ]
        assert "goes by what it read last" in problem
        assert "dead letters" not in problem
        assert is_known == ("1 name is paused" in client.browse("/admin/").text)

    @pytest.mark.parametrize("action", ["pause", "resume"])
    @pytest.mark.usefixtures("is_known")
    def test_they_cannot_be_changed(self, client: Client, store: MemoryStore, action: str) -> None:
        answer = client.http.post_json(f"/admin/{action}", {"names": ["other"]}, status=503)
        assert answer.json["error"].startswith("nothing was done: a later version")
        assert store.raw(PAUSED_NAMES) == LATER

    def test_all_is_said_again_once_they_can_be_read(self, client: Client, store: MemoryStore, is_known: bool) -> None:
        status(client)
        store.delete([PAUSED_NAMES])
        assert status(client)["readable"] == ALL
