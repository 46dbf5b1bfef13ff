"""Commands to a Valkey or Redis server, or to the nodes of a Cluster: pipelined a node, and all nodes at once.

A command is sent once. It is sent again only where nothing can have come of it: its node could not be reached, or said
that another node has the key. The client's own retries are off, since they repeat what was carried out if only the
answer was lost.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import AskError, ConnectionError, MovedError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

# How a call ends when the server, the way to it or the process's end is at fault. Anything else is a mistake here.
_FAILURES: Final = (RedisError, OSError)
# A key may move while a command is under way, and the table of slots may be old besides.
_MAX_SENDS: Final = 4
_CLIENT_OPTIONS: Final = {"socket_keepalive": True, "max_connections": 1000}
_FORCED_OPTIONS: Final = {
    "retry": Retry(NoBackoff(), 0),
    "retry_on_error": [],
    "retry_on_timeout": False,
    "decode_responses": False,
    "protocol": 2,
}

Address: TypeAlias = tuple[str, int]
Words: TypeAlias = tuple[bytes | str | int, ...]


class UnconfirmedError(RedisError):
    """A write that fewer replicas confirmed than were asked for."""


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
            f"with maxmemory-policy {self.eviction} the server evicts {what} when its memory is full; "
            "set noeviction, so that a send raises an error instead"
        )


@dataclass(slots=True)
class Command:
    """A command over `keys`, which one node has. `answer` is what that said, or the exception that it came to."""

    keys: Sequence[bytes]
    words: Words
    answer: Any = None
    is_open: bool = True
    redirect: Address | None = None
    is_asking: bool = False
    unreached: set[Address] = field(default_factory=set)

    def close(self, answer: Any) -> None:
        self.answer, self.is_open = answer, False

    def reopen(self, error: AskError, node: Address) -> None:
        """Send it to the node that `error` names; without a host, that is the answering one's."""
        self.redirect = (error.host or node[0], error.port)
        self.is_asking = not isinstance(error, MovedError)
        self.is_open = True


