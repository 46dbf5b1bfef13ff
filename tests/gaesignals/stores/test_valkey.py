"""What a Valkey or Redis server adds to the promises of every store; real ones, killed, full, replicated, a Cluster."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.connection import Connection, ConnectionPool
from redis.crc import key_slot

from gaesignals.errors import InvalidOptionError
from gaesignals.stores.store import Absent, Add, Cas, Check, Found, Outcome, Set
from gaesignals.stores.valkey import ValkeyStore
from tests.servers import EACH_WRITE_ON_DISK, NO_FILES, Server, cluster, is_whole, losing, wait_until

ROOT = Path(__file__).parents[3]
KEYS = [b"key %d" % number for number in range(100)]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(*NO_FILES) as server:
        yield server


@pytest.fixture
def opened() -> Iterator[Callable[..., ValkeyStore]]:
    with contextlib.ExitStack() as stack:

        def open_store(url: str, **options: Any) -> ValkeyStore:
            store = ValkeyStore(url, **options)
            stack.callback(store.close)
            return store

        yield open_store


@pytest.fixture
def store(server: Server, opened: Callable[..., ValkeyStore]) -> ValkeyStore:
    return opened(server.url)


def calls(server: Server) -> dict[str, int]:
    """How often each command was carried out."""
    stats = server.command("INFO", "commandstats")
    return {name.removeprefix("cmdstat_"): fields["calls"] for name, fields in stats.items()}


def connections(server: Server) -> int:
    """How many were made, that of this question included."""
    made: int = server.command("INFO", "stats")["total_connections_received"]
    return made


def is_found(store: ValkeyStore, key: bytes, value: bytes) -> bool:
    read = store.gets([key])[key]
    return isinstance(read, Found) and read.value == value


def test_each_verb_is_one_command_for_all_its_keys(server: Server, store: ValkeyStore) -> None:
    store.write([Set(b"other", b"")])
    server.command("CONFIG", "RESETSTAT")
    store.write([Add(key, b"1") for key in KEYS])
    store.gets(KEYS)
    store.delete(KEYS)
    counted = calls(server)
    assert (counted["evalsha"], counted["mget"], counted["unlink"]) == (1, 1, 1)


def test_a_script_that_the_server_has_forgotten_is_given_to_it_again(server: Server, store: ValkeyStore) -> None:
    store.write([Set(b"a", b"1")])
    server.command("SCRIPT", "FLUSH")
    assert store.write([Set(b"a", b"2"), Add(b"b", b"2")]) == {b"a": Outcome.STORED, b"b": Outcome.STORED}
    assert is_found(store, b"a", b"2")


def test_a_write_whose_answer_is_lost_is_not_repeated(server: Server, opened: Callable[..., ValkeyStore]) -> None:
    store = opened(f"redis://127.0.0.1:{server.proxy.port}")
    store.write([Set(b"a", b"1")])
    server.command("CONFIG", "RESETSTAT")
    with losing([server], "after"):
        assert store.write([Set(b"a", b"2")]) == {b"a": Outcome.FAILED}
    counted = calls(server)
    assert (counted["evalsha"], counted.get("eval", 0)) == (1, 0)
    assert is_found(store, b"a", b"2")


@pytest.mark.parametrize("plant", [("SET", "x", "short"), ("SET", "x", "longer than an id")])
def test_a_value_that_is_not_ours_is_found_and_can_be_replaced(
    server: Server, store: ValkeyStore, plant: tuple[str, ...]
) -> None:
    server.command(*plant)
    read = store.gets([b"x"])[b"x"]
    assert isinstance(read, Found)
    assert store.write([Add(b"x", b"1")]) == {b"x": Outcome.CONFLICT}
    assert store.write([Cas(b"x", b"1", read.cas)]) == {b"x": Outcome.STORED}
    assert is_found(store, b"x", b"1")


@pytest.mark.parametrize("plant", [("SET", "x", ""), ("LPUSH", "x", "1"), ("HSET", "x", "a", "1")])
def test_what_cannot_be_a_value_reads_as_missing_and_is_replaced_without_touching_the_others(
    server: Server, store: ValkeyStore, plant: tuple[str, ...]
) -> None:
    server.command(*plant)
    assert store.gets([b"x"]) == {b"x": Absent.MISSING}
    assert store.write([Cas(b"x", b"1", b"12345678")]) == {b"x": Outcome.MISSING}
    assert store.write([Add(b"a", b"1"), Add(b"x", b"1")]) == {b"a": Outcome.STORED, b"x": Outcome.STORED}
    assert is_found(store, b"x", b"1")


def test_a_server_that_is_not_there_is_a_failure_of_each_key(server: Server, store: ValkeyStore) -> None:
    server.kill()
    assert store.gets([b"a", b"b"]) == {b"a": Absent.FAILED, b"b": Absent.FAILED}
    assert store.write([Set(b"a", b"1")]) == {b"a": Outcome.FAILED}
    assert store.delete([b"a"]) == {b"a": False}
    assert store.server_info() is None


def test_a_server_that_was_started_again_is_found_by_the_next_call(server: Server, store: ValkeyStore) -> None:
    store.write([Set(b"a", b"1")])
    server.kill()
    server.start()
    assert store.gets([b"a"]) == {b"a": Absent.MISSING}
    assert store.write([Set(b"a", b"2")]) == {b"a": Outcome.STORED}


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(server: Server, store: ValkeyStore) -> None:
    store.write([Set(b"a", b"1")])
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    time.sleep(0.02)
    assert store.write([Set(b"a", b"2")]) == {b"a": Outcome.STORED}


def test_one_connection_serves_the_calls_of_a_thread(server: Server, store: ValkeyStore) -> None:
    store.gets([b"a"])
    made = connections(server)
    for _ in range(10):
        store.write([Set(b"a", b"1")])
        store.gets([b"a"])
    assert connections(server) == made + 1


def test_an_idle_connection_is_kept_open_and_watched(store: ValkeyStore) -> None:
    with mock.patch.object(socket.socket, "setsockopt") as set_option:
        store.gets([b"a"])
    options = {call.args for call in set_option.call_args_list}
    assert (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30) in options
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options


def test_a_closed_store_can_be_used_again(server: Server, store: ValkeyStore) -> None:
    store.write([Set(b"a", b"1")])
    store.close()
    wait_until(lambda: server.command("INFO", "clients")["connected_clients"] == 1)
    assert is_found(store, b"a", b"1")


def test_an_answer_that_does_not_come_is_waited_for_until_the_deadline(
    server: Server, opened: Callable[..., ValkeyStore]
) -> None:
    store = opened(server.url, deadline_seconds=0.2)
    store.write([Set(b"a", b"1")])
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    assert store.gets([b"a"]) == {b"a": Absent.FAILED}
    server.process.send_signal(signal.SIGCONT)
    assert is_found(store, b"a", b"1")


class StoppedError(BaseException):
    """Ends a call in the middle, as a signal's handler may."""


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another(store: ValkeyStore) -> None:
    store.write([Set(b"a", b"1"), Set(b"b", b"2")])
    with mock.patch.object(Connection, "read_response", side_effect=StoppedError), pytest.raises(StoppedError):
        store.gets([b"a"])
    # The client looks for an answer before it sends, and finds none that is still on its way.
    with mock.patch.object(Connection, "can_read", return_value=False):
        assert is_found(store, b"b", b"2")


