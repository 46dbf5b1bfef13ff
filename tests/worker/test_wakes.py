"""Names whose senders want them handled at once: the tasks that a delivery leaves for when something can be done."""

from __future__ import annotations

import json
import time

import pytest

from gaesignals import Receivers, Retry, Signal
from gaesignals.mailbox.box import use_mailbox
from gaesignals.tasks.queue import TaskError

from .conftest import Client, MakeClient


@pytest.fixture
def seconds() -> list[float]:
    """What each run of the handler asks to be tried again after; done once there is none left."""
    return [600.0]


@pytest.fixture
def client(make_client: MakeClient, seconds: list[float]) -> Client:
    receivers = Receivers()

    def fail(data: object) -> None:
        if seconds:
            raise Retry(after_seconds=seconds.pop(0))

    for name in ("a", "b"):
        receivers.connect(name, fail, id=name, reliable=True)
    return make_client(receivers)


def send(client: Client, *signals: Signal[None]) -> None:
    with use_mailbox(client.worker.extensions["gaesignals"]):
        for signal in signals:
            signal.send()
    client.tasks.added.clear()


def promised(client: Client) -> list[tuple[list[str], float]]:
    """The names of the tasks that were added, and in about how many seconds each is due."""
    found = []
    for task in client.tasks.added:
        assert (task.queue, task.path) == ("signals", "/tasks/deliver")
        assert task.due is not None
        found.append((json.loads(task.body)["names"], round(task.due - time.time(), -1)))
    return found


def test_a_retry_has_a_task_for_its_time(client: Client) -> None:
    send(client, Signal("a", wake=True))
    client.task({"names": ["a"]})
    assert promised(client) == [(["a"], 600)]


def test_a_retry_of_a_name_that_does_not_wake_waits_for_the_fan_out(client: Client, seconds: list[float]) -> None:
    seconds.append(600)
    send(client, Signal("a"), Signal("b", wake=True))
    client.task({"names": ["a", "b"]})
    assert promised(client) == [(["b"], 600)]


def test_a_second_delivery_adds_no_task_for_the_same_time(client: Client) -> None:
    send(client, Signal("a", wake=True))
    for _ in range(3):
        client.task({"names": ["a"]})
    assert promised(client) == [(["a"], 600)]


def test_what_can_be_done_earlier_has_a_task_of_its_own(client: Client, seconds: list[float]) -> None:
    signal = Signal("a", wake=True)
    seconds.append(60)
    send(client, signal)
    client.task({"names": ["a"]})
    with use_mailbox(client.worker.extensions["gaesignals"]):
        Signal("a").send()
    client.task({"names": ["a"]})
    assert promised(client) == [(["a"], 600), (["a"], 60)]


def test_what_is_done_has_none(client: Client, seconds: list[float]) -> None:
    seconds.clear()
    send(client, Signal("a", wake=True))
    client.task({"names": ["a"]})
    assert promised(client) == []


def test_a_queue_that_takes_no_task_costs_time_alone(client: Client) -> None:
    def refuse(kind: str) -> None:
        raise TaskError("down")

    send(client, Signal("a", wake=True))
    client.tasks.before = refuse
    assert client.task({"names": ["a"]}).json["retried"] == 1
    assert client.http.get("/admin/status").json["totals"]["retrying"] == 1
