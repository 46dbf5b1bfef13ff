"""The cron endpoint: what waits goes to the queue, once, and nothing is lost if the queue refuses."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gaesignals import Receivers, Signal, send_many
from gaesignals.errors import StoreError
from gaesignals.format.keys import page_key, slot_key, slot_of
from gaesignals.format.page import Page
from gaesignals.format.slot import Slot
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import Index
from gaesignals.stores.store import Set
from gaesignals.testing import ManualClock, MemoryStore
from worker.cron import Periodic
from worker.dispatcher import Dispatcher
from worker.queue import Task

from .conftest import CRON_HEADERS, Client, MakeClient
from .recording_queue import RecordingQueue

NOTHING = {"names": 0, "tasks": 0, "refused": 0, "unmatched": 0, "unreadable": 0, "paused": 0}


@pytest.fixture
def receivers() -> Receivers:
    receivers = Receivers()
    receivers.connect("order_paid", print)
    receivers.connect(Signal("user_{user_id}_changed"), lambda data, *, user_id: None)
    return receivers


@pytest.fixture
def client(make_client: MakeClient, receivers: Receivers) -> Client:
    return make_client(receivers)


def test_nothing_waiting_makes_no_task(client: Client) -> None:
    assert client.cron().json == NOTHING
    assert client.queue.asked == 0


def test_waiting_names_go_out_in_one_task(client: Client) -> None:
    send_many([("order_paid", 1), ("user_7_changed", 2)])
    assert client.cron().json == {**NOTHING, "names": 2, "tasks": 1}
    assert client.queue.tasks == [Task(("order_paid", "user_7_changed"))]


def test_a_hundred_names_fit_a_task(client: Client) -> None:
    send_many([(f"user_{number}_changed", None) for number in range(250)])
    assert client.cron().json == {**NOTHING, "names": 250, "tasks": 3}
    assert sorted(len(task.names) for task in client.queue.tasks) == [50, 100, 100]


def test_a_name_is_dispatched_once(client: Client) -> None:
    Signal("order_paid").send()
    client.cron()
    assert client.cron().json == NOTHING


def test_names_without_a_receiver_are_counted_and_left_alone(client: Client) -> None:
    Signal("somebody_elses").send()
    assert client.cron().json == {**NOTHING, "unmatched": 1}


def test_names_that_the_queue_refuses_are_due_at_once(client: Client) -> None:
    send_many([("order_paid", 1), ("user_7_changed", 2)])
    client.queue.refuse = lambda task: True
    assert client.cron(status=503).json == {**NOTHING, "refused": 2}
    client.queue.refuse = lambda task: False
    assert client.cron().json == {**NOTHING, "names": 2, "tasks": 1}


def test_a_run_that_the_queue_refuses_in_part_succeeds_for_the_rest(client: Client) -> None:
    send_many([(f"user_{number}_changed", None) for number in range(150)])
    client.queue.refuse = lambda task: len(task.names) == 50
    assert client.cron(status=200).json == {**NOTHING, "names": 100, "tasks": 1, "refused": 50}
    client.queue.refuse = lambda task: False
    assert client.cron().json == {**NOTHING, "names": 50, "tasks": 1}


def test_a_run_that_the_queue_refuses_is_no_fan_out_for_who_watches(client: Client) -> None:
    def noted() -> str | None:
        return client.http.get("/admin/status").json["health"]["last_fan_out_at"]  # type: ignore[no-any-return]

    Signal("order_paid").send()
    client.queue.refuse = lambda task: True
    client.cron(status=503)
    assert noted() is None
    client.queue.refuse = lambda task: False
    client.cron()
    assert noted()


def test_memcache_that_does_not_answer_is_a_failed_run(
    client: Client, break_memcache: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    break_memcache()
    response = client.cron(status=503)
    assert "Nothing was lost" in response.json["error"]
    assert "the store failed" in [record.getMessage() for record in caplog.records]


def test_a_name_that_send_would_have_refused_does_not_spoil_the_task_of_its_neighbours(receivers: Receivers) -> None:
    clock, queue = ManualClock(), RecordingQueue()
    store = MemoryStore(clock=clock)
    mailbox = Mailbox(store, clock=clock)
    bad = "user_\n_changed"
    neighbour = next(
        name for name in (f"user_{number}_changed" for number in range(100_000)) if slot_of(name) == slot_of(bad)
    )
    mailbox.send([(neighbour, b"")])
    slot = Slot().with_due({bad: 1, neighbour: 1}, int(clock() * 1000))
    store.set_raw(slot_key(slot_of(bad)), slot.to_bytes())
    dispatcher = Dispatcher(index=Index(mailbox), receivers=receivers, queue=queue, redispatch_seconds=300)
    assert dispatcher.fan_out().names == (neighbour,)


def test_a_dispatched_name_comes_up_again_after_the_redispatch_time(receivers: Receivers) -> None:
    clock, queue = ManualClock(), RecordingQueue()
    mailbox = Mailbox(MemoryStore(clock=clock), clock=clock)
    dispatcher = Dispatcher(index=Index(mailbox), receivers=receivers, queue=queue, redispatch_seconds=300)
    mailbox.send([("order_paid", b"")])
    assert dispatcher.fan_out().tasks == 1
    clock.advance(299)
    assert dispatcher.fan_out().tasks == 0
    clock.advance(2)
    assert dispatcher.fan_out().tasks == 1


def test_a_name_whose_home_page_was_evicted_is_found_again(make_client: MakeClient, receivers: Receivers) -> None:
    store = MemoryStore()
    mailbox = Mailbox(store)
    store.write([Set(page_key("order_paid"), Page("epoch", width=8, hot_ms=mailbox.now_ms()).to_bytes())])
    mailbox.lanes.keep("order_paid", 5, mailbox.now_ms())
    mailbox.send([("order_paid", b"")])
    store.evict([page_key("order_paid"), slot_key(slot_of("order_paid"))])
    assert make_client(receivers, store=store).cron().json == {**NOTHING, "names": 1, "tasks": 1}


def test_names_that_cannot_be_looked_at_do_not_stop_the_run(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise StoreError("the index cannot be written")

    monkeypatch.setattr("worker.app.repair", fail)
    Signal("order_paid").send()
    assert client.cron().json["names"] == 1
    assert "fixed names were not looked at" in caplog.text


def test_a_periodic_action_that_fails_is_repeated_at_the_next_occasion() -> None:
    outcomes = iter([False, True])
    runs: list[bool] = []

    def act() -> None:
        runs.append(next(outcomes))
        if not runs[-1]:
            raise StoreError("not now")

    periodic = Periodic(act, seconds=600, clock=ManualClock())
    with pytest.raises(StoreError):
        periodic.run_if_due()
    periodic.run_if_due()
    periodic.run_if_due()
    assert runs == [False, True]


def test_the_periodic_action_runs_first_at_once_and_then_by_the_clock() -> None:
    clock = ManualClock()
    runs: list[float] = []
    periodic = Periodic(lambda: runs.append(clock()), seconds=600, clock=clock)
    for _ in range(21):
        periodic.run_if_due()
        clock.advance(60)
    assert len(runs) == 3


class TestSend:
    """A line of cron.yaml makes a periodic signal."""

    def test_sends_the_query_as_a_dict(self, make_client: MakeClient) -> None:
        handled: list[object] = []
        client = make_client(receivers_of(handled))
        answer = client.http.get("/cron/send/a?day=monday&hour=7", headers=CRON_HEADERS)
        assert set(answer.json) == {"id"}
        client.task({"names": ["a"]})
        assert handled == [{"day": "monday", "hour": "7"}]

    def test_sends_none_without_a_query(self, make_client: MakeClient) -> None:
        handled: list[object] = []
        client = make_client(receivers_of(handled))
        client.http.get("/cron/send/a", headers=CRON_HEADERS)
        client.task({"names": ["a"]})
        assert handled == [None]

    def test_has_it_handled_at_once(self, make_client: MakeClient) -> None:
        client = make_client(Receivers())
        client.http.get("/cron/send/a", headers=CRON_HEADERS)
        (wake,) = client.tasks.waiting("signals")
        assert json.loads(wake.task.body) == {"names": ["a"]}

    def test_takes_any_name(self, make_client: MakeClient) -> None:
        client = make_client(Receivers())
        client.http.get("/cron/send/a/b%20%7Bc%7D", headers=CRON_HEADERS)
        assert waiting_in(client) == ["a/b {c}"]

    def test_refuses_a_name_that_cannot_be_one(self, make_client: MakeClient) -> None:
        client = make_client(Receivers())
        client.http.get("/cron/send/" + "x" * 201, headers=CRON_HEADERS, status=400)
        client.http.get("/cron/send/a%07b", headers=CRON_HEADERS, status=400)

    def test_is_for_cron_alone(self, make_client: MakeClient) -> None:
        make_client(Receivers()).http.get("/cron/send/a", status=403)

    def test_is_a_failed_run_where_memcache_is_away(
        self, make_client: MakeClient, break_memcache: Callable[[], None]
    ) -> None:
        client = make_client(Receivers())
        break_memcache()
        client.http.get("/cron/send/a", headers=CRON_HEADERS, status=503)


def receivers_of(handled: list[object]) -> Receivers:
    receivers = Receivers()
    receivers.connect("a", handled.append, id="it")
    return receivers


def waiting_in(client: Client) -> list[str]:
    return list(Index(client.worker.extensions["gaesignals"]).entries())
