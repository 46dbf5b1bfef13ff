"""What Cloud Tasks refuses: names, sizes and times that it would not take, each with the status it answers."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

import grpc
from google.cloud.tasks_v2 import types

MAX_TASK_BYTES = 100 * 2**10
MAX_AHEAD_SECONDS = 30 * 86400.0
MAX_URL_CHARACTERS = 2083

_LOCATION = r"projects/[A-Za-z0-9.:-]+/locations/[A-Za-z0-9-]+"
_LOCATION_NAME = re.compile(_LOCATION)
_QUEUE_NAME = re.compile(rf"{_LOCATION}/queues/(?P<queue>[A-Za-z0-9-]{{1,100}})")
_TASK_NAME = re.compile(rf"(?P<parent>{_LOCATION}/queues/[A-Za-z0-9-]{{1,100}})/tasks/[A-Za-z0-9_-]{{1,500}}")

# Seconds for [15 s, 30 min] of HTTP tasks and [15 s, 24 h 15 s] of App Engine tasks.
_DEADLINES: Mapping[str, tuple[float, float]] = {
    "http_request": (15.0, 1800.0),
    "app_engine_http_request": (15.0, 86415.0),
}
# What an HTTP request may have for a header, as RFC 9110 has it.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_METHODS_WITH_BODY = frozenset({0, types.HttpMethod.POST, types.HttpMethod.PUT, types.HttpMethod.PATCH})


class ServiceError(Exception):
    """A call that the service answers with a status other than OK."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> ServiceError:
    """Make the error for an argument that makes no sense."""
    return ServiceError(grpc.StatusCode.INVALID_ARGUMENT, message)


def check_location(name: str) -> None:
    """Refuse what is not the name of a location."""
    if not _LOCATION_NAME.fullmatch(name):
        raise invalid('Location name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>"')


def queue_id(name: str) -> str:
    """Return the last part of a queue's name."""
    match = _QUEUE_NAME.fullmatch(name)
    if match is None:
        raise invalid('Queue name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>"')
    return match["queue"]


def parent_of(task_name: str) -> str:
    """Return the name of the queue that a task's name is in."""
    match = _TASK_NAME.fullmatch(task_name)
    if match is None:
        raise invalid(
            'Task name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/'
            'tasks/<TASK_ID>"'
        )
    return match["parent"]


def check_task(task: Any, *, parent: str, now: float) -> None:
    """Refuse a task that the queue `parent` would not take."""
    if task.name and parent_of(task.name) != parent:
        raise invalid(
            f"The queue name from the request ({parent!r}) must be the same as that of the task ({task.name!r})."
        )
    if task.ByteSize() > MAX_TASK_BYTES:
        raise invalid(f"Task size too large: {task.ByteSize()} bytes; {MAX_TASK_BYTES} is the most.")
    if task.HasField("schedule_time") and _seconds(task.schedule_time) > now + MAX_AHEAD_SECONDS:
        raise invalid("The Task.schedule_time is too far in the future; it must be within 30 days.")
    kind = task.WhichOneof("message_type")
    if kind is None:
        raise invalid("Task must have one of app_engine_http_request and http_request.")
    _check_target(kind, task)
    _check_deadline(kind, task)


def due_at(task: Any, *, now: float) -> float:
    """When the task is to be dispatched first: not before now."""
    return max(now, _seconds(task.schedule_time)) if task.HasField("schedule_time") else now


def _check_target(kind: str, task: Any) -> None:
    target = getattr(task, kind)
    if target.body and target.http_method not in _METHODS_WITH_BODY:
        raise invalid("An HTTP body is allowed only with the methods POST, PUT and PATCH.")
    if kind == "http_request":
        if not _is_http_url(target.url):
            raise invalid("HttpRequest.url must start with 'http://' or 'https://'.")
        address = target.url
    else:
        address = target.relative_uri
        if address and not address.startswith("/"):
            raise invalid("AppEngineHttpRequest.relative_uri must start with '/'.")
    if len(address) > MAX_URL_CHARACTERS or not re.fullmatch(r"[\x21-\x7e]*", address):
        raise invalid(f"The URL must have at most {MAX_URL_CHARACTERS} characters, printable ASCII and no space.")
    for name, value in target.headers.items():
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise invalid(
                f"{name!r:.100} is not the name of an HTTP header, or its value has a character it cannot have."
            )


def _is_http_url(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _check_deadline(kind: str, task: Any) -> None:
    seconds = task.dispatch_deadline.ToTimedelta().total_seconds()
    least, most = _DEADLINES[kind]
    if seconds and not least <= seconds <= most:
        raise invalid(f"Task.dispatch_deadline must be between [{least:g}s, {most:g}s].")


def _seconds(timestamp: Any) -> float:
    return float(timestamp.seconds) + float(timestamp.nanos) / 1e9
