"""What every store promises, run on each of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map
from google.appengine.api.memcache import memcache_stub
from google.appengine.runtime import apiproxy_errors

from devserver.appengine.client import connected, ticket
from devserver.appengine.server import ApiServer
from gaesignals.stores.app_engine import MemcacheStore
from gaesignals.stores.store import Absent, Add, Cas, Check, Found, Outcome, Set, Store
from gaesignals.stores.valkey import ValkeyStore
from gaesignals.testing import ManualClock, MemoryStore
from tests.servers import NO_FILES, Server, ServerClock, cluster, losing


@dataclass(frozen=True, slots=True)
class World:
    """A store and what a test can do to the service behind it. `thread` is what a thread that uses it has to enter."""

    store: Store
    clock: ManualClock
    failing: Callable[[str], contextlib.AbstractContextManager[None]]
    another: Callable[[str], Store] | None = None
    thread: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


@pytest.fixture(scope="module")
def server() -> Iterator[list[Server]]:
    with Server(*NO_FILES) as server:
        yield [server]


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Server]]:
    with cluster(*NO_FILES) as nodes:
        yield nodes


@pytest.fixture(params=["memory", "sdk stub", "sdk stub, split by policy", "api server", "server", "nodes"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    clock = ManualClock()
    with contextlib.ExitStack() as stack:
        if request.param in ("server", "nodes"):
            servers: list[Server] = request.getfixturevalue(request.param)
            yield from _on_servers(servers)
        elif request.param == "memory":
            memory = MemoryStore(clock=clock)
            yield World(memory, clock, lambda when: _memory_failing(memory, when))
        elif request.param == "api server":
            server = stack.enter_context(ApiServer())
            stack.enter_context(connected(server.port))
            server.app_engine._memcache._gettime = clock
            yield World(MemcacheStore(), clock, _calls_failing, lambda name: MemcacheStore(namespace=name), ticket)
        else:
            stack.enter_context(_sdk_stub(clock))
            store = MemcacheStore(split_by_policy="split" in request.param)
            yield World(store, clock, _calls_failing, lambda name: MemcacheStore(namespace=name))


@pytest.fixture
def store(world: World) -> Store:
    return world.store


@pytest.fixture(params=["memory", "server", "nodes"])
def store_that_takes_ids(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore(takes_ids=True)
    else:
        for world in _on_servers(request.getfixturevalue(request.param)):
            yield world.store


def _on_servers(servers: list[Server]) -> Iterator[World]:
    for server in servers:
        server.command("FLUSHALL")
    with contextlib.ExitStack() as stack:

        def open_store(namespace: str = "") -> ValkeyStore:
            store = ValkeyStore(f"valkey://127.0.0.1:{servers[0].proxy.port}", namespace=namespace)
            stack.callback(store.close)
            return store

        clock = ServerClock(servers)
        stack.callback(clock.close)
        yield World(open_store(), clock, lambda when: losing(servers, when), open_store)


@contextlib.contextmanager
def _sdk_stub(clock: ManualClock) -> Iterator[None]:
    before = apiproxy_stub_map.apiproxy
    apiproxy_stub_map.apiproxy = apiproxy_stub_map.APIProxyStubMap(memcache_stub.MemcacheServiceStub(gettime=clock))
    yield
    apiproxy_stub_map.apiproxy = before


@contextlib.contextmanager
def _memory_failing(store: MemoryStore, when: str) -> Iterator[None]:
    setattr(store, when, lambda call: call.keys)
    yield
    setattr(store, when, None)


@contextlib.contextmanager
def _calls_failing(when: str) -> Iterator[None]:
    proxy = apiproxy_stub_map.apiproxy
    hooks = proxy.GetPreCallHooks() if when == "before" else proxy.GetPostCallHooks()

    def fail(service: str, call: str, request: Any, response: Any) -> None:
        raise apiproxy_errors.DeadlineExceededError("the answer did not come")

    hooks.Append("fail", fail)
    yield
    hooks.Clear()


def found(store: Store, key: bytes) -> Found:
    read = store.gets([key])[key]
    assert isinstance(read, Found)
    return read


def test_a_key_that_was_never_written_is_missing(store: Store) -> None:
    assert store.gets([b"a", b"b"]) == {b"a": Absent.MISSING, b"b": Absent.MISSING}


def test_what_was_stored_is_found_with_an_id(store: Store) -> None:
    assert store.write([Add(b"a", b"1"), Set(b"b", b"2")]) == {b"a": Outcome.STORED, b"b": Outcome.STORED}
    assert [found(store, key).value for key in (b"a", b"b")] == [b"1", b"2"]


def test_an_add_of_an_existing_key_conflicts_and_changes_nothing(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    assert store.write([Add(b"a", b"2")]) == {b"a": Outcome.CONFLICT}
    assert found(store, b"a").value == b"1"


def test_a_cas_stores_while_the_key_is_as_it_was_read(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    read = found(store, b"a")
    assert store.write([Cas(b"a", b"2", read.cas)]) == {b"a": Outcome.STORED}
    assert found(store, b"a").value == b"2"


def test_a_cas_conflicts_once_anybody_wrote(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    read = found(store, b"a")
    store.write([Set(b"a", b"1")])
    assert store.write([Cas(b"a", b"2", read.cas)]) == {b"a": Outcome.CONFLICT}
    assert found(store, b"a").value == b"1"


def test_a_cas_is_good_for_one_write(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    read = found(store, b"a")
    store.write([Cas(b"a", b"1", read.cas)])
    assert store.write([Cas(b"a", b"3", read.cas)]) == {b"a": Outcome.CONFLICT}


def test_a_cas_of_a_deleted_key_finds_it_missing(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    read = found(store, b"a")
    store.delete([b"a"])
    assert store.write([Cas(b"a", b"2", read.cas)]) == {b"a": Outcome.MISSING}
    assert store.gets([b"a"]) == {b"a": Absent.MISSING}


def test_a_cas_of_a_key_that_was_deleted_and_came_back_conflicts(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    read = found(store, b"a")
    store.delete([b"a"])
    store.write([Add(b"a", b"1")])
    assert store.write([Cas(b"a", b"2", read.cas)]) == {b"a": Outcome.CONFLICT}


def test_each_write_of_a_call_has_its_own_policy_and_outcome(store: Store) -> None:
    store.write([Set(b"taken", b"1"), Set(b"stale", b"1"), Set(b"fresh", b"1")])
    stale = found(store, b"stale").cas
    store.write([Set(b"stale", b"2")])
    fresh = found(store, b"fresh").cas
    assert store.write(
        [
            Cas(b"fresh", b"n", fresh),
            Add(b"taken", b"n"),
            Add(b"new", b"n"),
            Cas(b"stale", b"n", stale),
            Cas(b"gone", b"n", stale),
            Set(b"set", b"n"),
        ]
    ) == {
        b"fresh": Outcome.STORED,
        b"taken": Outcome.CONFLICT,
        b"new": Outcome.STORED,
        b"stale": Outcome.CONFLICT,
        b"gone": Outcome.MISSING,
        b"set": Outcome.STORED,
    }


def test_a_delete_leaves_a_key_gone_whether_or_not_it_was_there(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    assert store.delete([b"a", b"b"]) == {b"a": True, b"b": True}
    assert store.gets([b"a"]) == {b"a": Absent.MISSING}


def test_a_deleted_key_can_be_added_again_at_once(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    store.delete([b"a"])
    assert store.write([Add(b"a", b"2")]) == {b"a": Outcome.STORED}


def test_values_and_keys_are_any_bytes(store: Store) -> None:
    key, value = bytes(range(250)), bytes(range(256)) * 2
    store.write([Set(key, value), Set(b"empty", b"")])
    assert [found(store, k).value for k in (key, b"empty")] == [value, b""]


def test_the_largest_value_comes_back_whole(store: Store) -> None:
    value = b"x" * store.limits.value_bytes
    assert store.write([Set(b"a", value)]) == {b"a": Outcome.STORED}
    assert found(store, b"a").value == value


def test_as_many_keys_as_there_may_be_go_in_one_call_each_way(store: Store) -> None:
    keys = [b"key%d" % number for number in range(store.limits.keys)]
    assert set(store.write([Add(key, key) for key in keys]).values()) == {Outcome.STORED}
    reads = store.gets(keys)
    assert [getattr(reads[key], "value", None) for key in keys] == keys
    assert set(store.delete(keys).values()) == {True}
    assert set(store.gets(keys).values()) == {Absent.MISSING}


def test_an_expiry_of_a_month_is_relative(store: Store) -> None:
    store.write([Set(b"a", b"1", ttl_seconds=30 * 24 * 3600)])
    assert found(store, b"a").value == b"1"


def test_a_key_read_twice_in_a_call_is_answered_once(store: Store) -> None:
    store.write([Set(b"a", b"1")])
    assert list(store.gets([b"a", b"a"])) == [b"a"]


def test_nothing_asked_is_nothing_answered(store: Store) -> None:
    assert (store.gets([]), store.write([]), store.delete([])) == ({}, {}, {})


@pytest.mark.parametrize("key", [b"", b"k" * 251])
def test_a_key_of_a_wrong_length_is_a_mistake(store: Store, key: bytes) -> None:
    with pytest.raises(ValueError, match="1 to 250 bytes"):
        store.gets([key])
    with pytest.raises(ValueError, match="1 to 250 bytes"):
        store.write([Set(key, b"")])
    with pytest.raises(ValueError, match="1 to 250 bytes"):
        store.delete([key])


def test_a_value_over_the_limit_is_a_mistake_and_stores_nothing(store: Store) -> None:
    with pytest.raises(ValueError, match=f"{store.limits.value_bytes:,}"):
        store.write([Set(b"a", b"1"), Set(b"b", b"x" * (store.limits.value_bytes + 1))])
    assert store.gets([b"a"]) == {b"a": Absent.MISSING}


def test_text_for_a_key_or_a_value_is_a_mistake(store: Store) -> None:
    with pytest.raises(TypeError, match="bytes, not str"):
        store.gets(["a"])  # type: ignore[list-item]  # the mistake
    with pytest.raises(TypeError, match="bytes, not str"):
        store.write([Set(b"a", "1")])  # type: ignore[arg-type]  # the mistake


def test_two_writes_to_one_key_are_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="same key"):
        store.write([Set(b"a", b"1"), Add(b"a", b"2")])


@pytest.mark.parametrize("ttl_seconds", [-1, 30 * 24 * 3600 + 1])
def test_an_expiry_that_memcache_would_take_for_a_date_is_a_mistake(store: Store, ttl_seconds: int) -> None:
    with pytest.raises(ValueError, match="expiry"):
        store.write([Set(b"a", b"1", ttl_seconds)])


def test_a_fractional_expiry_is_a_mistake(store: Store) -> None:
    with pytest.raises(TypeError, match="whole number"):
        store.write([Set(b"a", b"1", 1.5)])  # type: ignore[arg-type]  # the mistake


def test_more_than_a_call_can_hold_is_a_mistake(store: Store) -> None:
    limits = store.limits
    with pytest.raises(ValueError, match=f"limit is {limits.keys}"):
        store.gets([b"%d" % number for number in range(limits.keys + 1)])
    with pytest.raises(ValueError, match="bytes in one call"):
        store.write([Set(b"%d" % number, b"x" * limits.value_bytes) for number in range(limits.sure_keys + 1)])


def test_an_expired_key_is_missing(world: World) -> None:
    world.store.write([Set(b"a", b"1", ttl_seconds=60), Set(b"stays", b"1")])
    cas = found(world.store, b"a").cas
    world.clock.advance(59)
    assert found(world.store, b"a").value == b"1"
    world.clock.advance(1)
    assert world.store.gets([b"a"]) == {b"a": Absent.MISSING}
    assert world.store.write([Cas(b"a", b"2", cas)]) == {b"a": Outcome.MISSING}
    assert world.store.write([Add(b"a", b"2")]) == {b"a": Outcome.STORED}
    world.clock.advance(10**6)
    assert [found(world.store, key).value for key in (b"a", b"stays")] == [b"2", b"1"]


def test_a_write_sets_the_expiry_anew(world: World) -> None:
    world.store.write([Add(b"a", b"1", ttl_seconds=60)])
    world.store.write([Cas(b"a", b"2", found(world.store, b"a").cas, ttl_seconds=120)])
    world.clock.advance(100)
    world.store.write([Cas(b"a", b"3", found(world.store, b"a").cas)])
    world.clock.advance(10**6)
    assert found(world.store, b"a").value == b"3"


def test_a_call_that_failed_before_it_took_effect_is_answered_as_failed_and_changed_nothing(world: World) -> None:
    world.store.write([Set(b"a", b"1")])
    with world.failing("before"):
        assert world.store.gets([b"a", b"b"]) == {b"a": Absent.FAILED, b"b": Absent.FAILED}
        assert world.store.write([Set(b"a", b"2"), Add(b"b", b"2")]) == {b"a": Outcome.FAILED, b"b": Outcome.FAILED}
        assert world.store.delete([b"a", b"b"]) == {b"a": False, b"b": False}
    assert found(world.store, b"a").value == b"1"
    assert world.store.gets([b"b"]) == {b"b": Absent.MISSING}


def test_a_call_whose_answer_was_lost_is_answered_as_failed_though_it_took_effect(world: World) -> None:
    world.store.write([Set(b"a", b"1"), Set(b"b", b"1")])
    with world.failing("after"):
        assert world.store.gets([b"a"]) == {b"a": Absent.FAILED}
        assert world.store.write([Set(b"a", b"2")]) == {b"a": Outcome.FAILED}
        assert world.store.delete([b"b"]) == {b"b": False}
    assert found(world.store, b"a").value == b"2"
    assert world.store.gets([b"b"]) == {b"b": Absent.MISSING}


def test_a_namespace_is_a_memcache_of_its_own(world: World) -> None:
    if world.another is None:
        pytest.skip("a memory store has one namespace")
    world.store.write([Set(b"a", b"1")])
    other = world.another("other")
    assert other.write([Add(b"a", b"2")]) == {b"a": Outcome.STORED}
    assert found(world.store, b"a").value == b"1"
    assert found(world.another("other"), b"a").value == b"2"


def test_of_many_threads_that_count_by_cas_none_is_lost(world: World) -> None:
    world.store.write([Set(b"count", b"0")])

    def count() -> None:
        with world.thread():
            for _ in range(20):
                while True:
                    read = found(world.store, b"count")
                    cas = Cas(b"count", b"%d" % (int(read.value) + 1), read.cas)
                    if world.store.write([cas]) == {b"count": Outcome.STORED}:
                        break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(world.store, b"count").value == b"80"


def test_only_some_stores_take_ids(store: Store) -> None:
    assert getattr(store, "takes_ids", False) == isinstance(store, ValkeyStore)


def test_a_writer_knows_the_id_that_it_chose(store_that_takes_ids: Store) -> None:
    store, ids = store_that_takes_ids, [bytes([number]) * 8 for number in range(4)]
    assert store.write([Add(b"a", b"1", 0, ids[0]), Add(b"b", b"2", 0, ids[1])]).keys() == {b"a", b"b"}
    assert store.gets([b"a", b"b"]) == {b"a": Found(b"1", ids[0]), b"b": Found(b"2", ids[1])}
    assert store.write([Cas(b"a", b"3", ids[0], 60, ids[2])]) == {b"a": Outcome.STORED}
    assert store.write([Cas(b"a", b"4", ids[0], 0, ids[3])]) == {b"a": Outcome.CONFLICT}
    assert store.write([Cas(b"a", b"5", ids[2])]) == {b"a": Outcome.STORED}
    read = found(store, b"a")
    assert read.value == b"5"
    assert read.cas not in ids, "where nobody chooses an id the store does"


def test_a_check_says_whether_a_key_is_as_it_was_and_leaves_it_so(store_that_takes_ids: Store) -> None:
    store = store_that_takes_ids
    store.write([Set(b"a", b"1"), Set(b"b", b"2"), Set(b"c", b"3")])
    seen = {key: found(store, key) for key in (b"a", b"b", b"c")}
    store.write([Set(b"b", b"2")])
    store.delete([b"c"])
    checks = [Check(key, each.cas) for key, each in seen.items()]
    expected = {b"a": Outcome.STORED, b"b": Outcome.CONFLICT, b"c": Outcome.MISSING, b"d": Outcome.STORED}
    assert store.write([*checks, Add(b"d", b"4")]) == expected
    assert found(store, b"a") == seen[b"a"]
    assert found(store, b"b").value == b"2"
    assert store.gets([b"c"]) == {b"c": Absent.MISSING}
