"""App Engine's bundled queue service over the Cloud Tasks emulator: both fill the same queues, as on App Engine.

Tasks are added with every name that was chosen, deleted, and purged; pull queues are not there. A task without a Host
header goes to the default service.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.appengine.api.taskqueue import taskqueue_service_bytes_pb2 as pb
from google.appengine.runtime import apiproxy_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf.timestamp_pb2 import Timestamp

MAX_TASKS_AN_ADD = 100
MAX_TASK_BYTES = 102_400
MAX_AHEAD_SECONDS = 30 * 86400.0
LOCATION = "projects/localdev/locations/local"
METHODS = {
    "BulkAdd": (pb.TaskQueueBulkAddRequest, pb.TaskQueueBulkAddResponse),
    "Delete": (pb.TaskQueueDeleteRequest, pb.TaskQueueDeleteResponse),
    "PurgeQueue": (pb.TaskQueuePurgeQueueRequest, pb.TaskQueuePurgeQueueResponse),
}

_ERRORS = pb.TaskQueueServiceError
_TIMEOUT_SECONDS = 10.0
_RESULTS: Mapping[int, int] = {
    code.value[0]: result
    for code, result in {
        grpc.StatusCode.ALREADY_EXISTS: _ERRORS.TASK_ALREADY_EXISTS,
        grpc.StatusCode.INVALID_ARGUMENT: _ERRORS.INVALID_REQUEST,
        grpc.StatusCode.NOT_FOUND: _ERRORS.UNKNOWN_QUEUE,
    }.items()
}


class QueueService:
    """The service for one emulator at `address`. `stage` takes the requests that belong to a transaction.

    Safe in threads; nothing is connected before the first call.
    """

    def __init__(self, address: str, *, stage: Callable[[Any], None], clock: Callable[[], float] = time.time) -> None:
        self._address = address
        self._stage = stage
        self._clock = clock
        self._lock = threading.Lock()
        self._connected: tasks_v2.CloudTasksClient | None = None

    def MakeSyncCall(self, service: str, method: str, request: Any, response: Any) -> None:
        """Carry out one call, as the SDK's stubs do."""
        calls = {"BulkAdd": self._bulk_add, "Delete": self._delete, "PurgeQueue": self._purge}
        try:
            calls[method](request, response)
        except GoogleAPICallError as error:
            raise apiproxy_errors.ApplicationError(_code(error), error.message) from error

    def add(self, request: Any) -> str:
        """Add one task, outside any transaction; return its name. Raises the client's errors."""
        task = self._client().create_task(request=_create_request(request, self._clock()), timeout=_TIMEOUT_SECONDS)
        return str(task.name.rpartition("/")[2])

    def close(self) -> None:
        with self._lock:
            if self._connected is not None:
                self._connected.transport.close()  # type: ignore[no-untyped-call]  # of Google's client
            self._connected = None

    def _client(self) -> tasks_v2.CloudTasksClient:
        with self._lock:
            if self._connected is None:
                channel = grpc.insecure_channel(self._address)
                transport = CloudTasksGrpcTransport(channel=channel, credentials=AnonymousCredentials())
                self._connected = tasks_v2.CloudTasksClient(transport=transport)
            return self._connected

    def _bulk_add(self, request: Any, response: Any) -> None:
        requests = request.add_request
        if not 1 <= len(requests) <= MAX_TASKS_AN_ADD:
            raise apiproxy_errors.ApplicationError(_ERRORS.TOO_MANY_TASKS, f"1 to {MAX_TASKS_AN_ADD} tasks an add")
        results = [self._checked(each) for each in requests]
        if any(result != _ERRORS.OK for result in results):
            # One that is wrong keeps the others out.
            for result in results:
                response.taskresult.add(result=_ERRORS.SKIPPED if result == _ERRORS.OK else result)
            return
        if requests[0].HasField("transaction") or requests[0].HasField("datastore_transaction"):
            self._join_transaction(request)
            for _ in requests:
                response.taskresult.add(result=_ERRORS.OK)
            return
        for named, added in zip(requests, self._add_all(requests), strict=True):
            if isinstance(added, str):
                response.taskresult.add(result=_ERRORS.OK, chosen_task_name=None if named.task_name else added.encode())
            else:
                response.taskresult.add(result=added)

    def _join_transaction(self, request: Any) -> None:
        """Leave the tasks to Datastore, whose errors are told from those of queues by their numbers."""
        try:
            self._stage(request)
        except apiproxy_errors.ApplicationError as error:
            code = _ERRORS.DATASTORE_ERROR + error.application_error
            raise apiproxy_errors.ApplicationError(code, error.error_detail) from error

    def _checked(self, request: Any) -> int:
        if request.eta_usec / 1e6 > self._clock() + MAX_AHEAD_SECONDS:
            return int(_ERRORS.INVALID_ETA)
        if request.ByteSize() > MAX_TASK_BYTES:
            return int(_ERRORS.TASK_TOO_LARGE)
        return int(_ERRORS.OK)

    def _add_all(self, requests: Sequence[Any]) -> list[str | int]:
        """Add tasks of one queue; return the name of each, or the code of why it was not added."""
        if len(requests) == 1:
            try:
                return [self.add(requests[0])]
            except GoogleAPICallError as error:
                return [_code(error)]
        creates = [_create_request(each, self._clock()) for each in requests]
        operation = self._client().batch_create_tasks(
            request=tasks_v2.BatchCreateTasksRequest(parent=creates[0].parent, requests=creates),
            timeout=_TIMEOUT_SECONDS,
        )
        failed = dict(operation.metadata.failed_requests)
        created = operation.result().tasks if len(failed) < len(creates) else ()  # type: ignore[no-untyped-call]
        names = iter(created)
        return [
            _result(failed[place].code) if place in failed else next(names).name.rpartition("/")[2]
            for place in range(len(creates))
        ]

    def _delete(self, request: Any, response: Any) -> None:
        queue = _queue(request.queue_name)
        paths = [f"{queue}/tasks/{name.decode()}" for name in request.task_name]
        if not paths:
            return
        gone = self._gone(queue, paths)
        response.result.extend(_ERRORS.UNKNOWN_TASK if place in gone else _ERRORS.OK for place in range(len(paths)))

    def _gone(self, queue: str, paths: Sequence[str]) -> set[int]:
        """Delete tasks; return the places of those that were not there."""
        operation = self._client().batch_delete_tasks(
            request=tasks_v2.BatchDeleteTasksRequest(parent=queue, names=paths), timeout=_TIMEOUT_SECONDS
        )
        return set(operation.metadata.failed_requests)

    def _purge(self, request: Any, response: Any) -> None:
        self._client().purge_queue(name=_queue(request.queue_name), timeout=_TIMEOUT_SECONDS)


