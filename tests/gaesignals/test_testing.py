"""The tools for tests: what a store in memory can do beyond the contract, namespaces, and a clock."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gaesignals.stores.store import Absent, Add, Cas, Found, Outcome, Set
from gaesignals.testing import Call, ManualClock, MemoryNamespaces, MemoryStore


def test_every_call_is_listed_with_its_keys_and_bytes() -> None:
    store = MemoryStore()
    writes = (Set(b"a", b"12345"), Add(b"bb", b"1"))
    store.write(writes)
    store.gets([b"a", b"bb", b"c"])
    store.delete([b"a"])
    assert [(call.verb, call.keys, call.writes) for call in store.calls] == [
        ("write", (b"a", b"bb"), writes),
        ("gets", (b"a", b"bb", b"c"), ()),
        ("delete", (b"a",), ()),
    ]
    assert [(call.sent_bytes, call.received_bytes) for call in store.calls] == [(9, 0), (4, 6), (1, 0)]


def test_a_call_can_fail_for_some_keys_before_it_takes_effect() -> None:
    store = MemoryStore()
    store.before = lambda call: [b"b"]
    assert store.write([Set(b"a", b"1"), Set(b"b", b"1")]) == {b"a": Outcome.STORED, b"b": Outcome.FAILED}
    reads = store.gets([b"a", b"b"])
    assert isinstance(reads[b"a"], Found)
    assert reads[b"b"] is Absent.FAILED
    assert store.delete([b"a", b"b"]) == {b"a": True, b"b": False}
    assert store.keys() == []


def test_a_call_can_fail_for_some_keys_after_it_took_effect() -> None:
    store = MemoryStore()
    store.after = lambda call: [b"b", b"not in the call"]
    assert store.write([Set(b"a", b"1"), Set(b"b", b"1")]) == {b"a": Outcome.STORED, b"b": Outcome.FAILED}
    assert store.keys() == [b"a", b"b"]
    assert store.gets([b"b"]) == {b"b": Absent.FAILED}
    assert store.delete([b"a", b"b"]) == {b"a": True, b"b": False}
    assert store.keys() == []


def test_a_process_can_die_before_and_after_a_call() -> None:
    store = MemoryStore()

    def die(call: Call) -> None:
        raise KeyboardInterrupt

    store.before = die
    with pytest.raises(KeyboardInterrupt):
        store.write([Set(b"a", b"1")])
    assert store.keys() == []
    store.before, store.after = None, die
    with pytest.raises(KeyboardInterrupt):
        store.write([Set(b"a", b"1")])
    assert store.keys() == [b"a"]
    assert [call.verb for call in store.calls] == ["write", "write"]


def test_somebody_else_can_come_in_between() -> None:
    store = MemoryStore()
    store.write([Set(b"a", b"1")])
    read: Any = store.gets([b"a"])[b"a"]

    def interfere(call: Call) -> None:
        store.before = None
        store.write([Set(b"a", b"theirs")])

    store.before = interfere
    assert store.write([Cas(b"a", b"ours", read.cas)]) == {b"a": Outcome.CONFLICT}
    assert store.raw(b"a") == b"theirs"


def test_keys_can_be_evicted_by_name_or_predicate_or_all_at_once() -> None:
    store = MemoryStore()
    store.write([Set(b"a1", b""), Set(b"a2", b""), Set(b"b1", b""), Set(b"b2", b"")])
    assert store.evict([b"a1", b"none"]) == [b"a1"]
    assert store.evict(lambda key: key.startswith(b"b")) == [b"b1", b"b2"]
    assert store.keys() == [b"a2"]
    store.flush()
    assert store.keys() == []


def test_values_can_be_planted_and_looked_at_outside_all_calls() -> None:
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    store.set_raw(b"a", b"1", ttl_seconds=60)
    store.set_raw(b"pickled", b"1", is_foreign=True)
    assert (store.raw(b"a"), store.raw(b"none")) == (b"1", None)
    clock.advance(20)
    assert [store.ttl_seconds(key) for key in (b"a", b"pickled", b"none")] == [40, None, None]
    assert store.calls == []
    read = store.gets([b"pickled"])[b"pickled"]
    assert isinstance(read, Found)
    assert read.value == b""
    clock.advance(40)
    assert (store.keys(), store.raw(b"a")) == ([b"pickled"], None)


def test_ids_for_compare_and_set_never_come_twice() -> None:
    store = MemoryStore()
    seen = []
    for _ in range(5):
        store.write([Set(b"a", b"same")])
        seen.append(store.gets([b"a"])[b"a"])
        store.delete([b"a"])
    assert len(set(seen)) == 5


def test_namespaces_belong_to_their_context() -> None:
    namespaces = MemoryNamespaces("first")
    seen: list[str] = []
    with namespaces.using("here"):
        assert namespaces.current() == "here"
        thread = threading.Thread(target=lambda: seen.append(namespaces.current()))
        thread.start()
        thread.join()
    assert (seen, namespaces.current()) == (["first"], "first")


def test_a_clock_moves_when_told() -> None:
    clock = ManualClock(100)
    assert clock() == clock() == 100
    clock.advance(2.5)
    clock.advance(seconds=1)
    assert clock() == 103.5
