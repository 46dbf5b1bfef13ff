"""Whether cron, memcache and the queue are well, as every instance tells it."""

from __future__ import annotations

import random

import pytest

from gaesignals import Receivers
from gaesignals.format.keys import FLUSH_MARKER, LAST_FAN_OUT
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import Call, ManualClock, MemoryStore
from worker.health import LATE_RUNS, QUEUE_SECONDS, UNKNOWN_QUEUE_SECONDS, HealthCheck
from worker.queue import QueueState

from .conftest import Client, MakeClient
from .recording_queue import RecordingQueue


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


def instance(store: MemoryStore, clock: ManualClock, queue: RecordingQueue, seed: int = 1) -> HealthCheck:
    mailbox = Mailbox(store, clock=clock, random=random.Random(seed), sleep=lambda _: None)
    return HealthCheck(mailbox, queue, clock=clock)


@pytest.fixture
def check(store: MemoryStore, clock: ManualClock, queue: RecordingQueue) -> HealthCheck:
    return instance(store, clock, queue)


class TestTheLastFanOut:
    def test_is_late_if_there_was_none(self, check: HealthCheck) -> None:
        health = check.look()
        assert (health.last_fan_out_at, health.last_fan_out_age_seconds, health.is_fan_out_late) == (None, None, True)

    def test_is_late_after_three_minutes(self, check: HealthCheck, clock: ManualClock) -> None:
        check.note_fan_out()
        clock.advance(180)
        assert (check.look().last_fan_out_age_seconds, check.look().is_fan_out_late) == (180, False)
        clock.advance(1)
        assert check.look().is_fan_out_late

    def test_is_late_later_where_cron_comes_seldom(
        self, store: MemoryStore, clock: ManualClock, queue: RecordingQueue
    ) -> None:
        check = HealthCheck(Mailbox(store, clock=clock), queue, cron_seconds=600, clock=clock)
        check.note_fan_out()
        clock.advance(LATE_RUNS * 600)
        assert not check.look().is_fan_out_late
        clock.advance(1)
        assert check.look().is_fan_out_late
        assert check.look().to_json()["late_after_seconds"] == LATE_RUNS * 600

    def test_is_told_by_every_instance(
        self, check: HealthCheck, store: MemoryStore, clock: ManualClock, queue: RecordingQueue
    ) -> None:
        instance(store, clock, queue, seed=2).note_fan_out()
        clock.advance(5)
        assert check.look().last_fan_out_age_seconds == 5

    def test_is_noted_in_one_call(self, check: HealthCheck, store: MemoryStore) -> None:
        check.note_fan_out()
        assert len(store.calls) == 1

    def test_on_a_clock_that_is_ahead_is_now(self, check: HealthCheck, clock: ManualClock) -> None:
        clock.advance(100)
        check.note_fan_out()
        clock.advance(-100)
        assert check.look().last_fan_out_age_seconds == 0

    def test_that_was_spoilt_counts_as_none(self, check: HealthCheck, store: MemoryStore) -> None:
        for value in (b"", b"spoilt"):
            store.set_raw(LAST_FAN_OUT, value)
            assert check.look().is_fan_out_late
        check.note_fan_out()
        assert not check.look().is_fan_out_late

    def test_is_that_of_cron(self, make_client: MakeClient) -> None:
        client = make_client(Receivers())
        client.http.post("/admin/drain")
        assert client.http.get("/admin/status").json["health"]["is_fan_out_late"]
        client.cron()
        health = client.http.get("/admin/status").json["health"]
        assert (health["memcache"], health["is_fan_out_late"], health["queue"]) == ("ok", False, "running")
        assert health["last_fan_out_at"] is not None


class TestAFlush:
    def test_is_not_told_at_the_first_look(self, check: HealthCheck) -> None:
        assert not check.look().has_flushed
        assert not check.look().has_flushed

    def test_is_told_once_and_remembered(self, check: HealthCheck, store: MemoryStore, clock: ManualClock) -> None:
        check.look()
        store.flush()
        health = check.look()
        assert health.has_flushed
        assert health.flushed_at is not None
        clock.advance(10)
        again = check.look()
        assert (again.has_flushed, again.flushed_at) == (False, health.flushed_at)

    def test_is_told_by_each_instance(
        self, check: HealthCheck, store: MemoryStore, clock: ManualClock, queue: RecordingQueue
    ) -> None:
        other = instance(store, clock, queue, seed=2)
        check.look()
        other.look()
        store.flush()
        assert (check.look().has_flushed, other.look().has_flushed) == (True, True)
        assert (check.look().has_flushed, other.look().has_flushed) == (False, False)

    def test_is_not_a_memcache_that_does_not_answer(self, check: HealthCheck, store: MemoryStore) -> None:
        check.look()
        store.before = lambda call: call.keys
        health = check.look()
        assert (health.is_memcache_up, health.has_flushed) == (False, False)
        store.before = None
        assert not check.look().has_flushed

    def test_whose_marker_could_not_be_put_back_is_told_once(self, check: HealthCheck, store: MemoryStore) -> None:
        def fail_writes(call: Call) -> tuple[bytes, ...]:
            return call.keys if call.verb == "write" else ()

        check.look()
        store.flush()
        store.before = fail_writes
        assert [check.look().has_flushed for _ in range(3)] == [True, False, False]
        store.before = None
        assert [check.look().has_flushed for _ in range(2)] == [False, False]
        store.flush()
        assert check.look().has_flushed

    def test_is_found_after_the_marker_was_spoilt(self, check: HealthCheck, store: MemoryStore) -> None:
        check.look()
        store.set_raw(FLUSH_MARKER, b"spoilt")
        assert [check.look().has_flushed for _ in range(2)] == [True, False]
        store.flush()
        assert check.look().has_flushed


class TestTheQueue:
    def test_is_asked_every_few_seconds(self, check: HealthCheck, clock: ManualClock, queue: RecordingQueue) -> None:
        assert [check.look().queue for _ in range(3)] == [QueueState.RUNNING] * 3
        assert queue.asked_for_state == 1
        queue.current_state = QueueState.PAUSED
        clock.advance(QUEUE_SECONDS)
        assert check.look().queue is QueueState.PAUSED

    def test_that_does_not_tell_is_asked_less_often(
        self, check: HealthCheck, clock: ManualClock, queue: RecordingQueue
    ) -> None:
        queue.current_state = QueueState.UNKNOWN
        check.look()
        clock.advance(UNKNOWN_QUEUE_SECONDS - 1)
        check.look()
        assert queue.asked_for_state == 1

    def test_that_fails_breaks_nothing(
        self, store: MemoryStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(RecordingQueue):
            def state(self) -> QueueState:
                raise OSError("no network")

        assert instance(store, clock, Broken()).look().queue is QueueState.UNKNOWN
        assert "the state of the queue cannot be asked for" in caplog.messages


def test_a_look_is_one_call(check: HealthCheck, store: MemoryStore) -> None:
    check.look()
    before = len(store.calls)
    check.look()
    assert len(store.calls) == before + 1


def test_a_fan_out_that_failed_is_not_noted(make_client: MakeClient, store: MemoryStore) -> None:
    client: Client = make_client(Receivers(), store=store)
    store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:i:")]
    client.cron(status=503)
    store.before = None
    assert client.http.get("/admin/status").json["health"]["last_fan_out_at"] is None
