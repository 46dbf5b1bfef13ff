"""Writes the service's own messages: tasks and queues as they stand, and operations that are done."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from google.cloud.tasks_v2 import types
from google.longrunning import operations_pb2  # type: ignore[import-untyped]  # it ships no types
from google.protobuf import empty_pb2
from google.rpc import code_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types

from .check import ServiceError
from .queue import QueuedTask, TaskQueue

_FULL = types.Task.View.FULL
_CODES_OF_HTTP: Mapping[int, int] = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    409: code_pb2.ABORTED,
    429: code_pb2.RESOURCE_EXHAUSTED,
    500: code_pb2.INTERNAL,
    501: code_pb2.UNIMPLEMENTED,
    503: code_pb2.UNAVAILABLE,
    504: code_pb2.DEADLINE_EXCEEDED,
}


def task_message(task: QueuedTask, *, view: int) -> Any:
    """Write a task as it stands; its body only in the FULL view."""
    message = types.Task.pb()()
    message.CopyFrom(task.message)
    message.name = task.name
    message.view = _FULL if view == _FULL else types.Task.View.BASIC
    if view != _FULL:
        getattr(message, message.WhichOneof("message_type")).ClearField("body")
    _stamp(message.schedule_time, task.due_at)
    message.create_time.seconds = int(task.created_at)
    message.dispatch_count, message.response_count = task.dispatches, task.responses
    if task.first_dispatch_at is not None:
        _stamp(message.first_attempt.dispatch_time, task.first_dispatch_at)
        _write_attempt(message.last_attempt, task)
    return message


def queue_message(queue: TaskQueue, *, name: str) -> Any:
    """Write a queue's settings and state."""
    settings, policy = queue.settings, queue.settings.retry_policy
    message = types.Queue.pb()(name=name)
    message.state = types.Queue.State.PAUSED if queue.is_paused else types.Queue.State.RUNNING
    message.rate_limits.max_dispatches_per_second = settings.rate_per_second
    message.rate_limits.max_burst_size = settings.bucket_size
    message.rate_limits.max_concurrent_dispatches = settings.max_concurrent_requests
    message.retry_config.max_attempts = -1 if policy.max_retries is None else policy.max_retries + 1
    message.retry_config.max_retry_duration.FromMilliseconds(round((policy.max_age_seconds or 0) * 1000))
    message.retry_config.min_backoff.FromMilliseconds(round(policy.min_backoff_seconds * 1000))
    message.retry_config.max_backoff.FromMilliseconds(round(policy.max_backoff_seconds * 1000))
    message.retry_config.max_doublings = policy.max_doublings
    if settings.target is not None:
        message.app_engine_routing_override.service = settings.target
    if queue.purged_at is not None:
        _stamp(message.purge_time, queue.purged_at)
    return message


def create_operation(parent: str, created: Sequence[Any], failed: Mapping[int, ServiceError], *, now: float) -> Any:
    """Write the operation of a batch create that is done."""
    response = types.BatchCreateTasksResponse.pb()(tasks=created)
    return _operation(parent, types.BatchCreateTasksMetadata, response, failed, has_some=bool(created), now=now)


def delete_operation(parent: str, deleted: int, failed: Mapping[int, ServiceError], *, now: float) -> Any:
    """Write the operation of a batch delete that is done."""
    return _operation(
        parent, types.BatchDeleteTasksMetadata, empty_pb2.Empty(), failed, has_some=bool(deleted), now=now
    )


def _operation(
    parent: str, metadata_type: Any, response: Any, failed: Mapping[int, ServiceError], *, has_some: bool, now: float
) -> Any:
    state = metadata_type.State.PARTIALLY_SUCCEEDED if failed else metadata_type.State.SUCCEEDED
    metadata = metadata_type.pb()(state=state)
    _stamp(metadata.start_time, now)
    _stamp(metadata.end_time, now)
    for index, error in failed.items():
        metadata.failed_requests[index].CopyFrom(_status(error))
    location = parent.partition("/queues/")[0]
    operation = operations_pb2.Operation(name=f"{location}/operations/{uuid.uuid4().hex}", done=True)
    operation.metadata.Pack(metadata)
    if failed and not has_some:
        operation.error.code = code_pb2.ABORTED
        operation.error.message = (
            f"None of the requests succeeded, refer to {metadata_type.__name__}.failed_requests "
            "for individual error details"
        )
    else:
        operation.response.Pack(response)
    return operation


def _write_attempt(attempt: Any, task: QueuedTask) -> None:
    _stamp(attempt.schedule_time, task.last_due_at)
    _stamp(attempt.dispatch_time, task.last_dispatch_at)
    if task.is_running or task.last_response_at is None:
        return
    _stamp(attempt.response_time, task.last_response_at)
    if task.last_status is None:
        attempt.response_status.code = code_pb2.UNAVAILABLE
    elif not 200 <= task.last_status <= 299:
        attempt.response_status.code = _CODES_OF_HTTP.get(task.last_status, code_pb2.UNKNOWN)
        attempt.response_status.message = f"HTTP status code {task.last_status}"


def _status(error: ServiceError) -> status_pb2.Status:
    number, _ = error.code.value
    return status_pb2.Status(code=number, message=error.message)


def _stamp(timestamp: Any, seconds: float) -> None:
    timestamp.FromMicroseconds(int(seconds * 1e6))
