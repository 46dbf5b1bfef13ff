"""A small HTTP/1.1 server for this machine alone: keep-alive, whole bodies, one function that answers.

It listens on 127.0.0.1 and refuses what a web page could send: a request whose Host is not a loopback name (a rebound
domain), or one with an Origin (a browser). Each connection has a thread, so the function has to be safe in threads.
Blocking sockets and answers with one header are there for speed: the SDK makes several calls a request, one at a time.
"""

from __future__ import annotations

import contextlib
import http
import logging
import socket
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from ..processes.ports import LOOPBACK

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 64 * 2**10
MAX_BODY_BYTES = 40 * 2**20

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_READ_BYTES = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose body is complete; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: an HTTP status code and a body."""

    status: int
    body: bytes = b""


def plain(status: int, line: str) -> Response:
    """Answer with one line of text."""
    return Response(status, f"{line}\n".encode())


class LoopbackServer:
    """Answers requests to 127.0.0.1:`port`, each with `answer(request)`.

    Port 0 takes a free one, which `port` then tells. OSError if the port is taken. Use it as a context manager, or call
    `close` when done.
    """

    def __init__(self, answer: Callable[[Request], Response], *, port: int = 0) -> None:
        self._answer = answer
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._listener = socket.create_server((LOOPBACK, port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="loopback-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        with self._lock:
            self._is_closed = True
            for connection in self._connections:
                _shut_down(connection)
        _shut_down(self._listener)
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> LoopbackServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_closed:
                    connection.close()
                    return
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="loopback-http", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            _Conversation(connection, self._answer).run()
        with self._lock:
            self._connections.discard(connection)
            connection.close()


def _shut_down(connection: socket.socket) -> None:
    """Wake the thread that reads from it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _RefusedError(Exception):
    """A request that is read no further: it is answered with a line, and its connection closed."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.response = plain(status, line)


class _ConnectionEnded(Exception):
    """The client left, as it may whenever it likes."""


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    path: str
    headers: Mapping[str, str]
    body_bytes: int
    keep_alive: bool


class _Conversation:
    """The requests of one connection, one after the other."""

    def __init__(self, connection: socket.socket, answer: Callable[[Request], Response]) -> None:
        self._connection = connection
        self._answer = answer
        self._received = bytearray()

    def run(self) -> None:
        try:
            while self._converse():
                pass
        except _RefusedError as refused:
            self._write(refused.response)
        except _ConnectionEnded:
            pass

    def _converse(self) -> bool:
        head = _parse_head(self._read_head())
        request = Request(head.method, head.path, head.headers, self._read(head.body_bytes))
        try:
            response = self._answer(request)
        except Exception:
            logger.exception("A request could not be answered")
            response = plain(http.HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the server's log")
        self._write(response)
        return head.keep_alive

    def _read_head(self) -> bytes:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > MAX_HEAD_BYTES:
                break
            self._receive()
        if not 0 <= end <= MAX_HEAD_BYTES:
            raise _RefusedError(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long")
        head = bytes(self._received[:end])
        del self._received[: end + 4]
        return head

    def _read(self, count: int) -> bytes:
        while len(self._received) < count:
            self._receive()
        data = bytes(self._received[:count])
        del self._received[:count]
        return data

    def _receive(self) -> None:
        data = self._connection.recv(_READ_BYTES)
        if not data:
            raise _ConnectionEnded
        self._received += data

    def _write(self, response: Response) -> None:
        reason = http.HTTPStatus(response.status).phrase
        head = f"HTTP/1.1 {response.status} {reason}\r\nContent-Length: {len(response.body)}\r\n\r\n"
        self._connection.sendall(head.encode("ascii") + response.body)


def _parse_head(head: bytes) -> _Head:
    request_line, *lines = head.decode("latin-1").split("\r\n")
    method, path, protocol = _parse_request_line(request_line)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise _RefusedError(http.HTTPStatus.BAD_REQUEST, "a header line makes no sense")
        headers[name.lower()] = value.strip()
    _check_from_this_machine(headers)
    keep_alive = protocol == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return _Head(method, path, headers, _body_bytes(method, headers), keep_alive)


def _parse_request_line(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise _RefusedError(http.HTTPStatus.BAD_REQUEST, "not an HTTP/1.1 request")
    return parts[0], parts[1], parts[2]


def _check_from_this_machine(headers: Mapping[str, str]) -> None:
    if "origin" in headers:
        raise _RefusedError(http.HTTPStatus.FORBIDDEN, "not for web pages")
    try:
        name = urllib.parse.urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:
        name = None
    if name not in _LOOPBACK_NAMES:
        raise _RefusedError(http.HTTPStatus.FORBIDDEN, "the Host header has to name this machine, like localhost")


def _body_bytes(method: str, headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise _RefusedError(http.HTTPStatus.NOT_IMPLEMENTED, "send a Content-Length; chunks are not read here")
    length = headers.get("content-length")
    if length is None:
        if method in ("GET", "HEAD", "DELETE"):
            return 0
        raise _RefusedError(http.HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
    if not (length.isascii() and length.isdigit()):
        raise _RefusedError(http.HTTPStatus.BAD_REQUEST, "Content-Length has to be a number")
    if int(length) > MAX_BODY_BYTES:
        raise _RefusedError(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body holds at most {MAX_BODY_BYTES} bytes")
    return int(length)
