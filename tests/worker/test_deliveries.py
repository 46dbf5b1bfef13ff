"""The deliveries that an instance made last."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from gaesignals import DeliveryReport, Receivers, Signal
from gaesignals.format.fleet import MAX_DELIVERIES
from gaesignals.testing import ManualClock
from worker.deliveries import Deliveries, Source

from .conftest import Client, MakeClient

DONE = DeliveryReport(delivered=1)


def test_what_was_taken_is_told_once() -> None:
    deliveries = Deliveries("one", ManualClock())
    deliveries.add(Source.MANUAL, names=["a", "b", "c", "d"], report=DONE, seconds=1.5, by="ada@example.com")
    (taken,) = deliveries.take()
    assert (taken.instance, taken.names, taken.which, taken.by) == ("one", 4, ("a", "b", "c"), "ada@example.com")
    assert (taken.took_ms, taken.source, taken.counts["delivered"]) == (1500, "manual", 1)
    assert deliveries.take() == ()


def test_what_could_not_be_told_is_there_again_but_for_the_oldest() -> None:
    deliveries = Deliveries()
    for number in range(MAX_DELIVERIES):
        deliveries.add(Source.TASK, names=[str(number)], report=DONE, seconds=1.0)
    taken = deliveries.take()
    deliveries.add(Source.TASK, names=["new"], report=DONE, seconds=1.0)
    deliveries.put_back(taken)
    assert [each.which[0] for each in deliveries.take()] == [*map(str, range(1, MAX_DELIVERIES)), "new"]


def test_one_that_found_nothing_is_not_kept() -> None:
    deliveries = Deliveries()
    deliveries.add(Source.TASK, names=["a"], report=DeliveryReport(remaining=1), seconds=1.0)
    assert deliveries.take() == ()


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    receivers = Receivers()
    receivers.connect("a", lambda data: None)
    receivers.connect("b", lambda data: None)
    return make_client(receivers)


def deliveries(client: Client) -> list[dict[str, Any]]:
    return client.http.get("/admin/status").json["deliveries"]


def test_the_status_has_tasks_and_manual_drains(client: Client) -> None:
    Signal("a").send()
    client.task({"names": ["a", "b"]})
    Signal("a").send()
    client.http.post_json("/admin/drain", {"names": ["a"], "wait": True})
    manual, task = deliveries(client)
    assert (manual["source"], manual["names"], manual["delivered"]) == ("manual", 1, 1)
    assert list(task) == [
        "ended_at",
        "seconds",
        "source",
        "by",
        "instance",
        "names",
        "which",
        "delivered",
        "failed",
        "retried",
        "dead",
        "lost",
        "overtaken",
        "expired",
        "remaining",
    ]
    assert (task["source"], task["names"], task["which"], task["delivered"]) == ("task", 2, ["a", "b"], 1)
    assert (task["by"], manual["which"]) == ("", ["a"])
    assert task["seconds"] >= 0


def test_the_status_leaves_out_a_task_that_found_nothing(client: Client) -> None:
    client.task({"names": ["a"]})
    assert deliveries(client) == []


def test_nothing_that_a_handler_had_in_its_hands_outlives_its_task(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rows:
        alive = 0

        def __init__(self) -> None:
            Rows.alive += 1

        def __del__(self) -> None:
            Rows.alive -= 1

    def build(number: int) -> None:
        rows = Rows()
        raise ConnectionError(f"the printer does not answer to {rows}")

    async def build_soon(number: int) -> None:
        build(number)

    receivers = Receivers()
    receivers.connect("a", build, reliable=True, max_attempts=1)
    receivers.connect("b", build_soon, reliable=True, backoff=[3600])
    receivers.connect("c", lambda messages: build(1), reliable=True, batch=10, backoff=[3600])
    client = make_client(receivers)
    # What pytest keeps of the log has the exceptions. The worker enables our loggers when it is made.
    monkeypatch.setattr(logging.getLogger("gaesignals"), "disabled", True)
    for _ in range(3):
        for name in ("a", "b", "c"):
            Signal(name).send(1)
            Signal(name).send(2)
        assert client.task({"names": ["a", "b", "c"]}).json["failed"] == 6
    gc.collect()
    assert Rows.alive == 0
    assert len(deliveries(client)) == 3
