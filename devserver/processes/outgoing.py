"""Requests that the local cloud makes to the services it runs: for tasks and for cron."""

from __future__ import annotations

import contextlib
import http.client
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

APP_ENGINE_AGENT = "AppEngine-Google; (+http://code.google.com/appengine)"

# The base URL of a service by its name; None if it does not run here.
Resolve = Callable[[str], "str | None"]


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """What is sent; `url` is None if the service that it is for does not run here, `target` is what people call it."""

    method: str
    url: str | None
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    deadline_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: an HTTP status, or None and the reason why there is none."""

    status: int | None
    reason: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it did what it was for: App Engine takes any 2xx for that."""
        return self.status is not None and 200 <= self.status <= 299

    def __str__(self) -> str:
        return self.reason if self.status is None else str(self.status)


def send(request: OutgoingRequest) -> Answer:
    """Make the request and wait for the answer, up to its deadline (between any two bytes); follow no redirect."""
    if request.url is None:
        return Answer(None, "no such service runs here")
    url = urllib.parse.urlsplit(request.url)
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    try:
        connection = connect(url.netloc, timeout=request.deadline_seconds)
        with contextlib.closing(connection):
            path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
            connection.request(request.method, path, request.body or None, dict(request.headers))
            response = connection.getresponse()
            response.read()
            return Answer(response.status)
    except TimeoutError:
        return Answer(None, f"no answer within {request.deadline_seconds:g} s")
    except (http.client.HTTPException, OSError, ValueError) as error:
        return Answer(None, f"{type(error).__name__}: {error}")
