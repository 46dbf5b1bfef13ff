"""What App Engine's front end does before an app sees a request: dispatch.yaml decides which service it is for.

A request of another service is passed on to where that runs here, and its answer back. The names by which this machine
may be called, beside its own, are told to the worker with each request.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

VARIABLE = "DEVSERVER_FRONT"
# Where the worker finds the names, and whether callers from elsewhere may come: see the `origin` of its own.
LOCAL_NAMES, LOCAL_CALLERS = "gaesignals.local_names", "gaesignals.local_callers"
DEADLINE_SECONDS = 600.0
_OF_A_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
)

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: requests for these go to `service`, which has the address `netloc`; empty if it does not run here."""

    host: str
    host_exact: bool
    path: str
    path_exact: bool
    service: str
    netloc: str

    def matches(self, host: str, path: str) -> bool:
        """Whether it is for this request."""
        if not (host == self.host if self.host_exact else host.endswith(self.host)):
            return False
        return path == self.path if self.path_exact else path.startswith(self.path)


@dataclass(frozen=True, slots=True)
class Front:
    """What stands in front of the app of `service`."""

    service: str
    rules: tuple[Rule, ...] = ()
    names: tuple[str, ...] = ()
    takes_all_callers: bool = False

    def to_variable(self) -> str:
        """Write it for the process of the service."""
        return json.dumps(asdict(self))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Front:
        """Read what `to_variable` wrote."""
        fields = json.loads(environ.get(VARIABLE, '{"service": ""}'))
        rules = tuple(Rule(**rule) for rule in fields.get("rules", ()))
        return cls(**fields | {"rules": rules, "names": tuple(fields.get("names", ()))})

    def wrap(self, app: App) -> App:
        """Put it in front of an app."""

        def front(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ[LOCAL_NAMES], environ[LOCAL_CALLERS] = self.names, self.takes_all_callers
            rule = self._rule(environ)
            if rule is None or rule.service == self.service:
                return app(environ, start_response)
            return _pass_on(rule, environ, start_response)

        return front

    def _rule(self, environ: Mapping[str, Any]) -> Rule | None:
        host = urllib.parse.urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname or "" if self.rules else ""
        return next((rule for rule in self.rules if rule.matches(host, environ["PATH_INFO"])), None)


def _pass_on(rule: Rule, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    target = f"dispatch.yaml sends {environ['PATH_INFO']!r} to the service {rule.service}"
    if not rule.netloc:
        return _refuse(start_response, f"{target}, which does not run here\n")
    connection = http.client.HTTPConnection(rule.netloc, timeout=DEADLINE_SECONDS)
    try:
        body = environ["wsgi.input"].read()
        connection.request(environ["REQUEST_METHOD"], _uri(environ), body or None, _headers(environ))
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return _refuse(start_response, f"{target}, which does not answer: {error}\n")
    kept = [(name, value) for name, value in response.getheaders() if name.lower() not in _OF_A_CONNECTION]
    length = response.getheader("Content-Length")
    start_response(
        f"{response.status} {response.reason}", [*kept, *([("Content-Length", length)] if length is not None else [])]
    )
    return _chunks(connection, response)


def _refuse(start_response: Callable[..., Any], line: str) -> Iterable[bytes]:
    start_response("502 Bad Gateway", [("Content-Type", "text/plain; charset=utf-8")])
    return [line.encode()]


def _chunks(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Iterator[bytes]:
    with contextlib.closing(connection):
        while chunk := response.read1(2**16):
            yield chunk


def _uri(environ: Mapping[str, Any]) -> str:
    path = urllib.parse.quote(environ["PATH_INFO"].encode("latin-1"))
    query = environ.get("QUERY_STRING")
    return str(environ.get("RAW_URI") or (f"{path}?{query}" if query else path))


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers = {name: value for name, value in headers.items() if name.lower() not in _OF_A_CONNECTION}
    return headers | ({"Content-Type": environ["CONTENT_TYPE"]} if environ.get("CONTENT_TYPE") else {})
