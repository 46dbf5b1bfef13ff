"""An HTTP/1.1 server for this machine alone: keep-alive, whole bodies, one function that answers.

It listens on 127.0.0.1 and refuses what a web page could send: a request whose Host is not a loopback name (a rebound
domain), or one with an Origin (a browser). Each connection has a thread, so the function has to be safe in threads.
"""

from __future__ import annotations

import contextlib
import http
import http.server
import logging
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..processes.ports import LOOPBACK

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 40 * 2**20

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
# How often the server looks whether it was closed.
_POLL_SECONDS = 0.05


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
        self._server = _Server(answer, port)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="loopback-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.drop_connections()

    def __enter__(self) -> LoopbackServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], Response], port: int) -> None:
        self.answer = answer
        self._connections: set[socket.socket] = set()
        super().__init__((LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        # Not the one between, which asks the network for this machine's name.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing is to be said of a client that left."""


class _RefusedError(Exception):
    """A request that is read no further: it is answered with a line, and its connection closed."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.response = plain(status, line)


class _Handler(http.server.BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    server: _Server
    protocol_version = "HTTP/1.1"
    # What is no request line at all is answered with a status too.
    default_request_version = "HTTP/1.1"
    # An answer is one packet, and sent at once: the SDK makes several calls a request, one at a time.
    wbufsize = -1
    disable_nagle_algorithm = True

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The standard library looks for do_GET, do_POST and so on.
        if name.startswith("do_"):
            return self._converse
        raise AttributeError(name)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: who answers does."""

    def _converse(self) -> None:
        headers = {name.lower(): value.strip() for name, value in self.headers.items()}
        try:
            _check_from_this_machine(headers)
            body = self.rfile.read(_body_bytes(self.command, headers))
        except _RefusedError as refused:
            self.close_connection = True
            self._write(refused.response)
            return
        try:
            response = self.server.answer(Request(self.command, self.path, headers, body))
        except Exception:
            logger.exception("A request could not be answered")
            response = plain(http.HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the server's log")
        self._write(response)

    def _write(self, response: Response) -> None:
        reason = http.HTTPStatus(response.status).phrase
        head = f"HTTP/1.1 {response.status} {reason}\r\nContent-Length: {len(response.body)}\r\n\r\n"
        self.wfile.write(head.encode("ascii") + response.body)


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
