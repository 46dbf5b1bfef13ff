"""The store that a setting names, and what is said of one that cannot be."""

from __future__ import annotations

import sys

import pytest

from gaesignals import Signal, deliver
from gaesignals.errors import InvalidOptionError
from gaesignals.mailbox import current
from gaesignals.mailbox.current import current_mailbox
from gaesignals.stores.app_engine import MemcacheStore
from gaesignals.stores.opening import is_memcache, open_store
from gaesignals.stores.valkey import ValkeyStore
from tests.servers import NO_FILES, Server


@pytest.mark.parametrize("name", ["", " ", "memcache", " memcache "])
def test_memcache_is_the_default(name: str) -> None:
    store = open_store(name, namespace="blue", deadline_seconds=2.0)
    assert is_memcache(name)
    assert isinstance(store, MemcacheStore)
    assert (store.namespace, store.deadline_seconds) == ("blue", 2.0)


@pytest.mark.parametrize("scheme", ["valkey", "valkeys", "redis", "rediss"])
def test_a_url_names_a_server(scheme: str) -> None:
    store = open_store(f"{scheme}://:secret@10.0.0.3:6380/1 ", namespace="blue", deadline_seconds=2.0)
    assert not is_memcache(f"{scheme}://10.0.0.3")
    assert isinstance(store, ValkeyStore)
    assert (store.address, store.namespace, store.deadline_seconds) == ("10.0.0.3:6380", "blue", 2.0)


@pytest.mark.parametrize("name", ["memcached", "10.0.0.3:6379", "http://10.0.0.3"])
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidOptionError, match="begins with valkey://"):
        open_store(name)


def test_without_the_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gaesignals.stores.valkey")
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.connection", None)
    with pytest.raises(InvalidOptionError, match=r"install gaesignals\[valkey\]"):
        open_store("valkey://10.0.0.3")


def test_senders_and_deliveries_meet_on_the_server_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[object] = []
    with Server(*NO_FILES) as server:
        monkeypatch.setenv("SIGNALS_STORE", server.url)
        monkeypatch.setenv("SIGNALS_NAMESPACE", "blue")
        monkeypatch.setattr(current, "_default", None)
        Signal("order_paid").send({"n": 1})
        assert all(key.startswith(b"blue:gs:") for key in server.command("KEYS", "*"))
        deliver([("order_paid", handled.append)], reliable=True)
        store = current_mailbox().store
        assert isinstance(store, ValkeyStore)
        store.close()
    assert handled == [{"n": 1}]


def test_an_environment_that_names_no_store_is_refused_by_the_first_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALS_STORE", "memcached:secret")
    monkeypatch.setattr(current, "_default", None)
    with pytest.raises(InvalidOptionError, match="SIGNALS_STORE") as caught:
        Signal("order_paid").send()
    assert "secret" not in str(caught.value)
