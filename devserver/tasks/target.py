"""The HTTP request of a task, as App Engine's front end and Cloud Tasks would make it.

App Engine tasks go to the address of a service that runs here, HTTP tasks to their URL; tokens for the latter are not
made. Redirects are not followed: a task that is answered with one has failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud.tasks_v2 import types

from gaesignals.appyaml.service import DEFAULT_SERVICE

from ..processes.outgoing import APP_ENGINE_AGENT, OutgoingRequest, Resolve
from .queue import QueuedTask, TaskQueue

DEFAULT_DEADLINE_SECONDS = 600.0

_HTTP_AGENT = "Google-Cloud-Tasks"


def request_of(task: QueuedTask, queue: TaskQueue, resolve: Resolve) -> OutgoingRequest:
    """Write the request for the attempt that `task` was just taken for."""
    message = task.message
    deadline = message.dispatch_deadline.ToTimedelta().total_seconds() or DEFAULT_DEADLINE_SECONDS
    if message.HasField("http_request"):
        target = message.http_request
        headers = _headers(target.headers, bool(target.body), _HTTP_AGENT) | _task_headers("X-CloudTasks-", task, queue)
        return OutgoingRequest(_method(target.http_method), target.url, target.url, headers, target.body, deadline)
    app_engine = message.app_engine_http_request
    service = queue.settings.target or app_engine.app_engine_routing.service or DEFAULT_SERVICE
    base_url = resolve(service)
    path = app_engine.relative_uri or "/"
    headers = _headers(app_engine.headers, bool(app_engine.body), APP_ENGINE_AGENT)
    return OutgoingRequest(
        _method(app_engine.http_method),
        None if base_url is None else base_url.rstrip("/") + path,
        f"{service}{path}",
        headers | _task_headers("X-AppEngine-", task, queue) | {"X-AppEngine-FailFast": "false"},
        app_engine.body,
        deadline,
    )


def _method(number: int) -> str:
    return str(types.HttpMethod(number or types.HttpMethod.POST).name)


def _headers(given: Mapping[str, str], has_body: bool, agent: str) -> dict[str, str]:
    headers = {name: value for name, value in given.items() if not _is_set_by_the_service(name)}
    known = {name.lower(): name for name in headers}
    headers["User-Agent"] = f"{headers.pop(known['user-agent'])} {agent}" if "user-agent" in known else agent
    if has_body and "content-type" not in known:
        headers["Content-Type"] = "application/octet-stream"
    return headers


def _is_set_by_the_service(name: str) -> bool:
    lower = name.lower()
    return lower in ("host", "content-length") or lower.startswith(("x-google-", "x-appengine-", "x-cloudtasks-"))


def _task_headers(prefix: str, task: QueuedTask, queue: TaskQueue) -> dict[str, str]:
    headers: dict[str, Any] = {
        "QueueName": queue.settings.name,
        "TaskName": task.task_id,
        "TaskRetryCount": task.dispatches - 1,
        "TaskExecutionCount": task.responses,
        "TaskETA": f"{task.last_due_at:.6f}",
    }
    if task.dispatches > 1:
        headers["TaskRetryReason"] = "App Error" if task.last_status is not None else "Unavailable"
        if task.last_status is not None:
            headers["TaskPreviousResponse"] = task.last_status
    return {prefix + name: str(value) for name, value in headers.items()}
