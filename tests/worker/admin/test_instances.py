"""The page says which instances there are, what each is at, and of which nobody has heard for a while."""

from __future__ import annotations

import time

import pytest

from gaesignals import Receivers
from gaesignals.data.codec import dumps
from gaesignals.format.fleet import Instance, News, WorkInHand
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.history import History
from gaesignals.testing import MemoryStore

from ..conftest import Client, MakeClient


class DiedError(BaseException):
    """The process is gone."""


@pytest.fixture
def client(make_client: MakeClient, store: MemoryStore) -> Client:
    def die(data: object) -> None:
        raise DiedError

    receivers = Receivers()
    receivers.connect("firm", die, reliable=True, id="firm")
    return make_client(receivers, store=store, instance="00c61b117c8717096ff64563", lease_seconds=7200)


def tell(store: MemoryStore, id_: str, *, seconds_ago: float, stopped: bool = False, works: int = 0) -> None:
    """Have another instance tell of itself, a while ago."""
    at_ms = int((time.time() - seconds_ago) * 1000)
    work = WorkInHand("firm", 3, at_ms - 60_000, 312, 480)
    instance = Instance(id_, 7, "v2", at_ms - 3_600_000, at_ms, at_ms if stopped else 0, (work,) * works)
    History(Mailbox(store)).add({}, News(instance))


def cells(client: Client, section: str) -> list[list[str]]:
    rows = client.browse("/admin/deliveries").html.select(f"#{section} tbody tr")
    return [[" ".join(cell.text.split()) for cell in row.select("th, td")] for row in rows]


def leave_a_lease(client: Client, store: MemoryStore) -> None:
    Mailbox(store).send([("firm", dumps(1)), ("firm", dumps(2))])
    with pytest.raises(DiedError):
        client.task({"names": ["firm"]})


def test_each_says_what_it_is_at(client: Client, store: MemoryStore) -> None:
    tell(store, "at work", seconds_ago=20, works=1)
    tell(store, "stopped", seconds_ago=30, stopped=True)
    rows = {row[0]: row for row in cells(client, "instances")}
    assert rows["at work"][1:] == ["v2", "1 h ago", "20 s ago", "firm and 2 more names: 312 of 480, begun 1 min ago"]
    assert rows["stopped"][4] == "stopped 30 s ago"
    assert rows["6ff64563"][4] == "nothing"


def test_the_holder_of_a_lease_that_was_not_heard_of_is_told(client: Client, store: MemoryStore) -> None:
    leave_a_lease(client, store)
    assert "last heard of" not in cells(client, "running")[0][3]
    store.delete([b"gs:fleet"])
    recorder = client.worker.recorder
    assert recorder is not None
    recorder.write = lambda: None  # type: ignore[method-assign]  # as one that is not there any more
    tell(store, "6ff64563", seconds_ago=400, works=1)
    (row,) = cells(client, "running")
    assert row[2] == "312 of 480"
    assert row[3] == "6ff64563 last heard of 6 min ago"
    (running,) = client.http.get("/admin/status").json["running"]
    assert (running["done"], running["claimed"]) == (312, 480)
    assert running["heard_at"] is not None
    more = " ".join(client.browse("/admin/").html.select_one("#more").text.split())
    assert "1 of an instance that was not heard of lately" in more


def test_of_several_works_at_a_name_none_is_said_to_be_that_of_a_lease(client: Client, store: MemoryStore) -> None:
    """An instance with two tasks at one backlog has two leases and tells of two works: nobody knows which is which."""
    leave_a_lease(client, store)
    recorder = client.worker.recorder
    assert recorder is not None
    recorder.write = lambda: None  # type: ignore[method-assign]
    tell(store, "6ff64563", seconds_ago=20, works=2)
    assert cells(client, "running")[0][2:4] == ["–", "6ff64563"]
    (running,) = client.http.get("/admin/status").json["running"]
    assert (running["instance"], running["done"], running["claimed"]) == ("6ff64563", None, None)
    assert running["heard_at"] is not None


def test_one_that_was_not_heard_of_for_a_while_is_not_counted_as_up(client: Client, store: MemoryStore) -> None:
    tell(store, "gone", seconds_ago=1000, works=1)
    tell(store, "stopped", seconds_ago=30, stopped=True)
    (shown,) = [each for each in client.browse("/admin/").html.select("#more dd") if "instance" in each.text]
    assert shown.text.startswith("1 instance, the first since")
    assert shown.text.endswith("; 1 more not heard of for a while")
    told = {each["id"]: each["silent"] for each in client.http.get("/admin/status").json["instances"]}
    assert told == {"gone": True, "stopped": False, "6ff64563": False}


def test_a_lease_whose_holder_nobody_knows_says_nothing_of_it(client: Client, store: MemoryStore) -> None:
    leave_a_lease(client, store)
    recorder = client.worker.recorder
    assert recorder is not None
    recorder.write = lambda: None  # type: ignore[method-assign]
    store.delete([b"gs:fleet"])
    (running,) = client.http.get("/admin/status").json["running"]
    assert (running["heard_at"], running["done"], running["claimed"]) == (None, None, None)
    assert cells(client, "instances") == []