def test_many_threads_each_get_their_own_answers(store: ValkeyStore) -> None:
    store.write([Set(key, key) for key in KEYS])
    wrong: list[bytes] = []

    def look(key: bytes) -> None:
        wrong.extend(key for _ in range(20) if not is_found(store, key, key))

    threads = [threading.Thread(target=look, args=(key,)) for key in KEYS[:16]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_full_server_that_evicts_nothing_refuses_writes_and_keeps_what_it_has(
    server: Server, store: ValkeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.write([Set(b"a", b"1")])
    server.command("CONFIG", "SET", "maxmemory", "1")
    assert store.write([Set(b"b", b"1")]) == {b"b": Outcome.FAILED}
    assert "OutOfMemory" in caplog.records[-1].signals_error  # type: ignore[attr-defined]
    assert is_found(store, b"a", b"1")


def test_a_replica_takes_no_write_and_calls_nothing_missing(server: Server, opened: Callable[..., ValkeyStore]) -> None:
    with Server(*NO_FILES, "--replicaof", "127.0.0.1", str(server.port)) as replica:
        assert opened(replica.url).write([Set(b"a", b"1"), Cas(b"b", b"1", b"12345678")])[b"a"] is Outcome.FAILED
        replica.command("REPLICAOF", "NO", "ONE")


def test_a_server_that_has_become_a_replica_is_left_for_what_its_name_leads_to(
    server: Server, store: ValkeyStore
) -> None:
    store.write([Set(b"a", b"1")])
    server.command("REPLICAOF", "127.0.0.1", server.bus_port)
    opened = connections(server)
    assert store.write([Set(b"a", b"2")])[b"a"] is Outcome.FAILED
    server.command("REPLICAOF", "NO", "ONE")
    assert store.write([Set(b"a", b"3")]) == {b"a": Outcome.STORED}
    # Those of the two commands and of this question, and the store's new one.
    assert connections(server) == opened + 3


@pytest.mark.parametrize(
    ("policy", "evicts"),
    [("noeviction", None), ("allkeys-lru", "anything"), ("volatile-lru", "segments and bundles")],
)
def test_a_server_that_may_evict_what_waits_is_warned_of_once(
    server: Server, store: ValkeyStore, caplog: pytest.LogCaptureFixture, policy: str, evicts: str | None
) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", policy)
    store.gets([b"a"])
    store.gets([b"a"])
    warnings = [record for record in caplog.records if record.message == "the store may evict what waits"]
    assert len(warnings) == (evicts is not None)
    assert all(evicts and evicts in record.signals_advice for record in warnings)  # type: ignore[attr-defined]


def test_a_namespace_is_a_prefix_of_the_keys(server: Server, opened: Callable[..., ValkeyStore]) -> None:
    opened(server.url).write([Set(b"a", b"1")])
    opened(server.url, namespace="blue").write([Set(b"a", b"1")])
    assert sorted(server.command("KEYS", "*")) == [b"a", b"blue:a"]


def test_the_url_chooses_the_database(server: Server, opened: Callable[..., ValkeyStore]) -> None:
    opened(f"{server.url}/3").write([Set(b"a", b"1")])
    assert opened(server.url).gets([b"a"]) == {b"a": Absent.MISSING}
    assert is_found(opened(f"{server.url}/3"), b"a", b"1")


def test_a_password_is_used_and_never_logged(
    opened: Callable[..., ValkeyStore], caplog: pytest.LogCaptureFixture
) -> None:
    with Server(*NO_FILES, "--requirepass", "se/cret", password="se/cret") as server:
        address = f"127.0.0.1:{server.port}"
        assert opened(f"valkey://:se%2Fcret@{address}").write([Set(b"a", b"1")]) == {b"a": Outcome.STORED}
        assert opened(f"valkey://:gu%2Fess@{address}").write([Set(b"a", b"2")]) == {b"a": Outcome.FAILED}
    assert "Authentication" in caplog.records[-1].signals_error  # type: ignore[attr-defined]
    assert not any("gu/ess" in str(vars(record)) or "gu%2Fess" in str(vars(record)) for record in caplog.records)


def test_a_user_needs_no_more_than_the_page_on_servers_says(opened: Callable[..., ValkeyStore]) -> None:
    page = (ROOT / "docs/valkey.md").read_text()
    rules = re.findall(r"`(\+[^`]*)`", page[page.index("A user of its own") :])[:3]
    with Server(*NO_FILES, "--cluster-enabled", "yes") as server:
        server.command("ACL", "SETUSER", "shop", "on", ">secret", "~blue:gs:*", "-@all", *" ".join(rules).split())
        server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: is_whole(server))
        store = opened(f"valkey://shop:secret@127.0.0.1:{server.port}", namespace="blue")
        assert store.write([Add(b"gs:a", b"1")]) == {b"gs:a": Outcome.STORED}
        assert is_found(store, b"gs:a", b"1")
        assert store.delete([b"gs:a"]) == {b"gs:a": True}
        waiting = opened(
            f"valkey://shop:secret@127.0.0.1:{server.port}?replicas=1", namespace="blue", deadline_seconds=0.2
        )
        assert waiting.write([Add(b"gs:a", b"1")]) == {b"gs:a": Outcome.FAILED}, "there is no replica"
        assert server.command("ACL", "DRYRUN", "shop", "ASKING") == b"OK"
        refused = {dict(zip(entry[::2], entry[1::2], strict=True))[b"object"] for entry in server.command("ACL", "LOG")}
        assert refused <= {b"client|setinfo"}, "the client's name, which servers since 7.2 can be told"


def test_tls_is_by_the_url(tmp_path: Path, opened: Callable[..., ValkeyStore]) -> None:
    certificate, key = _certificate(tmp_path)
    options = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    with Server(*NO_FILES, "--tls-ca-cert-file", str(certificate), *options) as server:
        server.command("CONFIG", "SET", "tls-port", server.bus_port)
        address = f"127.0.0.1:{server.bus_port}"
        trusting = opened(f"valkeys://{address}?ssl_ca_certs={certificate}")
        assert trusting.write([Set(b"a", b"1")]) == {b"a": Outcome.STORED}
        assert opened(f"rediss://{address}").gets([b"a"]) == {b"a": Absent.FAILED}


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = builder.add_extension(addresses, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def test_a_write_is_stored_once_as_many_replicas_have_it_as_are_asked_for(
    server: Server, opened: Callable[..., ValkeyStore]
) -> None:
    store = opened(f"{server.url}?replicas=1", deadline_seconds=1.0)
    assert store.write([Set(b"a", b"1")]) == {b"a": Outcome.FAILED}, "there is no replica"
    with Server(*NO_FILES, "--replicaof", "127.0.0.1", str(server.port)) as replica:
        wait_until(lambda: replica.command("INFO", "replication")["master_link_status"] == "up")
        wait_until(lambda: store.write([Set(b"a", b"2")]) == {b"a": Outcome.STORED})
        assert (replica.command("GET", "a") or b"")[8:] == b"2"
        assert replica.process is not None
        replica.process.send_signal(signal.SIGSTOP)
        assert store.write([Set(b"a", b"3")]) == {b"a": Outcome.FAILED}
        replica.process.send_signal(signal.SIGCONT)
    assert is_found(store, b"a", b"3")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://somewhere", "valkey://"),
        ("memcached", "valkey://"),
        ("valkey://", "needs a host"),
        ("valkey://:secret@host/name", "number of a database"),
        ("valkey://:secret@host:port", "cannot be read"),
        ("valkey://:secret@host:0", "port"),
        ("valkey://:secret@[host", "URL"),
        ("valkey://:secret@host?replicas=many", "from 0 to 9"),
        ("valkey://:secret@host?replicas=", "from 0 to 9"),
        ("valkey://:secret@host?socket_timeout=long", "socket_timeout"),
        ("valkey://:secret@host?socket_timeout=60", "SIGNALS_MEMCACHE_SECONDS"),
        ("valkey://:secret@host?socket_connect_timeout=0", "SIGNALS_MEMCACHE_SECONDS"),
        ("valkey://:secret@host?max_connections=-1", "max_connections"),
        ("valkeys://:secret@host?ssl_cert_reqs=perhaps", "perhaps"),
        ("valkey://:secret@host?colour=blue", "colour"),
        (b"valkey://host", "bytes"),
        # Passwords that divide the URL themselves: what comes before that looks like a port, a database or an option.
        ("valkey://user:secret#1@host", "%XX"),
        ("valkey://user:secret/1@host", "%2F"),
        ("valkey://user/secret@host", "%2F"),
        ("valkey://user:secret?1@host", "%3F"),
        ("valkey://user:1?secret@host", "%3F"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: Any, says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says) as caught:
        ValkeyStore(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"namespace": "a b"},
        {"namespace": None},
        {"deadline_seconds": 0},
        {"client_options": {"socket_timeout": None}},
        {"client_options": {"colour": "blue"}},
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(InvalidOptionError, match=next(iter(value)) if isinstance(value, dict) else name):
        ValkeyStore("valkey://127.0.0.1", **options)


def test_a_child_process_has_connections_of_its_own(server: Server, store: ValkeyStore) -> None:
    store.write([Set(b"a", b"1")])
    made = connections(server)
    child = os.fork()
    if not child:
        os._exit(not all(is_found(store, b"a", b"1") for _ in range(20)))
    assert all(is_found(store, b"a", b"1") for _ in range(20))
    assert os.waitpid(child, 0)[1] == 0
    assert connections(server) == made + 2, "that of the child, and of this question"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_does_not_wait_for_a_thread_of_its_parent_that_was_connecting(store: ValkeyStore) -> None:
    parent, connecting, is_over = os.getpid(), threading.Event(), threading.Event()
    make = ConnectionPool.make_connection

    def make_slowly(pool: ConnectionPool) -> Any:
        if os.getpid() == parent:
            connecting.set()
            is_over.wait()
        return make(pool)

    with mock.patch.object(ConnectionPool, "make_connection", make_slowly):
        thread = threading.Thread(target=store.gets, args=([b"a"],))
        thread.start()
        connecting.wait()
        child = os.fork()
        if not child:
            signal.alarm(10)
            os._exit(store.gets([b"a"]) != {b"a": Absent.MISSING})
        status = os.waitpid(child, 0)[1]
        is_over.set()
        thread.join()
    assert status == 0


# A Cluster


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Server]]:
    with cluster(*EACH_WRITE_ON_DISK, replicas=1) as nodes:
        yield nodes


