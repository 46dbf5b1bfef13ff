"""What all instances did is in one place: written once a minute, and by whoever is told to stop or asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from gaesignals import Receivers
from gaesignals.data.codec import dumps
from gaesignals.format.counts import Field
from gaesignals.format.history import EVERYTHING, MINUTES, Span, SpanKey
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.history import Remembered
from gaesignals.testing import Call, MemoryStore
from gaesignals.way import Way
from worker.past import Past, Window
from worker.recorder import EVERY_SECONDS

from .conftest import Client, MakeClient


@pytest.fixture
def receivers() -> Receivers:
    receivers = Receivers()
    receivers.connect("fine", lambda data: None, id="fine")
    receivers.connect("user_{id}_changed", lambda data, *, id: None, id="users")

    @receivers.receiver("firm", reliable=True, backoff=[3600], id="firm")
    def explode(data: object) -> None:
        raise RuntimeError("no")

    return receivers


@pytest.fixture
def start(make_client: MakeClient, store: MemoryStore, receivers: Receivers) -> Callable[[str], Client]:
    """Start an instance of that id; all share one store."""
    return lambda instance: make_client(receivers, store=store, instance=instance)


def send(store: MemoryStore, *names: str) -> None:
    Mailbox(store).send([(name, dumps(1)) for name in names])


def status(client: Client, query: str = "") -> dict[str, Any]:
    return client.http.get(f"/admin/status{query}").json


def told(client: Client) -> dict[str, Any]:
    """What an instance tells of all."""
    found = status(client)
    return {key: found[key] for key in ("receivers", "deliveries", "history")}


def total(found: dict[str, Any], field: str) -> int:
    return sum(point[field] or 0 for point in found["history"]["points"])


def history_keys(store: MemoryStore) -> set[bytes]:
    return {key for key in store.keys() if key.startswith((b"gs:h:", b"gs:fleet"))}  # noqa: SIM118 - a method


def a_minute_later(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = client.worker.recorder
    assert recorder is not None
    now = time.time() + EVERY_SECONDS
    monkeypatch.setattr(recorder, "_clock", lambda: now)


def test_two_instances_tell_the_same(start: Callable[[str], Client], store: MemoryStore) -> None:
    one, two = start("one"), start("two")
    send(store, "fine", "fine", "firm")
    one.task({"names": ["fine"]})
    two.task({"names": ["firm"]})
    told(one), told(two)
    assert any(told(one) == told(two) for _ in range(2)), "once, if a minute ends just now"
    found = status(one)
    assert [each["id"] for each in found["instances"]] == ["one", "two"]
    assert {each["instance"] for each in found["deliveries"]} == {"one", "two"}
    assert [(each["delivered"], each["failed"], each["retried"]) for each in found["receivers"]] == [
        (2, 0, 0),
        (0, 0, 0),
        (0, 1, 1),
    ]
    assert found["receivers"][2]["last_error"] == "RuntimeError: no"
    assert (total(found, "delivered"), total(found, "failed"), total(found, "retried")) == (2, 1, 1)


def test_what_a_worker_sends_and_what_that_replaces_is_counted(start: Callable[[str], Client]) -> None:
    client = start("one")
    for _ in range(3):
        client.worker.extensions["gaesignals"].send([("fine", dumps(1))], ways=[Way(is_latest=True)])
    found = status(client)
    assert (total(found, "sent"), total(found, "replaced")) == (3, 2)


def test_a_minute_is_written_once_and_not_while_a_message_is_on_its_way(
    make_client: MakeClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled = []
    receivers = Receivers()
    receivers.connect("firm", lambda data: handled.append(len(store.calls)), reliable=True)
    client = make_client(receivers, store=store)
    send(store, "firm")
    client.task({"names": ["firm"]})
    assert history_keys(store) == set()
    a_minute_later(client, monkeypatch)
    send(store, "firm")
    client.task({"names": ["firm"]})
    written = [number for number, call in enumerate(store.calls) if b"gs:fleet" in call.keys]
    assert [store.calls[number].verb for number in written] == ["gets", "write"]
    # The read and the write of the acknowledgement come before, too.
    assert written[0] >= handled[-1] + 2
    client.task({"names": ["firm"]})
    assert sum(b"gs:fleet" in call.keys for call in store.calls) == 2


def test_cron_that_comes_a_little_early_finds_an_idle_instance_that_writes_every_time(
    start: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start("one")
    recorder = client.worker.recorder
    assert recorder is not None
    heard, began = [], time.time()
    for seconds in (60, 119.6, 179.7, 239.5):
        now = began + seconds
        monkeypatch.setattr(recorder, "_clock", lambda now=now: now)
        client.cron()
        heard.append(recorder._written_at == now)
    assert heard == [True] * 4


def test_an_instance_that_is_told_to_stop_writes_what_it_has(
    start: Callable[[str], Client], store: MemoryStore
) -> None:
    one, two = start("one"), start("two")
    send(store, "fine")
    one.task({"names": ["fine"]})
    one.http.get("/_ah/stop")
    found = status(two)
    assert total(found, "delivered") == 1
    (stopped,) = [each for each in found["instances"] if each["id"] == "one"]
    assert stopped["stopped_at"] is not None


def test_what_memcache_did_not_take_is_written_later(
    start: Callable[[str], Client], store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = start("one"), start("two")
    send(store, "fine", "fine")
    store.before = lambda call: [key for key in call.keys if key.startswith((b"gs:h:", b"gs:fleet"))]
    one.task({"names": ["fine"]})
    a_minute_later(one, monkeypatch)
    assert one.task({"names": ["fine"]}).status_int == 200
    assert history_keys(store) == set()
    store.before = None
    assert total(status(one), "delivered") == 2
    found = status(two)
    assert total(found, "delivered") == 2
    assert len(found["deliveries"]) == 1


@pytest.fixture
def down(start: Callable[[str], Client], store: MemoryStore) -> Client:
    """An instance that was looked at, has delivered one message since, and now finds memcache down."""
    one = start("one")
    status(one)
    send(store, "fine")
    one.task({"names": ["fine"]})
    store.before = lambda call: list(call.keys)
    return one


def test_while_memcache_is_down_an_instance_tells_what_it_has_counted_itself(down: Client) -> None:
    found = down.http.get("/admin/status", status=503).json
    assert total(found, "delivered") == found["deliveries"][0]["delivered"] == 1
    assert found["receivers"][0]["delivered"] == 1


def test_while_memcache_is_down_nothing_is_zero_that_others_may_have_counted(down: Client) -> None:
    found = down.http.get("/admin/status", status=503).json
    assert found["safety"]["brought"] is None
    assert [each["delivered"] for each in found["receivers"]] == [1, None, None]
    assert found["receivers"][0]["failed"] is None
    assert found["history"]["points"][-1]["failed"] is None


def test_what_was_read_before_memcache_went_down_is_known_as_it_was(
    start: Callable[[str], Client], store: MemoryStore
) -> None:
    one = start("one")
    send(store, "fine")
    one.task({"names": ["fine"]})
    status(one)
    store.before = lambda call: list(call.keys)
    found = one.http.get("/admin/status", status=503).json
    assert total(found, "delivered") == 1
    page = one.browse("/admin/receivers", status=503)
    shown = page.html.select_one("td[data-label=Delivered]")
    assert shown is not None
    assert shown.text == "at least 1"


def test_the_minute_that_was_read_last_is_not_known_while_nothing_is_counted_in_it() -> None:
    now_ms = 90 * 60_000 + 5
    place = SpanKey.of(MINUTES, 1, EVERYTHING)
    read = Remembered({place: Span(1, 0, heard=frozenset({29, 30}))})
    first, last = Past(read, now_ms, whole_until_ms=now_ms).series(Window.HOUR).points[-2:]
    assert (first.is_whole, first.count(Field.DELIVERED)) == (True, 0)
    assert (last.is_whole, last.cell) == (False, None)


def test_a_count_that_could_not_be_written_is_told_once_while_memcache_is_down(
    down: Client, store: MemoryStore
) -> None:
    recorder = down.worker.recorder
    assert recorder is not None
    recorder.write()
    assert total(down.http.get("/admin/status", status=503).json, "delivered") == 1
    store.before = None
    assert total(status(down), "delivered") == 1
    assert status(down)["safety"]["brought"] == 0


def test_what_was_written_after_the_last_look_is_told_while_memcache_is_down(
    start: Callable[[str], Client], store: MemoryStore
) -> None:
    one = start("one")
    status(one)
    send(store, "fine")
    one.task({"names": ["fine"]})
    recorder = one.worker.recorder
    assert recorder is not None
    recorder.write()
    store.before = lambda call: list(call.keys)
    found = one.http.get("/admin/status", status=503).json
    assert total(found, "delivered") == found["deliveries"][0]["delivered"] == 1
    assert found["receivers"][0]["delivered"] == 1


def test_what_is_just_being_written_is_told_all_the_same(down: Client, store: MemoryStore) -> None:
    recorder = down.worker.recorder
    assert recorder is not None
    answers = []

    def hang(call: Call) -> list[bytes]:
        if b"gs:fleet" in call.keys and not answers:
            answers.append({})
            answers[0] |= down.http.get("/admin/status", status=503).json
        return list(call.keys)

    store.before = hang
    recorder.write()
    assert total(answers[0], "delivered") == answers[0]["deliveries"][0]["delivered"] == 1


def test_a_flush_leaves_gaps_and_no_zeros(start: Callable[[str], Client], store: MemoryStore) -> None:
    one = start("one")
    send(store, "fine")
    one.task({"names": ["fine"]})
    assert total(status(one), "delivered") == 1
    store.flush()
    points = status(start("two"))["history"]["points"]
    assert [point["delivered"] for point in points[:-2]] == [None] * 58
    assert points[-1]["delivered"] == 0


def test_how_much_waits_is_looked_at_after_a_fan_out(start: Callable[[str], Client], store: MemoryStore) -> None:
    client = start("one")
    assert status(client)["history"]["points"][-1]["waiting"] is None
    send(store, "fine", "fine", "user_7_changed", "nobodys")
    client.cron()
    points = status(client)["history"]["points"]
    assert max(point["waiting"] or 0 for point in points) == 4
    calls = len(store.calls)
    client.cron()
    assert len(store.calls) - calls <= 12, "it is not looked at again within the minute"


def test_a_delivery_that_is_going_on_tells_how_far_it_is(make_client: MakeClient, store: MemoryStore) -> None:
    seen = []

    def look(data: object) -> None:
        seen.append(status(client))

    receivers = Receivers()
    receivers.connect("slow", look, reliable=True)
    client = make_client(receivers, store=store, instance="one")
    send(store, "slow", "slow", "slow")
    client.task({"names": ["slow"]})
    works = [found["instances"][0]["at_work"][0] for found in seen]
    assert [(work["name"], work["names"], work["done"], work["claimed"]) for work in works] == [
        ("slow", 1, done, 3) for done in range(3)
    ]
    assert [found["running"][0]["done"] for found in seen] == [0, 1, 2]
    assert status(client)["instances"][0]["at_work"] == []


@pytest.mark.parametrize(
    ("window", "columns", "step"), [("hour", 60, 60), ("day", 96, 900), ("fortnight", 112, 10_800)]
)
def test_each_window_is_one_call(
    start: Callable[[str], Client], store: MemoryStore, window: str, columns: int, step: int
) -> None:
    client = start("one")
    send(store, "fine")
    client.task({"names": ["fine"]})
    status(client)
    before = len(store.calls)
    found = status(client, f"?window={window}")
    assert (len(found["history"]["points"]), found["history"]["step_seconds"]) == (columns, step)
    assert total(found, "delivered") == 1
    assert sum(any(key == b"gs:fleet" for key in call.keys) for call in store.calls[before:]) == 1


def test_another_window_is_refused(start: Callable[[str], Client]) -> None:
    start("one").http.get("/admin/status?window=year", status=400)
