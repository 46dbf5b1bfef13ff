"""Calls are kept within the service's limits."""

from __future__ import annotations

import pytest

from gaesignals.data import codec
from gaesignals.format.slot import VERSION, Slot
from gaesignals.stores.client import Connection, State
from gaesignals.stores.store import MEMCACHE_LIMITS, Absent, CallLimits, Found, Outcome, Set
from gaesignals.testing import ManualClock, MemoryStore

KEYS = [b"key %d" % number for number in range(2500)]


@pytest.fixture
def connection(store: MemoryStore, clock: ManualClock) -> Connection:
    return Connection(store, clock=clock, sleep=lambda _: None)


def test_a_thousand_keys_go_in_a_call(connection: Connection, store: MemoryStore) -> None:
    connection.write([Set(key, b"") for key in KEYS])
    assert all(isinstance(read, Found) for read in connection.gets(KEYS).values())
    connection.delete(KEYS)
    assert [len(call.keys) for call in store.calls] == [1000, 1000, 500] * 3


def test_sixteen_megabytes_go_in_a_call(connection: Connection, store: MemoryStore) -> None:
    size = 900_000
    outcomes = connection.write([Set(key, bytes(size)) for key in KEYS[:40]])
    assert set(outcomes.values()) == {Outcome.STORED}
    connection.gets_sized(dict.fromkeys(KEYS[:40], size))
    assert [len(call.keys) for call in store.calls] == [18, 18, 4] * 2
    assert max(call.sent_bytes for call in store.calls) <= MEMCACHE_LIMITS.bytes


def test_a_store_says_itself_how_much_goes_in_a_call(connection: Connection, store: MemoryStore) -> None:
    store.limits = CallLimits(keys=3, bytes=2000, value_bytes=900)
    connection.write([Set(b"many%d" % number, b"") for number in range(4)])
    connection.write([Set(b"heavy%d" % number, bytes(900)) for number in range(3)])
    assert connection.write([Set(b"large", bytes(901))]) == {b"large": Outcome.FAILED}
    connection.delete(KEYS[:4])
    assert [len(call.keys) for call in store.calls] == [3, 1, 1, 1, 1, 3, 1]


def test_an_answer_that_would_be_too_large_is_asked_for_in_parts(connection: Connection, store: MemoryStore) -> None:
    connection.write([Set(key, b"") for key in KEYS[:1000]])
    store.before = lambda call: call.keys if len(call.keys) > 300 else None
    assert all(isinstance(read, Found) for read in connection.gets(KEYS[:1000]).values())
    assert len(store.calls) == 1 + 1 + 8


def test_what_is_as_large_as_can_be_is_asked_for_in_parts_that_fit(connection: Connection, store: MemoryStore) -> None:
    """As dead letters of a hundred names, or a slot of the index for each of them, may be."""
    connection.write([Set(key, b"") for key in KEYS[:1000]])
    store.before = lambda call: call.keys if len(call.keys) > 16 else None
    assert all(isinstance(read, Found) for read in connection.gets(KEYS[:1000]).values())


def test_a_value_that_is_too_large_for_the_store_fails_alone(connection: Connection, store: MemoryStore) -> None:
    outcomes = connection.write([Set(b"a", b""), Set(b"large", bytes(MEMCACHE_LIMITS.value_bytes + 1)), Set(b"b", b"")])
    assert outcomes == {b"a": Outcome.STORED, b"large": Outcome.FAILED, b"b": Outcome.STORED}
    assert store.raw(b"large") is None


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (codec.seal(VERSION, {"a": 5}), State.FOUND),
        (codec.seal(VERSION + 1, {"a": 5}), State.NEWER),
        (codec.seal(0, {"a": 5}), State.CORRUPT),
        (codec.seal(VERSION, {"a": 5})[:-1], State.CORRUPT),
        (b"", State.CORRUPT),
        (None, State.MISSING),
    ],
)
def test_what_a_read_found_is_told_apart(
    connection: Connection, store: MemoryStore, value: bytes | None, state: State
) -> None:
    if value is not None:
        store.set_raw(b"key", value)
    seen = connection.read([b"key"], Slot.from_bytes)[b"key"]
    assert (seen.state, seen.is_writable) == (state, state is not State.NEWER)
    assert (seen.cas is None) == (value is None)


def test_a_read_that_failed_says_nothing(connection: Connection, store: MemoryStore) -> None:
    store.set_raw(b"key", codec.seal(VERSION, {"a": 5}))
    store.before = lambda call: call.keys
    seen = connection.read([b"key"], Slot.from_bytes)[b"key"]
    assert (seen.state, seen.is_writable, seen.value, seen.cas) == (State.FAILED, False, None, None)


def test_memcache_being_down_is_found_out_in_three_calls(connection: Connection, store: MemoryStore) -> None:
    store.before = lambda call: call.keys
    assert set(connection.gets(KEYS[:1000]).values()) == {Absent.FAILED}
    assert len(store.calls) == 3
