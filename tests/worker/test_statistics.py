"""What each receiver did on this instance: bounded numbers."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from gaesignals import Receivers, Signal
from gaesignals.observing import HandlerCall
from gaesignals.testing import ManualClock
from worker.statistics import MAX_DURATIONS, ReceiverStatistics, Statistics, percentile

from .conftest import Client, MakeClient


def call(receiver: str = "a", *, count: int = 1, failed: int = 0, seconds: float = 1.0, error: str = "") -> HandlerCall:
    return HandlerCall(receiver, "name", count, failed, seconds, error)


class TestStatistics:
    def test_of_a_receiver_that_was_never_called_are_empty(self) -> None:
        assert Statistics().of("a") == ReceiverStatistics()

    def test_count_messages_by_receiver(self) -> None:
        statistics = Statistics()
        statistics.handled(call(count=10, failed=3, error="x"))
        statistics.handled(call())
        statistics.handled(call("b"))
        assert (statistics.of("a").delivered, statistics.of("a").failed) == (8, 3)
        assert (statistics.of("b").delivered, statistics.of("b").failed) == (1, 0)

    def test_keep_the_last_error_with_its_time(self) -> None:
        clock = ManualClock()
        statistics = Statistics(clock)
        statistics.handled(call(failed=1, error="first"))
        clock.advance(10)
        statistics.handled(call(failed=1, error="second"))
        at = datetime.fromtimestamp(clock(), timezone.utc)
        clock.advance(10)
        statistics.handled(call())
        assert (statistics.of("a").last_error, statistics.of("a").last_error_at) == ("second", at)

    def test_hold_the_newest_durations_alone(self) -> None:
        statistics = Statistics()
        for _ in range(MAX_DURATIONS):
            statistics.handled(call(seconds=99.0))
        for number in range(MAX_DURATIONS):
            statistics.handled(call(seconds=float(number)))
        assert (statistics.of("a").median_seconds, statistics.of("a").p95_seconds) == (249.0, 474.0)


@pytest.mark.parametrize(
    ("ordered", "percent", "value"),
    [([1.0], 50, 1.0), ([1.0], 95, 1.0), ([1.0, 2.0], 50, 1.0), ([1.0, 2.0], 95, 2.0), ([1.0, 2.0, 3.0], 50, 2.0)],
)
def test_a_percentile_is_one_of_the_values(ordered: list[float], percent: int, value: float) -> None:
    assert percentile(ordered, percent) == value


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
    assert (firm["delivered"], firm["failed"], firm["last_error"]) == (0, 1, "RuntimeError: cannot <b>")
    assert datetime.fromisoformat(firm["last_error_at"]).tzinfo is not None


def test_an_instance_that_did_nothing_has_none(client: Client) -> None:
    fine, _ = client.http.get("/admin/status").json["receivers"]
    assert {key: fine[key] for key in list(fine)[-6:]} == {
        "delivered": 0,
        "failed": 0,
        "last_error": None,
        "last_error_at": None,
        "median_seconds": None,
        "p95_seconds": None,
    }
