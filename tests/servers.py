"""Valkey or Redis servers for a test, which starts and stops its own: one, some with replicas, or a Cluster of them.

Without a server's program these tests are skipped, but fail where CI is set.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from gaesignals.testing import ManualClock

NAMES = ("valkey-server", "redis-server")
NEEDED = "there is no Valkey or Redis: install Debian's redis-server"
START_SECONDS = 30.0
# What is left of an expiry is rounded up, however long a test takes: those that are used are multiples of it.
ROUNDED_SECONDS = 10
# A replica need not wait for others.
AT_ONCE = ("--repl-diskless-sync-delay", "0")
NO_FILES = ("--save", "", "--appendonly", "no")
EACH_WRITE_ON_DISK = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


def program() -> str:
    """The server's program; skips the test if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(NEEDED)
        pytest.skip(NEEDED)
    return found


class Server:
    """One server on a free port, a proxy before it, and a directory that survives `kill` and `start`."""

    def __init__(self, *options: str, password: str | None = None) -> None:
        self._password = password
        self._program = program()
        self._options = options
        self._directory = tempfile.TemporaryDirectory()
        self.process: subprocess.Popen[bytes] | None = None
        self.port, self.bus_port = free_ports(2)
        self.proxy = Proxy(self.port)
        self.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        """Start it, on the same port and with what its files have, from now on with `more` options."""
        self._options += more
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._directory.name, *AT_ONCE]
        if "--cluster-enabled" in self._options:
            own += ["--cluster-port", str(self.bus_port), "--cluster-announce-port", str(self.proxy.port)]
        log = Path(self._directory.name) / "log"
        with log.open("ab") as file:
            self.process = subprocess.Popen([self._program, *own, *self._options], stdout=file, stderr=file)
        try:
            wait_until(self._is_ready)
        except BaseException:
            said = log.read_text()
            self.stop()
            raise RuntimeError(f"the server did not start:\n{said}") from None

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError("the server ended")
        with contextlib.suppress(redis.ConnectionError):
            return self.command("PING") is not None
        return False

    def kill(self) -> None:
        """End it as a power cut would, but for what the kernel has."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        self.kill()
        self.proxy.close()
        self._directory.cleanup()

    def command(self, *words: Any) -> Any:
        """Send one command on a connection of its own."""
        with redis.Redis(port=self.port, password=self._password, protocol=2) as client:
            return client.execute_command(*words)


@contextlib.contextmanager
def cluster(*options: str, replicas: int = 0) -> Iterator[list[Server]]:
    """Three primaries of a Cluster, and then as many replicas of the first as are asked for."""
    enabled = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", *options)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Server(*enabled)) for _ in range(3 + replicas)]
        for number, node in enumerate(nodes[:3]):
            node.command("CLUSTER", "ADDSLOTSRANGE", number * 16384 // 3, (number + 1) * 16384 // 3 - 1)
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            nodes[0].command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        wait_until(lambda: all(_known_nodes(node) == len(nodes) for node in nodes))
        for node in nodes[3:]:
            node.command("CLUSTER", "REPLICATE", nodes[0].command("CLUSTER", "MYID"))
        wait_until(lambda: all(is_whole(node) for node in nodes))
        for node in nodes[3:]:
            wait_until(lambda node=node: node.command("INFO", "replication").get("master_link_status") == "up")
        yield nodes


def is_whole(node: Server) -> bool:
    """Whether the node sees all slots served."""
    return _cluster_info(node)["cluster_state"] == "ok"


def _known_nodes(node: Server) -> int:
    return int(_cluster_info(node)["cluster_known_nodes"])


def _cluster_info(node: Server) -> dict[str, str]:
    answer = node.command("CLUSTER", "INFO")
    return answer if isinstance(answer, dict) else dict(line.split(":") for line in answer.decode().split())


# Returns of each key what identifies its value and what is left of it, and keeps it for good.
_TAKE_OVER = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
    table.insert(found, {key, redis.call('GETRANGE', key, 0, 7), redis.call('PTTL', key)})
    redis.call('PERSIST', key)
end
return found
"""


class ServerClock(ManualClock):
    """A clock by which what these servers keep expires: the expiries are taken over from them when time passes."""

    def __init__(self, servers: Sequence[Server]) -> None:
        super().__init__()
        self._clients = [redis.Redis(port=server.port, protocol=2) for server in servers]
        self._expiries: list[dict[bytes, tuple[bytes, float]]] = [{} for _ in servers]

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def advance(self, seconds: float) -> None:
        now = self()
        super().advance(seconds)
        for number, client in enumerate(self._clients):
            known, expiries = self._expiries[number], {}
            for key, value, left in client.eval(_TAKE_OVER, 0):
                if left >= 0:
                    expiries[key] = (value, now - -left // (1000 * ROUNDED_SECONDS) * ROUNDED_SECONDS)
                elif known.get(key, (b"", 0))[0] == value:
                    expiries[key] = known[key]
            over = [key for key, (_, expires_at) in expiries.items() if expires_at <= self()]
            if over:
                client.delete(*over)
            self._expiries[number] = {key: expiries[key] for key in expiries.keys() - set(over)}


@contextlib.contextmanager
def losing(servers: Sequence[Server], when: str) -> Iterator[None]:
    """Lose what goes through the proxies: "before" it arrives, or "after" it was carried out."""
    for server in servers:
        server.proxy.losing = when
    yield
    for server in servers:
        server.proxy.losing = ""


class Proxy:
    """A way to a server, which loses requests and answers as `losing` says."""

    VERBS = (b"MGET", b"EVAL", b"UNLINK")

    def __init__(self, port: int) -> None:
        self._to = port
        self.losing = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            is_lost = False
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(2**20)
                    is_ours = source is client and any(verb in data for verb in self.VERBS)
                    if not data or (is_lost and source is server) or (is_ours and self.losing == "before"):
                        return
                    is_lost = is_lost or (is_ours and self.losing == "after")
                    (server if source is client else client).sendall(data)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def wait_until(is_so: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > give_up_at:
            raise RuntimeError("that did not come about")
        time.sleep(0.01)
