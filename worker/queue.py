"""Cloud Tasks: the tasks that carry names to the worker, and the queue that takes them.

A task is no more than a hint to look. Whatever waits is in the index as well, so a task that is refused, lost, repeated
or late costs time and never a message.
"""

from __future__ import annotations

import enum
import json
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as OperationTimeout
from dataclasses import dataclass
from typing import Protocol

import grpc
from google.api_core.exceptions import (
    GoogleAPICallError,
    InvalidArgument,
    MethodNotImplemented,
    NotFound,
    PermissionDenied,
    RetryError,
    ServiceUnavailable,
)
from google.api_core.retry import Retry, if_exception_type
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from .config import Settings, SettingsError

logger = logging.getLogger("gaesignals.worker")

DELIVER_PATH = "/tasks/deliver"
MAX_NAMES_A_TASK = 100
MAX_TASKS_A_CALL = 100
# Cloud Tasks allows a task of an App Engine queue 100 KB; what surrounds the body counts.
MAX_BODY_BYTES = 90_000
# A task brings in one more where it leaves something behind, that one too, and so on: this far.
MAX_SIBLINGS = 99

_TIMEOUT_SECONDS = 20.0
_STATE_TIMEOUT_SECONDS = 2.0
_STATE_REMEDY = "grant the worker's service account cloudtasks.queues.get (roles/cloudtasks.viewer) to see it"
_REMEDIES: dict[type[GoogleAPICallError], str] = {
    PermissionDenied: "grant the worker's service account cloudtasks.tasks.create (roles/cloudtasks.enqueuer)",
    NotFound: "deploy queue.yaml, and check SIGNALS_QUEUE, SIGNALS_LOCATION and GOOGLE_CLOUD_PROJECT",
}


@dataclass(frozen=True, slots=True)
class Task:
    """Names for one task to deliver. `siblings` says how many more tasks it may bring in, None the usual number."""

    names: tuple[str, ...]
    siblings: int | None = None

    def body(self) -> bytes:
        fields: dict[str, object] = {"names": self.names}
        if self.siblings is not None:
            fields["siblings"] = self.siblings
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def tasks_for(names: Sequence[str], *, siblings: int | None = None, max_bytes: int = MAX_BODY_BYTES) -> list[Task]:
    """Spread `names` over as few tasks as their number and their bytes allow."""
    return [Task(chunk, siblings) for chunk in _chunks(names, max_bytes)]


def _chunks(names: Sequence[str], max_bytes: int) -> Iterator[tuple[str, ...]]:
    chunk: list[str] = []
    size = empty = len(Task((), MAX_SIBLINGS).body())
    for name in names:
        cost = len(json.dumps(name, ensure_ascii=False).encode()) + 1
        if chunk and (len(chunk) == MAX_NAMES_A_TASK or size + cost > max_bytes):
            yield tuple(chunk)
            chunk, size = [], empty
        chunk.append(name)
        size += cost
    if chunk:
        yield tuple(chunk)


class QueueState(enum.Enum):
    """What the queue does with its tasks. `UNKNOWN`: it did not say, as where the permission to ask is missing."""

    RUNNING = "running"
    PAUSED = "paused"
    DISABLED = "disabled"
    UNKNOWN = "unknown"


class TaskQueue(Protocol):
    """Where tasks go."""

    def create(self, tasks: Sequence[Task]) -> list[bool]:
        """Ask for all `tasks`; one answer for each: was it certainly accepted?

        Never raises because the service fails: the tasks concerned are answered False, and the cause is in the log.
        """

    def state(self) -> QueueState:
        """Ask whether the queue runs, within about two seconds. Never raises because the service fails."""


