"""Commands to a Valkey or Redis server, or to the nodes of a Cluster: pipelined a node, and all nodes at once.

A command is sent once. It is sent again only where nothing can have come of it: its node could not be reached, or said
that another node has the key. The client's own retries are off, since they repeat what was carried out if only the
answer was lost.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterCrossSlotError, ConnectionError, MovedError, ResponseError
from redis.retry import Retry

from .lines import Lines, packed
from .talk import Address, Command, Confirmation, Talk

# A key may move while a command is under way, and the table of slots may be old besides.
_MAX_SENDS: Final = 4
# An idle connection says something every half minute, so that no firewall or connector forgets it, and is closed within
# a minute if nobody answers: before a call waits for that until its deadline.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_CLIENT_OPTIONS: Final[dict[str, Any]] = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)
    },
    "max_connections": 1000,
}
_FORCED_OPTIONS: Final = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "retry_on_timeout": False,
    "decode_responses": False,
    "protocol": 2,
}


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the server says of itself: whether it belongs to a Cluster, and what it does when its memory is full."""

    is_cluster: bool
    eviction: str

    @property
    def advice(self) -> str:
        """What there is to say of its `maxmemory-policy`, and after a semicolon what to do; empty if nothing is."""
        if self.eviction in ("", "noeviction"):
            return ""
        what = "anything" if self.eviction.startswith("allkeys") else "segments and bundles of messages, which expire"
        return (
            f"with maxmemory-policy {self.eviction} a server whose memory is full evicts {what}; "
            "set noeviction, so that a send raises an error instead"
        )


class Wire:
    """The connections of this process to a server, or to all nodes of its Cluster. Safe in threads and after a fork.

    `client_options` are redis-py's for a connection, `host` and `port` among them; `prefix` is what keys begin with on
    the server. Whether there is a Cluster is asked on first use, and told to `on_connect` unless somebody has asked for
    `info` before. Where `replicas` is not 0, so many have to confirm each write in half of `deadline_seconds`.
    """

    def __init__(
        self,
        client_options: Mapping[str, Any],
        *,
        prefix: bytes,
        deadline_seconds: float,
        replicas: int = 0,
        on_connect: Callable[[ServerInfo], None],
    ) -> None:
        deadlines = {"socket_timeout": deadline_seconds, "socket_connect_timeout": deadline_seconds}
        self._options: dict[str, Any] = _CLIENT_OPTIONS | deadlines | dict(client_options) | _FORCED_OPTIONS
        self._seed: Address = (self._options.pop("host", "localhost"), self._options.pop("port", 6379))
        wait = packed(b"WAIT", b"%d" % replicas, b"%d" % int(deadline_seconds * 500))
        self._confirmation = Confirmation(wait, replicas) if replicas else None
        self._prefix = prefix
        self._on_connect = on_connect
        self._lines: dict[Address, Lines] = {}
        self._info: ServerInfo | None = None
        # Taken by the first who connects, for good. Nobody waits for a lock here, which a fork may leave taken.
        self._unconnected = threading.Lock()
        self._slots: dict[int, Address] = {}
        self._is_stale = True
        self._suspect: Address | None = None
        self._lines_to(self._seed)

    def ask(
        self, keys: Sequence[bytes], message: Callable[[Sequence[bytes]], bytes], *, written: Collection[bytes] = ()
    ) -> list[tuple[Sequence[bytes], Any]]:
        """Send `message(keys)` to a server, to a Cluster the same of each key; return the answer for each such part.

        An exception is an answer too. `written` are those of `keys` that it is to change.
        """
        info = self._info or self._first_info()
        if isinstance(info, Exception):
            return [(keys, info)]
        if info.is_cluster:
            return self._ask_cluster([Command([key], message([key]), key in written) for key in keys])
        command = Command(keys, message(keys), bool(written))
        self._talk({self._seed: [command]})
        if isinstance(command.answer, (MovedError, ClusterCrossSlotError)):
            self._info = None  # it has become a Cluster, as the next call finds out
        return [(keys, command.answer)]

    def _ask_cluster(self, commands: Sequence[Command]) -> list[tuple[Sequence[bytes], Any]]:
        for _ in range(_MAX_SENDS):
            still_open = [command for command in commands if command.is_open]
            if not still_open:
                break
            self._send(still_open)
        return [(command.keys, command.answer) for command in commands]

    def info(self) -> ServerInfo | Exception:
        """What the server says of itself, asked for until it has answered once; an exception if it does not."""
        info = self._info
        if info is None:
            command = self._tell(self._seed, b"INFO")
            if isinstance(command.answer, Exception):
                return command.answer
            fields = dict(line.partition(":")[::2] for line in command.answer.decode().splitlines())
            info = self._info = ServerInfo(fields.get("cluster_enabled") == "1", fields.get("maxmemory_policy", ""))
        return info

    def _first_info(self) -> ServerInfo | Exception:
        """As `info`, and tell whoever wants to know it."""
        info = self.info()
        if not isinstance(info, Exception) and self._unconnected.acquire(blocking=False):
            self._on_connect(info)
        return info

    def close(self) -> None:
        """Close all connections that are not in use."""
        for lines in list(self._lines.values()):
            lines.close()

    def _send(self, commands: Sequence[Command]) -> None:
        if self._is_stale:
            self._read_slots()
        by_node: dict[Address, list[Command]] = {}
        for command in commands:
            node = command.redirect or self._slots.get(key_slot(self._prefix + command.keys[0]))
            if node is None or node in command.unreached:
                command.close(command.answer or ConnectionError("no node of the Cluster has the key's slot"))
            else:
                by_node.setdefault(node, []).append(command)
        self._talk(by_node)
        for node, sent in by_node.items():
            for command in sent:
                if isinstance(command.answer, Exception):
                    self._heed(command.answer, command, node)

    def _heed(self, error: Exception, command: Command, node: Address) -> None:
        """Send it where `node` says that the key is; where it is silent, or knows better, the table is old."""
        if isinstance(error, AskError):
            command.reopen(error, node)
        if isinstance(error, MovedError) or not isinstance(error, ResponseError):
            self._is_stale, self._suspect = True, node

    def _talk(self, by_node: Mapping[Address, Sequence[Command]]) -> None:
        talks = [Talk(self._lines_to(node), node, commands, self._confirmation) for node, commands in by_node.items()]
        try:
            for talk in talks:
                talk.begin()
            for talk in talks:
                talk.finish()
        finally:
            for talk in talks:
                talk.end()

    def _tell(self, node: Address, *words: bytes) -> Command:
        command = Command((), packed(*words))
        self._talk({node: [command]})
        return command

    def _read_slots(self) -> None:
        """Ask a node which slots are where, the suspect last. Where none says so, what was known has to do."""
        nodes = dict.fromkeys([*self._slots.values(), self._seed])
        for node in sorted(nodes, key=lambda node: node == self._suspect):
            answer = self._tell(node, b"CLUSTER", b"SLOTS").answer
            if isinstance(answer, list):
                self._slots = {slot: place for slots, place in _places(answer, node) for slot in slots}
                self._is_stale = False
                return

    def _lines_to(self, node: Address) -> Lines:
        return self._lines.get(node) or self._lines.setdefault(node, Lines(*node, self._options))


def _places(answer: Iterable[Any], node: Address) -> Iterator[tuple[range, Address]]:
    """The slots of each primary, as `CLUSTER SLOTS` lists them; without a host, it is the answering node's."""
    for first, last, (host, port, *_), *_ in answer:
        yield range(first, last + 1), ((host or b"").decode() or node[0], port)
