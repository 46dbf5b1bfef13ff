"""Lines to one Valkey or Redis server: connections that stay open between calls, and commands in their form on them.

A line is taken from the client's pool once and kept here, since to take it from there and give it back costs a third of
a call. What the pool promises is kept: a line that has been closed, or has something to read that nobody asked for, is
not used; a child process makes its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from redis.connection import ConnectionPool
from redis.exceptions import RedisError

# How a call ends when the server, the way to it or the process's end is at fault. Anything else is a mistake here.
FAILURES: Final = (RedisError, OSError)
# A line that answered so shortly ago is as good as one that is looked at: between the look and the command it may be
# closed as well. It is more than a send has between its calls, and less than a server takes to start again.
_FRESH_SECONDS: Final = 0.005


def packed(*words: bytes) -> bytes:
    """A command as it goes to a server, which takes its words as they are."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Lines:
    """The connections of this process to the server at `host` and `port`. Safe in threads and after a fork."""

    def __init__(self, host: str, port: int, options: Mapping[str, Any]) -> None:
        self._options = {"host": host, "port": port, **options}
        self._pool = ConnectionPool(**self._options)
        # The last one given back is the first to be taken, so that a busy line stays fresh. With the time of that.
        self._idle: list[tuple[Any, float]] = []
        self._pool.connection_class(**self._pool.connection_kwargs)  # which refuses options that it does not know

    def take(self) -> Any:
        """A connection for one caller alone, who gives it back; raises one of `FAILURES` if there is none."""
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return self._own_pool().get_connection()
            # Whoever has forked still talks on it.
            if connection.pid == os.getpid() and _is_quiet(connection, since):
                return connection
            self.drop(connection)

    def _own_pool(self) -> Any:
        """The pool of this process: a thread that is not here may have held the lock of the one that came by a fork."""
        if self._pool.pid != os.getpid():
            self._pool = ConnectionPool(**self._options)
        return self._pool

    def give(self, connection: Any) -> None:
        """Keep a connection on which no answer is outstanding."""
        self._idle.append((connection, time.monotonic()))

    def drop(self, connection: Any) -> None:
        """Close a connection; the pool opens it again when it needs one."""
        connection.disconnect()
        self._own_pool().release(connection)

    def close(self) -> None:
        """Close all connections that are not in use."""
        with contextlib.suppress(IndexError):
            while True:
                self.drop(self._idle.pop()[0])


def _is_quiet(connection: Any, since: float) -> bool:
    try:
        return time.monotonic() - since < _FRESH_SECONDS or not connection.can_read()
    except FAILURES:
        return False
