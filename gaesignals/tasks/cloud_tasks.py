"""Tasks through Cloud Tasks' own client: the worker's way, and that of senders outside App Engine."""

from __future__ import annotations

import enum
import logging
import os
import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import TimeoutError as OperationTimeout
from typing import Any, Final

import grpc
from google.api_core.exceptions import (
    Aborted,
    Cancelled,
    GoogleAPICallError,
    InternalServerError,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
    PermissionDenied,
    RetryError,
    ServerError,
    ServiceUnavailable,
)
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf.timestamp_pb2 import Timestamp

from .queue import NoTransactionError, Task, TaskError, check_names, check_tasks

logger = logging.getLogger("gaesignals")

_TIMEOUT_SECONDS: Final = 20.0
_STATE_TIMEOUT_SECONDS: Final = 2.0
_ENQUEUER: Final = "grant the service account cloudtasks.tasks.create (roles/cloudtasks.enqueuer)"
_DELETER: Final = "grant the service account cloudtasks.tasks.delete (roles/cloudtasks.taskDeleter)"
_VIEWER: Final = "grant the worker's service account cloudtasks.queues.get (roles/cloudtasks.viewer) to see it"
_DEPLOY: Final = "deploy queue.yaml, and check SIGNALS_QUEUE, SIGNALS_LOCATION and GOOGLE_CLOUD_PROJECT"

_FAILURES: Final = (GoogleAPICallError, RetryError, GoogleAuthError, OperationTimeout)
# After one of these the call may have been carried out all the same.
_UNSURE: Final = (Aborted, Cancelled, InternalServerError, ServerError, RetryError, OperationTimeout)


class QueueState(enum.Enum):
    """What a queue does with its tasks. `UNKNOWN`: it did not say, as where the permission to ask is missing."""

    RUNNING = "running"
    PAUSED = "paused"
    DISABLED = "disabled"
    UNKNOWN = "unknown"


