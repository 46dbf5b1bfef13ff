"""What each receiver did in the last day, on all instances."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from gaesignals import Receivers, Signal, send_many
from gaesignals.format.counts import Field, duration_field
from gaesignals.format.fleet import LastError
from worker.past import Point
from worker.statistics import ReceiverStatistics

from .conftest import Client, MakeClient

AT = datetime.fromtimestamp(0, timezone.utc)


def test_of_a_receiver_that_nobody_knows_anything_of_are_not_zero() -> None:
    assert ReceiverStatistics.of(Point(AT), None) == ReceiverStatistics()
    assert ReceiverStatistics().delivered is None


def test_have_counts_and_about_how_long_a_call_takes() -> None:
    cell = {Field.DELIVERED: 8, Field.FAILED: 3, Field.DEAD: 1, duration_field(0.003): 9, duration_field(7.0): 1}
    found = ReceiverStatistics.of(Point(AT, cell), LastError(1_000, "no"))
    assert (found.delivered, found.failed, found.retried, found.dead) == (8, 3, 0, 1)
    assert (found.last_error, found.last_error_at and found.last_error_at.timestamp()) == ("no", 1.0)
    assert found.median_seconds is not None
    assert found.p95_seconds is not None
    assert found.median_seconds < 0.005 < 2.5 < found.p95_seconds <= 10


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    receivers = Receivers()
    receivers.connect("fine", lambda data: None, id="fine")

    @receivers.receiver("firm", reliable=True, max_attempts=1, id="firm")
    def explode(data: object) -> None:
        raise RuntimeError("cannot <b>")

    return make_client(receivers)


def test_the_status_has_them(client: Client) -> None:
    for name in ("fine", "fine", "firm"):
        Signal(name).send()
    client.task({"names": ["fine", "firm"]})
    fine, firm = client.http.get("/admin/status").json["receivers"]
    assert (fine["delivered"], fine["failed"], fine["last_error"], fine["last_error_at"]) == (2, 0, None, None)
    assert fine["p95_seconds"] >= fine["median_seconds"] >= 0
    assert (firm["delivered"], firm["failed"], firm["dead"]) == (0, 1, 1)
    assert firm["last_error"] == "RuntimeError: cannot <b>"
    assert datetime.fromisoformat(firm["last_error_at"]).tzinfo is not None


def test_a_handler_that_is_connected_to_several_names_has_the_counts_of_each(make_client: MakeClient) -> None:
    """Under one id: they are receivers of their own, and retries and letters say of which name they are."""

    def explode(data: object) -> None:
        if data:
            raise RuntimeError(f"no {data}")

    receivers = Receivers()
    for name in ("one", "user_{id}_two"):
        receivers.connect(name, lambda data, id="": explode(data), id="both", reliable=True, max_attempts=1)
    client = make_client(receivers)
    send_many([("one", None), ("one", None), ("one", "one"), ("user_5_two", None), ("user_6_two", "two")])
    client.task({"names": ["one", "user_5_two", "user_6_two"]})
    rows = client.http.get("/admin/status").json["receivers"]
    assert [(each["id"], each["delivered"], each["dead"], each["last_error"]) for each in rows] == [
        ("both", 2, 1, "RuntimeError: no one"),
        ("both", 1, 1, "RuntimeError: no two"),
    ]
    metrics = client.http.get("/metrics").text
    counter = "gaesignals_receiver_messages_total"
    assert f'{counter}{{receiver="both (one)",outcome="delivered"}} 2' in metrics
    assert f'{counter}{{receiver="both (user_{{id}}_two)",outcome="delivered"}} 1' in metrics
    page = client.http.get("/admin/receivers")
    links = [link["href"] for link in page.html.select("table.receivers th a")]
    titles = [client.http.get(link).html.h1.text for link in links]
    assert ["both (one)" in titles[0], "both (user_{id}_two)" in titles[1]] == [True, True]
    assert "several have it" in client.http.get("/admin/history?receiver=both", status=404).text


def test_an_instance_that_did_nothing_has_counted_nothing(client: Client) -> None:
    fine, _ = client.http.get("/admin/status").json["receivers"]
    assert {key: fine[key] for key in list(fine)[-9:]} == {
        "delivered": 0,
        "failed": 0,
        "retried": 0,
        "dead": 0,
        "expired": 0,
        "last_error": None,
        "last_error_at": None,
        "median_seconds": None,
        "p95_seconds": None,
    }