@pytest.fixture
def spread(nodes: list[Server], opened: Callable[..., ValkeyStore]) -> ValkeyStore:
    store = opened(nodes[1].url)
    assert set(store.write([Set(key, key) for key in KEYS]).values()) == {Outcome.STORED}
    return store


def test_the_keys_of_a_call_go_to_the_nodes_that_have_them(nodes: list[Server], spread: ValkeyStore) -> None:
    assert sum(node.command("DBSIZE") for node in nodes[:3]) == len(KEYS)
    assert all(node.command("DBSIZE") for node in nodes[:3])
    assert all(getattr(read, "value", None) == key for key, read in spread.gets(KEYS).items())
    assert set(spread.delete(KEYS).values()) == {True}


def test_a_key_with_a_namespace_is_looked_for_where_it_is(
    nodes: list[Server], opened: Callable[..., ValkeyStore]
) -> None:
    store = opened(nodes[1].url, namespace="blue")
    store.gets([b"a"])
    for node in nodes[:3]:
        node.command("CONFIG", "RESETSTAT")
    assert set(store.write([Set(key, key) for key in KEYS]).values()) == {Outcome.STORED}
    assert all(is_found(store, key, key) for key in KEYS)
    assert sum(node.command("INFO", "errorstats").get("errorstat_MOVED", {"count": 0})["count"] for node in nodes) == 0
    assert set(store.delete(KEYS).values()) == {True}


