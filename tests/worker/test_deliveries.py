"""The deliveries that an instance made last."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from gaesignals import DeliveryReport, Receivers, Signal
from gaesignals.testing import ManualClock
from worker.deliveries import MAX_DELIVERIES, Deliveries, Source

from .conftest import Client, MakeClient

DONE = DeliveryReport(delivered=1)


def test_the_newest_come_first() -> None:
    clock = ManualClock()
    deliveries = Deliveries(clock)
    for number in range(3):
        deliveries.add(Source.TASK, names=number, report=DONE, seconds=1.0)
        clock.advance(1)
    assert [each.names for each in deliveries.newest()] == [2, 1, 0]


def test_fifty_are_kept() -> None:
    deliveries = Deliveries()
    for number in range(MAX_DELIVERIES + 10):
        deliveries.add(Source.TASK, names=number, report=DONE, seconds=1.0)
    assert [each.names for each in deliveries.newest()] == list(range(59, 9, -1))


def test_one_that_found_nothing_is_not_kept() -> None:
    deliveries = Deliveries()
    deliveries.add(Source.TASK, names=1, report=DeliveryReport(remaining=1), seconds=1.0)
    assert deliveries.newest() == ()


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
        "names",
        "delivered",
        "failed",
        "retried",
        "dead",
        "lost",
        "overtaken",
        "expired",
        "remaining",
    ]
    assert (task["source"], task["names"], task["delivered"]) == ("task", 2, 1)
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