class CloudTasks:
    """The queues of a project and region; tasks go to `service`. One object serves all threads, and forked processes.

    `emulator_host` is the address of an emulator, which is used without credentials. Batches fall back to single calls
    where the service refuses them, which is logged once with the permission that is missing. Every failure is logged.
    """

    def __init__(self, *, project: str, location: str, service: str, emulator_host: str = "") -> None:
        self._location = f"projects/{project}/locations/{location}"
        self._service = service
        self._emulator_host = emulator_host
        self._lock = threading.Lock()
        self._client_of: tuple[int, tasks_v2.CloudTasksClient] | None = None
        self._told: set[str] = set()

    def add(self, tasks: Sequence[Task], *, transactional: bool = False) -> list[str | None]:
        check_tasks(tasks)
        if transactional:
            raise NoTransactionError(
                "Cloud Tasks' client knows no transactions; they need App Engine's own queue service: "
                "SIGNALS_TASKS=app_engine, in a service with `app_engine_apis: true`"
            )
        return self._add_to(tasks[0].queue, tasks) if tasks else []

    def delete(self, queue: str, names: Collection[str]) -> bool:
        wanted = check_names(names)
        if not wanted:
            return True
        parent = self._parent(queue)
        paths = [f"{parent}/tasks/{name}" for name in wanted]
        try:
            client = self._client()
            if len(paths) == 1:
                return self._delete_singly(client, paths)
            try:
                return self._delete_batch(client, parent, paths)
            except (PermissionDenied, MethodNotImplemented) as error:
                self._tell_once(
                    "tasks are deleted one by one, since Cloud Tasks refuses to delete them in batches",
                    parent,
                    _DELETER,
                    error,
                )
                return self._delete_singly(client, paths)
        except _FAILURES as error:
            self._log_refusal("tasks not deleted", error, len(paths), parent, _DELETER)
            return False

    def state(self, queue: str) -> QueueState:
        """Ask whether the queue runs, within about two seconds. Never raises because the service fails."""
        parent = self._parent(queue)
        try:
            found = self._client().get_queue(name=parent, timeout=_STATE_TIMEOUT_SECONDS, retry=None)
        except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
            remedy = _VIEWER if isinstance(error, PermissionDenied) else ""
            self._tell_once("the state of the queue is not known", parent, remedy, error)
            return QueueState.UNKNOWN
        known = {each.name: each for each in QueueState}
        # A state of a later version of the service is a bare number.
        return known.get(getattr(found.state, "name", ""), QueueState.UNKNOWN)

    def count(self, queue: str) -> int | None:
        """Ask how many tasks `queue` has, within about two seconds; None if it does not say. Never raises for that."""
        from .census import count_tasks

        parent = self._parent(queue)
        try:
            channel = self._client().transport.grpc_channel  # type: ignore[attr-defined]  # all of ours are gRPC
            return count_tasks(channel, parent, timeout_seconds=_STATE_TIMEOUT_SECONDS)
        except (grpc.RpcError, GoogleAuthError) as error:
            self._tell_once("the number of tasks in a queue is not known", parent, _VIEWER, error)
            return None

    def close(self) -> None:
        """Close the connection of this process; the next call opens another."""
        with self._lock:
            if self._client_of is not None:
                self._client_of[1].transport.close()  # type: ignore[no-untyped-call]  # of Google's client
            self._client_of = None

    def _parent(self, queue: str) -> str:
        return f"{self._location}/queues/{queue}"

    def _client(self) -> tasks_v2.CloudTasksClient:
        """The client of this process: a gRPC channel does not survive a fork."""
        with self._lock:
            if self._client_of is None or self._client_of[0] != os.getpid():
                self._client_of = (os.getpid(), self._connect())
            return self._client_of[1]

    def _connect(self) -> tasks_v2.CloudTasksClient:
        if not self._emulator_host:
            return tasks_v2.CloudTasksClient()
        channel = grpc.insecure_channel(self._emulator_host)
        transport = CloudTasksGrpcTransport(channel=channel, credentials=AnonymousCredentials())
        return tasks_v2.CloudTasksClient(transport=transport)

    def _add_to(self, queue: str, tasks: Sequence[Task]) -> list[str | None]:
        parent = self._parent(queue)
        requests = [self._request(parent, task) for task in tasks]
        try:
            client = self._client()
            if len(requests) == 1:
                return self._create_singly(client, requests)
            try:
                return self._create_batch(client, parent, requests)
            except (PermissionDenied, MethodNotImplemented) as error:
                self._tell_once(
                    "tasks are created one by one, since Cloud Tasks refuses to create them in batches",
                    parent,
                    _ENQUEUER,
                    error,
                )
                return self._create_singly(client, requests)
        except _FAILURES as error:
            self._log_refusal("tasks refused", error, len(requests), parent, _ENQUEUER)
            unsure = range(len(requests)) if isinstance(error, _UNSURE) else ()
            raise TaskError(_detail(error), unsure=unsure, is_missing=isinstance(error, NotFound)) from error

    def _create_batch(
        self, client: tasks_v2.CloudTasksClient, parent: str, requests: Sequence[tasks_v2.CreateTaskRequest]
    ) -> list[str | None]:
        request = tasks_v2.BatchCreateTasksRequest(parent=parent, requests=requests, request_id=str(uuid.uuid4()))
        operation = self._run_batch(client.batch_create_tasks, request)
        failed = dict(operation.metadata.failed_requests)
        places = [place for place in range(len(requests)) if place not in failed]
        # The answer leaves out what failed. Should the numbers not match, nobody can tell whose name is whose.
        names = [_id_of(task.name) for task in operation.result(timeout=_TIMEOUT_SECONDS).tasks] if places else []
        added = dict(zip(places, names if len(names) == len(places) else [None] * len(places), strict=True))
        if failed:
            raise self._refused(failed, added, parent)
        return list(added.values())

    def _delete_batch(self, client: tasks_v2.CloudTasksClient, parent: str, paths: Sequence[str]) -> bool:
        request = tasks_v2.BatchDeleteTasksRequest(parent=parent, names=paths, request_id=str(uuid.uuid4()))
        operation = self._run_batch(client.batch_delete_tasks, request)
        gone = grpc.StatusCode.NOT_FOUND.value[0]
        failed = [status for status in operation.metadata.failed_requests.values() if status.code != gone]
        if failed:
            self._log("tasks not deleted", len(failed), parent, "", failed[0].message, code=failed[0].code)
        return not failed

    def _run_batch(self, call: Callable[..., Any], request: Any) -> Any:
        # The request id makes it safe for the client to repeat a call whose answer it never got.
        operation = call(request=request, timeout=_TIMEOUT_SECONDS, retry=_retry())
        try:
            operation.result(timeout=_TIMEOUT_SECONDS)
        except Aborted:
            # So an operation ends of which every part failed; the metadata says why.
            if not operation.metadata or not operation.metadata.failed_requests:
                raise
        return operation

    def _refused(self, failed: Mapping[int, Any], added: Mapping[int, str | None], parent: str) -> TaskError:
        for code, message in {(status.code, status.message) for status in failed.values()}:
            count = sum(status.code == code and status.message == message for status in failed.values())
            self._log("tasks refused", count, parent, "", message, code=code)
        reason = next(iter(failed.values())).message
        return TaskError(reason or "the queue refused tasks", added=added)

    def _create_singly(
        self, client: tasks_v2.CloudTasksClient, requests: Sequence[tasks_v2.CreateTaskRequest]
    ) -> list[str | None]:
        added: dict[int, str | None] = {}
        unsure: list[int] = []
        reasons: list[str] = []
        is_missing = False
        for place, request in enumerate(requests):
            try:
                added[place] = _id_of(client.create_task(request=request, timeout=_TIMEOUT_SECONDS).name)
            except InvalidArgument as error:
                self._log_refusal("tasks refused", error, 1, request.parent, _ENQUEUER)
                reasons.append(_detail(error))
            except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
                # The next one would fare no better.
                self._log_refusal("tasks refused", error, len(requests) - place, request.parent, _ENQUEUER)
                reasons.append(_detail(error))
                unsure += [place] if isinstance(error, _UNSURE) else []
                is_missing = isinstance(error, NotFound)
                break
        if reasons:
            raise TaskError(reasons[0], added=added, unsure=unsure, is_missing=is_missing)
        return list(added.values())

    def _delete_singly(self, client: tasks_v2.CloudTasksClient, paths: Sequence[str]) -> bool:
        for path in paths:
            try:
                client.delete_task(name=path, timeout=_TIMEOUT_SECONDS, retry=_retry())
            except NotFound:
                continue
        return True

    def _request(self, parent: str, task: Task) -> tasks_v2.CreateTaskRequest:
        # No name: named tasks are slow to create and block their name for days.
        http_request = tasks_v2.AppEngineHttpRequest(
            http_method=tasks_v2.HttpMethod.POST,
            app_engine_routing=tasks_v2.AppEngineRouting(service=self._service),
            relative_uri=task.path,
            headers={"Content-Type": task.content_type},
            body=task.body,
        )
        message = tasks_v2.Task(app_engine_http_request=http_request)
        if task.due is not None:
            stamp = Timestamp()
            stamp.FromMicroseconds(int(task.due * 10**6))
            message.schedule_time = stamp
        return tasks_v2.CreateTaskRequest(parent=parent, task=message)

    def _tell_once(self, message: str, parent: str, remedy: str, error: Exception) -> None:
        with self._lock:
            is_told = message in self._told
            self._told.add(message)
        if not is_told:
            logger.warning(message, extra={"queue": parent, "remedy": remedy, "detail": _detail(error)})

    def _log_refusal(self, message: str, error: Exception, tasks: int, parent: str, permission: str) -> None:
        remedies: dict[type[Exception], str] = {PermissionDenied: permission, NotFound: _DEPLOY}
        self._log(message, tasks, parent, remedies.get(type(error), ""), _detail(error))

    def _log(self, message: str, tasks: int, parent: str, remedy: str, detail: str, **more: object) -> None:
        logger.error(message, extra={"tasks": tasks, "queue": parent, "remedy": remedy, "detail": detail, **more})


def _retry() -> Retry:
    return Retry(predicate=if_exception_type(ServiceUnavailable), initial=0.2, timeout=_TIMEOUT_SECONDS)


def _id_of(path: str) -> str | None:
    return path.rpartition("/")[2] or None


def _detail(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
