"""Names whose senders want them handled at once: the tasks that a delivery leaves for when something can be done."""

from __future__ import annotations

import json
import time

import pytest

from gaesignals import Receivers, Retry, Signal
from gaesignals.format.keys import slot_key, slot_of
from gaesignals.mailbox.current import use_mailbox
from gaesignals.mailbox.pause import Pauses
from gaesignals.stores.memory import Call, MemoryStore
from gaesignals.tasks.queue import TaskError

from .conftest import Client, MakeClient


@pytest.fixture
def seconds() -> list[float]:
    """What each run of the handler asks to be tried again after; done once there is none left."""
    return [600.0]


@pytest.fixture
def receivers(seconds: list[float]) -> Receivers:
    receivers = Receivers()

    def fail(data: object) -> None:
        if seconds:
            raise Retry(after_seconds=seconds.pop(0))

    for name in ("a", "b"):
        receivers.connect(name, fail, id=name, reliable=True)
    return receivers


@pytest.fixture
def client(make_client: MakeClient, receivers: Receivers) -> Client:
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


@pytest.fixture
def settling(make_client: MakeClient, receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> Client:
    """A worker between whose last look for a retry and its settling of the name two seconds pass."""
    store, passed = MemoryStore(), [0.0]
    client = make_client(receivers, store=store)

    def pass_time(call: Call) -> None:
        if call.verb == "gets" and list(call.keys) == [slot_key(slot_of("a"))]:
            passed[0] = 2.0

    monkeypatch.setattr(client.worker.extensions["gaesignals"], "clock", lambda: time.time() + passed[0])
    store.before = pass_time
    return client


def test_what_becomes_due_just_after_the_last_look_has_a_task_at_once(settling: Client, seconds: list[float]) -> None:
    seconds[:] = [1.0]
    send(settling, Signal("a", wake=True))
    settling.task({"names": ["a"]})
    [task] = settling.tasks.added
    assert (json.loads(task.body)["names"], task.due) == (["a"], None)


def test_what_a_delivery_leaves_alone_has_none_though_it_is_due(settling: Client, seconds: list[float]) -> None:
    seconds[:] = [1.0]
    send(settling, Signal("a", wake=True))
    settling.task({"names": ["a"]})
    settling.tasks.added.clear()
    with use_mailbox(settling.worker.extensions["gaesignals"]) as mailbox:
        Pauses(mailbox).pause(["a"])
    settling.task({"names": ["a"]})
    assert promised(settling) == []