class CloudTasksQueue:
    """The queue that the settings name, up to 100 tasks a call. One object serves all threads, and forked processes."""

    def __init__(self, settings: Settings) -> None:
        if not (settings.project and settings.location):
            raise SettingsError("set GOOGLE_CLOUD_PROJECT and SIGNALS_LOCATION: Cloud Tasks needs both")
        self._settings = settings
        self._parent = tasks_v2.CloudTasksClient.queue_path(settings.project, settings.location, settings.queue)
        self._lock = threading.Lock()
        self._client_of: tuple[int, tasks_v2.CloudTasksClient] | None = None
        self._has_told_of_fallback = False
        self._has_told_of_state = False

    def create(self, tasks: Sequence[Task]) -> list[bool]:
        accepted: list[bool] = []
        try:
            client = self._client()
            for start in range(0, len(tasks), MAX_TASKS_A_CALL):
                batch = self._create_batch(client, tasks[start : start + MAX_TASKS_A_CALL])
                accepted += batch
                if not any(batch):
                    break  # the rest would fare no better, and may take long over it
        except (GoogleAPICallError, RetryError, GoogleAuthError, OperationTimeout) as error:
            # What the failed call did is unknown. Asking again later may duplicate tasks, which is harmless.
            self._log_refusal(error, len(tasks) - len(accepted))
        return accepted + [False] * (len(tasks) - len(accepted))

    def state(self) -> QueueState:
        try:
            queue = self._client().get_queue(name=self._parent, timeout=_STATE_TIMEOUT_SECONDS, retry=None)
        except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
            self._tell_of_state(error)
            return QueueState.UNKNOWN
        known = {each.name: each for each in QueueState}
        # A state of a later version of the service is a bare number.
        return known.get(getattr(queue.state, "name", ""), QueueState.UNKNOWN)

    def close(self) -> None:
        """Close the connection of this process; the next call opens another."""
        with self._lock:
            if self._client_of is not None:
                self._client_of[1].transport.close()  # type: ignore[no-untyped-call]  # of Google's client
            self._client_of = None

    def _client(self) -> tasks_v2.CloudTasksClient:
        """The client of this process: a gRPC channel does not survive a fork."""
        with self._lock:
            if self._client_of is None or self._client_of[0] != os.getpid():
                self._client_of = (os.getpid(), self._connect())
            return self._client_of[1]

    def _connect(self) -> tasks_v2.CloudTasksClient:
        if not self._settings.tasks_emulator_host:
            return tasks_v2.CloudTasksClient()
        channel = grpc.insecure_channel(self._settings.tasks_emulator_host)
        transport = CloudTasksGrpcTransport(channel=channel, credentials=AnonymousCredentials())
        return tasks_v2.CloudTasksClient(transport=transport)

    def _create_batch(self, client: tasks_v2.CloudTasksClient, tasks: Sequence[Task]) -> list[bool]:
        requests = [self._request(task) for task in tasks]
        if len(requests) == 1:
            return self._create_singly(client, requests)
        try:
            refused = self._refused_of_batch(client, requests)
        except (PermissionDenied, MethodNotImplemented) as error:
            self._tell_of_fallback(error)
            return self._create_singly(client, requests)
        return [index not in refused for index in range(len(tasks))]

    def _refused_of_batch(
        self, client: tasks_v2.CloudTasksClient, requests: Sequence[tasks_v2.CreateTaskRequest]
    ) -> frozenset[int]:
        request = tasks_v2.BatchCreateTasksRequest(parent=self._parent, requests=requests, request_id=str(uuid.uuid4()))
        # The request id makes it safe for the client to repeat a call whose answer it never got.
        retry = Retry(predicate=if_exception_type(ServiceUnavailable), initial=0.2, timeout=_TIMEOUT_SECONDS)
        operation = client.batch_create_tasks(request=request, timeout=_TIMEOUT_SECONDS, retry=retry)
        operation.result(timeout=_TIMEOUT_SECONDS)  # type: ignore[no-untyped-call]  # of Google's client
        failed = dict(operation.metadata.failed_requests)
        for code, message in {(status.code, status.message) for status in failed.values()}:
            count = sum(status.code == code and status.message == message for status in failed.values())
            logger.error("tasks refused", extra={"tasks": count, "code": code, "detail": message})
        return frozenset(failed)

    def _create_singly(
        self, client: tasks_v2.CloudTasksClient, requests: Sequence[tasks_v2.CreateTaskRequest]
    ) -> list[bool]:
        accepted = [False] * len(requests)
        for index, request in enumerate(requests):
            try:
                client.create_task(request=request, timeout=_TIMEOUT_SECONDS)
            except InvalidArgument as error:
                self._log_refusal(error, 1)
            except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
                # The next one would fare no better.
                self._log_refusal(error, len(requests) - index)
                break
            else:
                accepted[index] = True
        return accepted

    def _request(self, task: Task) -> tasks_v2.CreateTaskRequest:
        # No name: named tasks are slow to create and block their name for days.
        http_request = tasks_v2.AppEngineHttpRequest(
            http_method=tasks_v2.HttpMethod.POST,
            app_engine_routing=tasks_v2.AppEngineRouting(service=self._settings.service),
            relative_uri=DELIVER_PATH,
            headers={"Content-Type": "application/json"},
            body=task.body(),
        )
        return tasks_v2.CreateTaskRequest(parent=self._parent, task=tasks_v2.Task(app_engine_http_request=http_request))

    def _tell_of_fallback(self, error: GoogleAPICallError) -> None:
        with self._lock:
            told, self._has_told_of_fallback = self._has_told_of_fallback, True
        if not told:
            logger.warning(
                "tasks are created one by one, since Cloud Tasks refuses to create them in batches",
                extra={"queue": self._parent, "remedy": _REMEDIES[PermissionDenied], "detail": _detail(error)},
            )

    def _tell_of_state(self, error: Exception) -> None:
        with self._lock:
            told, self._has_told_of_state = self._has_told_of_state, True
        if not told:
            remedy = _STATE_REMEDY if isinstance(error, PermissionDenied) else ""
            logger.warning(
                "the state of the queue is not known",
                extra={"queue": self._parent, "remedy": remedy, "detail": _detail(error)},
            )

    def _log_refusal(self, error: Exception, tasks: int) -> None:
        remedy = _REMEDIES.get(type(error), "") if isinstance(error, GoogleAPICallError) else ""
        logger.error(
            "tasks refused", extra={"tasks": tasks, "queue": self._parent, "remedy": remedy, "detail": _detail(error)}
        )


def _detail(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
