"""A worker's administration over HTTP.

Every answer is the worker's JSON, or an error, and neither its time nor its size is the server's to choose. A redirect
is not followed: it leads to a login page, and would take the token along. What is on this machine is not asked for
through a proxy.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from .address import Address
from .errors import CommandError, UnreachableError
from .waiting import within

# Far more than five thousand names come to.
MAX_ANSWER_BYTES = 64 * 2**20
_REDIRECTS = range(300, 400)
# Where App Engine answers in the place of an instance that is starting, crashes, or is not to be had.
_NO_INSTANCE = (429, 500, 502, 503, 504)


class RefusedError(CommandError):
    """The worker says that something failed. `fields` is its JSON."""

    def __init__(self, message: str, fields: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.fields = fields


class Client:
    """Asks the worker at `address`, with an identity token if there is one; waits `timeout_seconds` for an answer.

    That is for all of it. `waiting` is told every second, from the third on, how long an answer has taken so far.
    """

    waiting: Callable[[float], None]

    def __init__(self, address: Address, *, token: str | None, timeout_seconds: float) -> None:
        self.url = address.url
        self._is_loopback = address.is_loopback
        self._token = token
        self._timeout_seconds = timeout_seconds
        self.waiting = lambda seconds: None
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if address.is_loopback:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, *, having: str = "", **query: str) -> dict[str, Any]:
        """Ask for what is at `path`; a worker's answer is known by `having` that field.

        Raises `RefusedError` if the worker answers with an error, and `UnreachableError` if no worker does or it does
        not let the caller in.
        """
        return _checked(self._ask(_with_query(path, query), None), having)

    def find(self, path: str, *, having: str = "", **query: str) -> dict[str, Any]:
        """As `get`, for something that may be gone: then it raises `RefusedError` too."""
        return _checked(self._ask(_with_query(path, query), None, may_be_gone=True), having)

    def post(self, path: str, fields: Mapping[str, Any], *, having: str = "") -> dict[str, Any]:
        """Have done what is at `path`, with `fields` as JSON; otherwise as `get`."""
        return _checked(self._ask(path, json.dumps(fields).encode()), having)

    def _ask(self, path: str, body: bytes | None, *, may_be_gone: bool = False) -> dict[str, Any]:
        request = urllib.request.Request(self.url + path, data=body, headers={"Accept": "application/json"})
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self._token is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            status, answer = within(self._timeout_seconds, lambda: self._open(request), waiting=self.waiting)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"cannot reach {self.url}: {self._reason(error)}") from error
        return self._read(path, status, answer, may_be_gone=may_be_gone)

    def _open(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as response:
                return response.status, _body(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _body(error)

    def _read(self, path: str, status: int, answer: bytes, *, may_be_gone: bool) -> dict[str, Any]:
        if status in (401, 403) or status in _REDIRECTS:
            raise UnreachableError(f"not allowed: {self.url} answers {status}; {self._advice()}")
        if len(answer) > MAX_ANSWER_BYTES:
            raise UnreachableError(
                f"{self.url}{path} answers with over {MAX_ANSWER_BYTES >> 20} MB, which no worker does"
            )
        try:
            fields = json.loads(answer)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict) or (status == 404 and not may_be_gone):
            raise UnreachableError(f"{self.url}{path} answers {status}{_supposed(status)}")
        if status != 200 and "error" in fields:
            raise RefusedError(f"the worker says: {fields['error']} ({status})", fields)
        return fields

    def _advice(self) -> str:
        if self._token is not None:
            return "the worker's log says why it does not take this token"
        if self._is_loopback:
            return "the worker's log says why"
        return "a deployed worker asks for an identity token: --audience, --token or GAESIGNALS_TOKEN"

    def _reason(self, error: Exception) -> str:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return f"no answer in {self._timeout_seconds:g} s; what was asked for may still be done"
        if isinstance(cause, ConnectionRefusedError) and self._is_loopback:
            return "nothing listens there; `gaesignals local` starts the local cloud, --url names another worker"
        return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__


def _body(response: Any) -> bytes:
    body: bytes = response.read(MAX_ANSWER_BYTES + 1)
    # What a bounded read leaves unsaid: the connection ended before the answer did.
    if len(body) <= MAX_ANSWER_BYTES and len(body) < int(response.headers.get("Content-Length") or 0):
        raise http.client.IncompleteRead(body)
    return body


def _checked(fields: dict[str, Any], having: str) -> dict[str, Any]:
    if having and having not in fields:
        raise UnreachableError(f"the answer has no {having!r}: is this a worker, of this version? --url names it")
    return fields


def _with_query(path: str, query: Mapping[str, str]) -> str:
    return path + (f"?{urlencode(query)}" if query else "")


def _supposed(status: int) -> str:
    if status in _NO_INSTANCE:
        return ", and not in a worker's words: its log says whether an instance starts, crashes or is missing"
    return ": is this a worker, of this version? --url names it"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None