class _Talk:
    """What goes to one node, on one connection, and what comes back."""

    def __init__(self, pool: Any, node: Address, commands: Sequence[Command], last: Words | None) -> None:
        self._pool = pool
        self._node = node
        self._commands = commands
        self._last = last
        self._connection: Any = None
        self._outstanding = 0

    def begin(self) -> None:
        try:
            self._connection = self._pool.get_connection()
        except _FAILURES as error:
            for command in self._commands:
                command.unreached.add(self._node)
                command.answer = error
            return
        words: list[Words] = []
        for command in self._commands:
            words += [("ASKING",), command.words] if command.is_asking else [command.words]
        words += [self._last] if self._last else []
        self._outstanding = len(words)
        with self._failing():
            self._connection.send_packed_command(self._connection.pack_commands(words))

    def finish(self) -> None:
        if not self._outstanding:
            return
        with self._failing():
            for command in self._commands:
                if command.is_asking:
                    self._read()
                command.close(self._read())
            if self._last:
                self._confirm(self._read(), int(self._last[1]))

    def _read(self) -> Any:
        try:
            answer = self._connection.read_response()
        except ResponseError as error:  # the command failed, and the connection is as it was
            answer = error
        self._outstanding -= 1
        return answer

    def _confirm(self, confirmed: Any, needed: int) -> None:
        if isinstance(confirmed, Exception) or confirmed < needed:
            for command in self._commands:
                if not isinstance(command.answer, Exception):
                    command.close(UnconfirmedError(f"{needed} replicas were to confirm the write: {confirmed}"))

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Whatever has no answer when the connection fails is unknown."""
        try:
            yield
        except _FAILURES as error:
            for command in self._commands:
                if command.is_open or self._last:
                    command.close(error)
            self._connection.disconnect()
            self._outstanding = 0

    def end(self) -> None:
        """Give the connection back; closed, if an answer may still come on it that somebody would take for theirs."""
        if self._connection is None:
            return
        if self._outstanding or any(isinstance(command.answer, ReadOnlyError) for command in self._commands):
            # What has become a replica keeps its connections; the name in the URL leads elsewhere by now.
            self._connection.disconnect()
        self._pool.release(self._connection)


class Wire:
    """The connections of this process to a server, or to all nodes of its Cluster. Safe in threads and after a fork.

    `client_options` are redis-py's for a connection, `host` and `port` among them. Whether there is a Cluster is asked
    on first use, and told to `on_connect`. Where `replicas` is not 0, so many have to confirm each write in half of
    `deadline_seconds`.
    """

    def __init__(
        self,
        client_options: Mapping[str, Any],
        *,
        deadline_seconds: float,
        replicas: int = 0,
        on_connect: Callable[[ServerInfo], None],
    ) -> None:
        deadlines = {"socket_timeout": deadline_seconds, "socket_connect_timeout": deadline_seconds}
        self._options: dict[str, Any] = _CLIENT_OPTIONS | deadlines | dict(client_options) | _FORCED_OPTIONS
        self._seed: Address = (self._options.pop("host", "localhost"), self._options.pop("port", 6379))
        self._confirmation: Words | None = ("WAIT", replicas, int(deadline_seconds * 500)) if replicas else None
        self._on_connect = on_connect
        self._lock = threading.Lock()
        self._pools: dict[Address, Any] = {}
        self._info: ServerInfo | None = None
        self._slots: dict[int, Address] = {}
        self._is_stale = True
        self._suspect: Address | None = None
        pool = self._pool(self._seed)
        pool.connection_class(**pool.connection_kwargs)  # which refuses options that it does not know

    def ask(
        self, keys: Sequence[bytes], words: Callable[[Sequence[bytes]], Words], *, is_write: bool = False
    ) -> list[tuple[Sequence[bytes], Any]]:
        """Ask `words(keys)` of a server, and of a Cluster the same of each key; return the answer for each such part.

        An exception is an answer too.
        """
        info = self.info()
        if isinstance(info, Exception):
            return [(keys, info)]
        parts: Iterable[Sequence[bytes]] = [[key] for key in keys] if info.is_cluster else [keys]
        commands = [Command(part, words(part)) for part in parts]
        for _ in range(_MAX_SENDS):
            self._send([command for command in commands if command.is_open], is_write=is_write)
            if not any(command.is_open for command in commands):
                break
        return [(command.keys, command.answer) for command in commands]

    def info(self) -> ServerInfo | Exception:
        """What the server says of itself, asked for until it has answered once; an exception if it does not."""
        if self._info is None:
            command = self._tell(self._seed, "INFO")
            if isinstance(command.answer, Exception):
                return command.answer
            fields = dict(line.partition(":")[::2] for line in command.answer.decode().splitlines())
            with self._lock:
                is_first = self._info is None
                self._info = ServerInfo(fields.get("cluster_enabled") == "1", fields.get("maxmemory_policy", ""))
            if is_first:
                self._on_connect(self._info)
        return self._info

    def close(self) -> None:
        """Close all connections that are not in use."""
        for pool in self._pools.values():
            pool.disconnect()

    def _send(self, commands: Sequence[Command], *, is_write: bool) -> None:
        if self._info is not None and self._info.is_cluster and self._is_stale:
            self._read_slots()
        by_node: dict[Address, list[Command]] = {}
        for command in commands:
            node = self._node(command)
            if node is None or node in command.unreached:
                command.close(command.answer or ConnectionError("no node of the Cluster has the key's slot"))
            else:
                by_node.setdefault(node, []).append(command)
        self._talk(by_node, self._confirmation if is_write else None)
        for node, sent in by_node.items():
            for command in sent:
                if isinstance(command.answer, AskError):
                    command.reopen(command.answer, node)
                if isinstance(command.answer, MovedError) or not _is_answered(command):
                    self._is_stale, self._suspect = True, node

    def _node(self, command: Command) -> Address | None:
        if command.redirect is not None:
            return command.redirect
        if self._info is None or not self._info.is_cluster:
            return self._seed
        return self._slots.get(key_slot(command.keys[0]))

    def _talk(self, by_node: Mapping[Address, Sequence[Command]], last: Words | None = None) -> None:
        talks = [_Talk(self._pool(node), node, commands, last) for node, commands in by_node.items()]
        try:
            for talk in talks:
                talk.begin()
            for talk in talks:
                talk.finish()
        finally:
            for talk in talks:
                talk.end()

    def _tell(self, node: Address, *words: str) -> Command:
        command = Command((), words)
        self._talk({node: [command]})
        return command

    def _read_slots(self) -> None:
        """Ask a node which slots are where, the suspect last. Where none says so, what was known has to do."""
        nodes = dict.fromkeys([*self._slots.values(), self._seed])
        for node in sorted(nodes, key=lambda node: node == self._suspect):
            answer = self._tell(node, "CLUSTER", "SLOTS").answer
            if isinstance(answer, list):
                self._slots = {slot: place for slots, place in _places(answer, node) for slot in slots}
                self._is_stale = False
                return

    def _pool(self, node: Address) -> Any:
        with self._lock:
            if node not in self._pools:
                self._pools[node] = ConnectionPool(host=node[0], port=node[1], **self._options)
            return self._pools[node]


def _is_answered(command: Command) -> bool:
    return not isinstance(command.answer, Exception) or isinstance(command.answer, ResponseError)


def _places(answer: Iterable[Any], node: Address) -> Iterator[tuple[range, Address]]:
    """The slots of each primary, as `CLUSTER SLOTS` lists them; without a host, it is the answering node's."""
    for first, last, (host, port, *_), *_ in answer:
        yield range(first, last + 1), ((host or b"").decode() or node[0], port)
