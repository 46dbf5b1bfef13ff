"""`GET /metrics`, read by Prometheus' own parser."""

from __future__ import annotations

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from gaesignals import Receivers
from gaesignals.data.codec import dumps
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import MemoryStore
from worker.config import Environment

from ..conftest import Client, MakeClient

AWKWARD = 'tricky "id" \\n of <b>طلب'


@pytest.fixture
def client(make_client: MakeClient, store: MemoryStore) -> Client:
    receivers = Receivers()
    receivers.connect("fine", lambda data: None, id=AWKWARD)
    receivers.connect("user_{id}_changed", lambda data, *, id: None, id="users")

    @receivers.receiver("firm", reliable=True, max_attempts=1, id="firm")
    def explode(data: object) -> None:
        raise RuntimeError("no")

    return make_client(receivers, store=store)


def send(store: MemoryStore, *names: str) -> None:
    Mailbox(store).send([(name, dumps(1)) for name in names])


def families(client: Client) -> dict[str, Metric]:
    answer = client.http.get("/metrics")
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def values(family: Metric, suffix: str = "") -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value for sample in family.samples if sample.name == family.name + suffix
    }


def test_the_counts_are_those_of_the_history(client: Client, store: MemoryStore) -> None:
    send(store, "fine", "fine", "firm", "user_7_changed")
    client.task({"names": ["fine", "firm", "user_7_changed"]})
    found = families(client)
    assert [values(found[f"gaesignals_{name}"], "_total")[()] for name in ("delivered", "failed", "dead")] == [3, 1, 1]
    by_receiver = values(found["gaesignals_receiver_messages"], "_total")
    assert by_receiver[AWKWARD, "delivered"] == 2
    assert (by_receiver["firm", "failed"], by_receiver["firm", "dead"], by_receiver["firm", "delivered"]) == (1, 1, 0)
    by_name = values(found["gaesignals_name_messages"], "_total")
    assert by_name["user_{id}_changed", "delivered"] == 1
    (status,) = [each for each in client.http.get("/admin/status").json["receivers"] if each["id"] == AWKWARD]
    assert status["delivered"] == by_receiver[AWKWARD, "delivered"]


def test_histograms_have_sums_and_counts(client: Client, store: MemoryStore) -> None:
    send(store, "fine", "fine")
    client.task({"names": ["fine"]})
    waits = families(client)["gaesignals_queue_wait_seconds"]
    assert values(waits, "_count")[AWKWARD,] == 2
    assert values(waits, "_bucket")[AWKWARD, "+Inf"] == 2
    assert values(waits, "_sum")[AWKWARD,] >= 0
    assert waits.unit == "seconds"


def test_gauges_tell_what_waits_now(client: Client, store: MemoryStore) -> None:
    send(store, "fine", "user_7_changed", "user_8_changed", "nobodys")
    client.cron()
    found = families(client)
    assert values(found["gaesignals_waiting"]) == {
        ("",): 1,
        ("fine",): 1,
        ("user_{id}_changed",): 2,
        ("firm",): 0,
    }
    assert values(found["gaesignals_memcache_up"])[()] == 1
    assert values(found["gaesignals_instances"])[()] == 1
    assert values(found["gaesignals_unmatched_names"])[()] == 1
    assert values(found["gaesignals_last_fan_out_timestamp_seconds"])[()] > 1_700_000_000


def test_counters_never_go_back_and_say_since_when_they_count(client: Client, store: MemoryStore) -> None:
    seen = []
    for _ in range(3):
        send(store, "fine")
        client.task({"names": ["fine"]})
        seen.append(families(client)["gaesignals_delivered"])
    assert [values(each, "_total")[()] for each in seen] == [1, 2, 3]
    assert len({values(each, "_created")[()] for each in seen}) == 1
    store.flush()
    assert "gaesignals_delivered" not in families(client), "what was forgotten is not zero"
    send(store, "fine")
    client.task({"names": ["fine"]})
    begun_anew = families(client)["gaesignals_delivered"]
    assert values(begun_anew, "_total")[()] == 1
    assert values(begun_anew, "_created")[()] > values(seen[0], "_created")[()]


def test_what_is_not_known_is_left_out(client: Client, store: MemoryStore) -> None:
    send(store, "fine")
    store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:p:")]
    assert "gaesignals_waiting" not in families(client)
    store.before = lambda call: list(call.keys)
    assert {name: values(family)[()] for name, family in families(client).items()} == {"gaesignals_memcache_up": 0}


def test_it_is_behind_the_door_of_administrators(make_client: MakeClient) -> None:
    client = make_client(Receivers(), environment=Environment.STANDARD)
    client.http.get("/metrics", status=403)