def _queue(name: bytes) -> str:
    return f"{LOCATION}/queues/{name.decode()}"


def _code(error: GoogleAPICallError) -> int:
    return _result(error.grpc_status_code.value[0] if error.grpc_status_code else 0)


def _result(status: int) -> int:
    return _RESULTS.get(status, int(_ERRORS.TRANSIENT_ERROR))


def _create_request(request: Any, now: float) -> tasks_v2.CreateTaskRequest:
    parent = _queue(request.queue_name)
    headers = {header.key.decode(): header.value.decode("latin-1") for header in request.header}
    method = pb.TaskQueueAddRequest.RequestMethod.Name(request.method)
    message = tasks_v2.Task(
        app_engine_http_request=tasks_v2.AppEngineHttpRequest(
            http_method=getattr(tasks_v2.HttpMethod, method),
            app_engine_routing=tasks_v2.AppEngineRouting(service=_service(headers)),
            relative_uri=request.url.decode(),
            headers={name: value for name, value in headers.items() if name.lower() != "host"},
            body=request.body,
        )
    )
    if request.task_name:
        message.name = f"{parent}/tasks/{request.task_name.decode()}"
    if request.eta_usec / 1e6 > now:
        stamp = Timestamp()
        stamp.FromMicroseconds(request.eta_usec)
        message.schedule_time = stamp
    return tasks_v2.CreateTaskRequest(parent=parent, task=message)


def _service(headers: Mapping[str, str]) -> str:
    """The service that the Host header names: `worker.localhost:8080`, or `version.worker.localhost:8080`."""
    host = next((value for name, value in headers.items() if name.lower() == "host"), "").partition(":")[0]
    prefix, _, _ = host.rpartition(".localhost")
    return prefix.rpartition(".")[2]
