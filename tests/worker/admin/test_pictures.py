"""Pictures show what was counted, and a gap where nobody knows; the same numbers are there as a table."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from bs4 import BeautifulSoup
from webtest import TestResponse

from gaesignals import Receivers
from gaesignals.data.codec import dumps
from gaesignals.format.counts import Cell, Field, wait_field
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import MemoryStore
from gaesignals.way import Way
from worker.admin.pictures import COLUMN, HEIGHT, ROWS, Gallery, Picture, gallery, seconds
from worker.past import Point, Series, Window

from ..conftest import Client, MakeClient

START = datetime(2026, 11, 28, 5, tzinfo=timezone.utc)


def series(*cells: Cell | None, window: Window = Window.HOUR) -> Series:
    return Series(window, tuple(Point(START + timedelta(minutes=n), cell) for n, cell in enumerate(cells)))


def pictures(found: Gallery) -> dict[str, Picture]:
    return {each.title: each for each in found.pictures}


def columns(found: Gallery) -> list[str]:
    return [label for _, label in found.columns]


def heights(path: str) -> dict[int, float]:
    """The height of each bar by its column."""
    return {int(x) // COLUMN: float(height) for x, height in re.findall(r"M(\d+) 100v-([\d.]+)", path)}


class TestABar:
    def test_is_as_high_as_its_count_among_the_others(self) -> None:
        (done,) = pictures(gallery(series({Field.DELIVERED: 10}, {Field.DELIVERED: 5}, {})))["Delivered"].layers
        assert heights(done.path) == {0: HEIGHT, 1: HEIGHT / 2}

    def test_of_little_can_be_seen_beside_one_of_much(self) -> None:
        (done,) = pictures(gallery(series({Field.DELIVERED: 100_000}, {Field.DELIVERED: 1})))["Delivered"].layers
        assert heights(done.path)[1] >= 2

    def test_of_failures_has_the_dead_and_lost_in_front(self) -> None:
        failures = pictures(gallery(series({Field.FAILED: 4, Field.DEAD: 1, Field.LOST: 1})))["Failures"]
        assert [(layer.label, heights(layer.path)[0]) for layer in failures.layers] == [
            ("failed", HEIGHT),
            ("dead or lost", HEIGHT / 2),
        ]
        assert failures.told == "4 failed, 2 dead or lost"

    def test_of_what_waits_is_the_mean_of_the_looks(self) -> None:
        cell = {Field.SAMPLES: 2, Field.WAITING: 30, Field.RETRYING: 10}
        waiting = pictures(gallery(series(cell)))["Waiting"]
        assert (waiting.top, waiting.told) == ("20", "15 at the last look, 5 to retry")


class TestAGap:
    def test_is_where_nobody_counted_and_not_where_nothing_was_counted(self) -> None:
        delivered = pictures(gallery(series(None, None, {}, {Field.DELIVERED: 1}, None)))["Delivered"]
        assert delivered.gaps == f"M0 100v-100h{2 * COLUMN}V100zM{4 * COLUMN} 100v-100h{COLUMN}V100z"
        assert delivered.ground == f"M{2 * COLUMN} 100v-1h{2 * COLUMN}V100z"

    def test_is_where_nobody_looked_at_what_waits(self) -> None:
        found = pictures(gallery(series({Field.DELIVERED: 1}, {Field.SAMPLES: 1})))
        assert found["Waiting"].gaps == f"M0 100v-100h{COLUMN}V100z"
        assert found["Delivered"].gaps == ""

    def test_is_told_as_not_known_and_no_zero(self) -> None:
        found = gallery(series(None, None))
        assert found.is_empty
        assert {each.told for each in found.pictures} == {"not known"}


class TestTheTable:
    def test_has_the_columns_together_in_a_few_rows(self) -> None:
        found = gallery(series(*[{Field.DELIVERED: 1}] * 58, None, None))
        assert len(found.rows) == ROWS
        assert [row.point.count(Field.DELIVERED) for row in found.rows] == [5] * 11 + [3]

    def test_does_not_know_what_none_of_its_columns_knows(self) -> None:
        found = gallery(series(*[{}] * 55, *[None] * 5))
        assert [row.point.count(Field.DELIVERED) for row in found.rows] == [0] * 11 + [None]

    def test_has_a_column_for_what_is_rare_where_there_is_any(self) -> None:
        always = ["Delivered", "Failed", "Dead", "Lost"]
        assert columns(gallery(series({Field.DELIVERED: 1, Field.EXPIRED: 0}, None))) == always
        assert columns(gallery(series({Field.EXPIRED: 1}, {}))) == [*always, "Expired"]
        assert columns(gallery(series({}, {Field.REPLACED: 1}))) == [*always, "Replaced"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0 ms"), (0.25, "250 ms"), (2.5, "2.5 s"), (119.0, "119.0 s"), (180.0, "3 min"), (2e5, "2 d")],
)
def test_a_time_is_short(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_waits_are_told_with_their_median() -> None:
    found = pictures(gallery(series({wait_field(0.3): 99, wait_field(4.0): 1, Field.DELIVERED: 100})))
    assert re.fullmatch(r"median \d+ ms, 95% within \d+ ms", found["Queue wait"].told)


@pytest.fixture
def client(make_client: MakeClient, store: MemoryStore) -> Client:
    receivers = Receivers()
    receivers.connect("fine", lambda data: None, id="<b>id</b>")
    receivers.connect("user_{id}_changed", lambda data, *, id: None, id="users")
    return make_client(receivers, store=store)


def deliver(client: Client, store: MemoryStore, name: str, count: int) -> None:
    Mailbox(store).send([(name, dumps(1))] * count)
    client.task({"names": [name]})


def told(response: TestResponse) -> dict[str, str]:
    page = BeautifulSoup(response.text, "html.parser")
    return {each.strong.text: each.span.text for each in page.select("figcaption")}


class TestThePages:
    def test_show_everything_a_receiver_and_a_name(self, client: Client, store: MemoryStore) -> None:
        deliver(client, store, "fine", 3)
        deliver(client, store, "user_7_changed", 2)
        assert told(client.browse("/admin/"))["Delivered"] == "5 in all"
        assert told(client.browse("/admin/history"))["Delivered"] == "5 in all"
        receiver = told(client.browse("/admin/history?receiver=%3Cb%3Eid%3C/b%3E"))
        assert receiver["Delivered"] == "3 in all"
        assert "Waiting" not in receiver, "messages wait for a name"
        for path in ("name?name=user_7_changed", "history?name=user_7_changed", "history?name=user_{id}_changed"):
            assert told(client.browse(f"/admin/{path}"))["Delivered"] == "2 in all"

    @pytest.mark.parametrize("window", ["hour", "day", "fortnight"])
    def test_go_back_as_far_as_is_asked_for(self, client: Client, store: MemoryStore, window: str) -> None:
        deliver(client, store, "fine", 3)
        page = client.browse(f"/admin/?window={window}&search=fine")
        assert told(page)["Delivered"] == "3 in all"
        current = page.html.select(".past .choice [aria-current]")
        assert [each.text.lower() for each in current] == [window]
        assert "search=fine" in page.html.select(".past .choice a")[0]["href"]

    def test_have_the_numbers_as_a_table(self, client: Client, store: MemoryStore) -> None:
        deliver(client, store, "fine", 3)
        rows = client.browse("/admin/history").html.select(".numbers tbody tr")
        assert 1 < len(rows) < 5, "what nobody knows is one row"
        assert re.fullmatch(r"\d\d:\d\d to \d\d:\d\d", rows[0].th.text)
        assert rows[0].td.text == "not known"
        assert sum(int(row.td.text) for row in rows if row.td.text.isdigit()) == 3

    @pytest.mark.parametrize("path", ["history", "history?name=fine", "name?name=fine"])
    def test_tell_of_sends_that_gave_way_to_newer_ones(self, client: Client, path: str) -> None:
        for _ in range(3):
            client.worker.extensions["gaesignals"].send([("fine", dumps(1))], ways=[Way(is_latest=True)])
        table = client.browse(f"/admin/{path}").html.select_one(".numbers")
        assert "Replaced" in [each.text for each in table.select("thead th")]
        shown = [row.select_one("[data-label=Replaced]") for row in table.select("tbody tr")]
        assert sum(int(cell.text) for cell in shown if cell) == 2
        (unknown,) = table.select("td.unknown")
        assert int(unknown["colspan"]) == len(table.select("thead th")) - 1

    def test_draw_without_scripts_and_without_markup_of_others(self, client: Client, store: MemoryStore) -> None:
        deliver(client, store, "fine", 3)
        page = client.browse("/admin/history?receiver=%3Cb%3Eid%3C/b%3E")
        assert "<b>id" not in page.text
        assert page.html.select("svg[style], svg script, svg [style], svg [href]") == []

    @pytest.mark.parametrize("path", ["?receiver=nobody", "?name=nobodys", "?receiver=users&name=fine"])
    def test_do_not_show_what_nobody_counts(self, client: Client, path: str) -> None:
        client.browse(f"/admin/history{path}", status=404)

    def test_refuse_a_window_that_there_is_not(self, client: Client) -> None:
        client.browse("/admin/history?window=year", status=400)

    def test_say_that_nothing_is_known_where_memcache_is_down(self, client: Client, store: MemoryStore) -> None:
        store.before = lambda call: list(call.keys)
        assert "Nothing is known of this time" in client.browse("/admin/", status=503).text
