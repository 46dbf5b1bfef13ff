"""Tasks as the tests of the emulator write them, and the queues they are for."""

from __future__ import annotations

import datetime
from typing import Any

from google.cloud import tasks_v2

from devserver.tasks.emulator import TasksEmulator

from ..conftest import Clock

LOCATION = "projects/demo/locations/local"
QUEUE = f"{LOCATION}/queues/signals"


def task(
    path: str = "/tasks/deliver", *, name: str = "", body: bytes = b"", service: str = "worker", **more: Any
) -> Any:
    target = {"relative_uri": path, "body": body, "app_engine_routing": {"service": service}}
    headers = more.pop("headers", {})
    return {"name": name and f"{QUEUE}/tasks/{name}", "app_engine_http_request": target | {"headers": headers}, **more}


def in_seconds(clock: Clock, seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock() + seconds, datetime.timezone.utc)


def later(clock: Clock) -> dict[str, Any]:
    """Keep a task in its queue."""
    return {"schedule_time": in_seconds(clock, 3600)}


def batch(client: tasks_v2.CloudTasksClient, *tasks: Any, **more: Any) -> Any:
    requests = [{"parent": QUEUE, "task": each} for each in tasks]
    return client.batch_create_tasks({"parent": QUEUE, "requests": requests, **more}, timeout=20)


def pass_time(emulator: TasksEmulator, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    emulator.wake()