def test_replicas_confirm_what_is_written_and_not_what_is_checked(
    nodes: list[Server], spread: ValkeyStore, opened: Callable[..., ValkeyStore]
) -> None:
    store = opened(f"{nodes[1].url}?replicas=1", deadline_seconds=1.0)
    key = next(key for key in KEYS if key_slot(key) > 16384 * 2 // 3)
    read = store.gets([key])[key]
    assert isinstance(read, Found)
    assert store.write([Check(key, read.cas)]) == {key: Outcome.STORED}
    assert store.write([Cas(key, b"1", read.cas)]) == {key: Outcome.FAILED}, "the key's node has no replica"


def test_a_key_is_found_while_it_moves_and_after_it(nodes: list[Server], spread: ValkeyStore) -> None:
    key = next(key for key in KEYS if key_slot(key) > 16384 * 2 // 3)
    slot, source, target = key_slot(key), nodes[2], nodes[1]
    source_id, target_id = source.command("CLUSTER", "MYID"), target.command("CLUSTER", "MYID")
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    assert is_found(spread, key, key), "it is still where it was"
    source.command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    assert is_found(spread, key, key), "it was asked for where it goes"
    assert spread.write([Cas(key, b"moving", spread.gets([key])[key].cas)]) == {key: Outcome.STORED}  # type: ignore[union-attr]
    for node in (target, source):
        node.command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    assert is_found(spread, key, b"moving"), "it was looked for where it had been"


def test_a_server_that_has_become_a_cluster_is_found_out(server: Server, store: ValkeyStore) -> None:
    store.write([Set(key, key) for key in KEYS])
    server.kill()
    server.start("--cluster-enabled", "yes")
    server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wait_until(lambda: is_whole(server))
    assert set(store.gets(KEYS).values()) == {Absent.FAILED}
    assert set(store.gets(KEYS).values()) == {Absent.MISSING}


def test_a_cluster_that_lacks_a_slot_and_refuses_everything_calls_nothing_missing(
    opened: Callable[..., ValkeyStore], caplog: pytest.LogCaptureFixture
) -> None:
    with Server(*NO_FILES, "--cluster-enabled", "yes") as alone:
        alone.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: is_whole(alone))
        store = opened(alone.url)
        assert store.write([Set(b"a", b"1")]) == {b"a": Outcome.STORED}
        alone.command("CLUSTER", "DELSLOTS", key_slot(b"b"))
        wait_until(lambda: not is_whole(alone))
        assert store.gets([b"a", b"b"]) == {b"a": Absent.FAILED, b"b": Absent.FAILED}
        assert "ClusterDown" in caplog.records[-1].signals_error  # type: ignore[attr-defined]
        assert store.write([Set(b"a", b"2")]) == {b"a": Outcome.FAILED}
        alone.command("CLUSTER", "ADDSLOTS", key_slot(b"b"))
        wait_until(lambda: is_whole(alone))
        assert is_found(store, b"a", b"1")


def test_a_node_that_dies_fails_its_own_keys_until_its_replica_takes_over(
    nodes: list[Server], spread: ValkeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs last, since it changes who is who."""
    caplog.set_level(logging.CRITICAL)
    mine = {key for key in KEYS if key_slot(key) < 16384 // 3}
    nodes[0].kill()
    reads = spread.gets(KEYS)
    assert {key for key, read in reads.items() if read is Absent.FAILED} == mine
    assert all(isinstance(read, Found) for key, read in reads.items() if key not in mine)
    wait_until(lambda: is_whole(nodes[1]) and nodes[3].command("ROLE")[0] == b"master")
    wait_until(lambda: all(isinstance(read, Found) for read in spread.gets(KEYS).values()))
    assert set(spread.write([Set(key, b"later") for key in KEYS]).values()) == {Outcome.STORED}
