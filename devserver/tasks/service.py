"""The calls of Cloud Tasks, over the messages of Google's own client library.

Any project and location will do; a queue is found by the last part of its name. Queues come from `queue.yaml` alone, so
calls that create, change or delete one are not there: the client gets UNIMPLEMENTED.
"""

from __future__ import annotations

import base64
import binascii
import collections
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.cloud.tasks_v2 import types
from google.cloud.tasks_v2beta3 import types as preliminary_types
from google.longrunning import operations_pb2  # type: ignore[import-untyped]  # it ships no types
from google.protobuf import empty_pb2

from .check import ServiceError, check_location, check_task, due_at, invalid, parent_of, queue_id
from .dispatcher import Dispatcher
from .messages import create_operation, delete_operation, queue_message, task_message
from .queue import TaskExistsError, TaskQueue

SERVICE = "google.cloud.tasks.v2.CloudTasks"
PRELIMINARY = "google.cloud.tasks.v2beta3.CloudTasks"
OPERATIONS = "google.longrunning.Operations"
MAX_TASKS_A_CREATE = 100
MAX_TASKS_A_DELETE = 1000
MAX_TASKS_A_PAGE = 1000
MAX_OPERATIONS = 100


class TaskService:
    """Answers the calls on `queues`, which `dispatcher` dispatches from."""

    def __init__(self, queues: Mapping[str, TaskQueue], dispatcher: Dispatcher, *, clock: Callable[[], float]) -> None:
        self._queues = queues
        self._dispatcher = dispatcher
        self._clock = clock
        self._operations: collections.OrderedDict[str, Any] = collections.OrderedDict()

    def handlers(self) -> list[grpc.GenericRpcHandler[Any, Any]]:
        """Make what a gRPC server needs to serve it."""
        methods: dict[str, tuple[Callable[[Any], Any], Any]] = {
            "CreateTask": (self.create_task, types.CreateTaskRequest.pb()),
            "BatchCreateTasks": (self.batch_create_tasks, types.BatchCreateTasksRequest.pb()),
            "BatchDeleteTasks": (self.batch_delete_tasks, types.BatchDeleteTasksRequest.pb()),
            "GetTask": (self.get_task, types.GetTaskRequest.pb()),
            "ListTasks": (self.list_tasks, types.ListTasksRequest.pb()),
            "DeleteTask": (self.delete_task, types.DeleteTaskRequest.pb()),
            "RunTask": (self.run_task, types.RunTaskRequest.pb()),
            "GetQueue": (self.get_queue, types.GetQueueRequest.pb()),
            "ListQueues": (self.list_queues, types.ListQueuesRequest.pb()),
            "PauseQueue": (self.pause_queue, types.PauseQueueRequest.pb()),
            "ResumeQueue": (self.resume_queue, types.ResumeQueueRequest.pb()),
            "PurgeQueue": (self.purge_queue, types.PurgeQueueRequest.pb()),
        }
        preliminary: dict[str, tuple[Callable[[Any], Any], Any]] = {
            "GetQueue": (self.get_queue_statistics, preliminary_types.GetQueueRequest.pb())
        }
        operations: dict[str, tuple[Callable[[Any], Any], Any]] = {
            "GetOperation": (self.get_operation, operations_pb2.GetOperationRequest)
        }
        return [
            grpc.method_handlers_generic_handler(name, {call: self._handler(*what) for call, what in calls.items()})
            for name, calls in ((SERVICE, methods), (PRELIMINARY, preliminary), (OPERATIONS, operations))
        ]

    def create_task(self, request: Any) -> Any:
        """Add one task."""
        queue = self._queue(request.parent)
        return self._create(queue, request.parent, request)

    def batch_create_tasks(self, request: Any) -> Any:
        """Add up to 100 tasks of one queue; each stands for itself."""
        queue = self._queue(request.parent)
        if not 1 <= len(request.requests) <= MAX_TASKS_A_CREATE:
            raise invalid(f"A batch must have 1 to {MAX_TASKS_A_CREATE} tasks, not {len(request.requests)}.")
        if any(each.parent not in ("", request.parent) for each in request.requests):
            raise invalid("All tasks of a batch must have the parent of the batch.")
        return self._once(request, lambda: self._batch_create(queue, request))

    def batch_delete_tasks(self, request: Any) -> Any:
        """Delete up to 1,000 tasks of one queue; each stands for itself."""
        queue = self._queue(request.parent)
        if not 1 <= len(request.names) <= MAX_TASKS_A_DELETE:
            raise invalid(f"A batch must have 1 to {MAX_TASKS_A_DELETE} names, not {len(request.names)}.")
        return self._once(request, lambda: self._batch_delete(queue, request))

    def get_task(self, request: Any) -> Any:
        """Return a task that is in its queue."""
        queue = self._queue(parent_of(request.name))
        task = queue.get(request.name)
        if task is None:
            raise _no_such_task()
        return task_message(task, view=request.response_view)

    def list_tasks(self, request: Any) -> Any:
        """Return a page of a queue's tasks, in the order of their names."""
        queue = self._queue(request.parent)
        size = min(request.page_size or MAX_TASKS_A_PAGE, MAX_TASKS_A_PAGE)
        if size < 0:
            raise invalid("page_size must not be negative.")
        names = queue.names_after(_decode_token(request.page_token), limit=size + 1)
        response = types.ListTasksResponse.pb()()
        tasks = [task for name in names[:size] if (task := queue.get(name)) is not None]
        response.tasks.extend(task_message(task, view=request.response_view) for task in tasks)
        if len(names) > size:
            response.next_page_token = base64.urlsafe_b64encode(names[size - 1].encode()).decode()
        return response

    def delete_task(self, request: Any) -> Any:
        """Take a task out of its queue; its name stays reserved."""
        queue = self._queue(parent_of(request.name))
        if not queue.delete(request.name, now=self._clock()):
            raise _no_such_task()
        return empty_pb2.Empty()

    def run_task(self, request: Any) -> Any:
        """Dispatch a task at once, whatever its queue's rate or state."""
        queue = self._queue(parent_of(request.name))
        task = queue.force(request.name)
        if task is None:
            raise _no_such_task()
        return task_message(task, view=request.response_view)

    def get_queue(self, request: Any) -> Any:
        """Return a queue's settings and state."""
        return queue_message(self._queue(request.name), name=request.name)

    def get_queue_statistics(self, request: Any) -> Any:
        """Return what the preliminary interface alone says of a queue: how many tasks it has, if that is asked for."""
        queue = self._queue(request.name)
        message = preliminary_types.Queue.pb()(name=request.name)
        if "stats" in request.read_mask.paths:
            message.stats.tasks_count = len(queue)
        return message

    def list_queues(self, request: Any) -> Any:
        """Return all queues, in one page."""
        check_location(request.parent)
        return types.ListQueuesResponse.pb()(
            queues=[
                queue_message(queue, name=f"{request.parent}/queues/{queue_id}")
                for queue_id, queue in sorted(self._queues.items())
            ]
        )

    def pause_queue(self, request: Any) -> Any:
        """Dispatch nothing more from a queue; what runs goes on."""
        return self._set_paused(request.name, is_paused=True)

    def resume_queue(self, request: Any) -> Any:
        """Dispatch from a queue again."""
        return self._set_paused(request.name, is_paused=False)

    def purge_queue(self, request: Any) -> Any:
        """Take all tasks out of a queue."""
        queue = self._queue(request.name)
        queue.purge(now=self._clock())
        return queue_message(queue, name=request.name)

    def get_operation(self, request: Any) -> Any:
        """Return the operation of a batch, one of the last hundred."""
        for operation in self._operations.values():
            if operation.name == request.name:
                return operation
        raise ServiceError(grpc.StatusCode.NOT_FOUND, "Operation does not exist.")

    def _handler(self, answer: Callable[[Any], Any], request_type: Any) -> grpc.RpcMethodHandler[Any, Any]:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                with self._dispatcher.changing():
                    return answer(request)
            except ServiceError as error:
                context.abort(error.code, error.message)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request_type.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )

    def _queue(self, name: str) -> TaskQueue:
        queue = self._queues.get(queue_id(name))
        if queue is None:
            raise ServiceError(
                grpc.StatusCode.NOT_FOUND,
                f"Queue does not exist: {name}. Those of queue.yaml are: {', '.join(sorted(self._queues))}.",
            )
        return queue

    def _set_paused(self, name: str, *, is_paused: bool) -> Any:
        queue = self._queue(name)
        queue.is_paused = is_paused
        return queue_message(queue, name=name)

    def _create(self, queue: TaskQueue, parent: str, request: Any) -> Any:
        now = self._clock()
        check_task(request.task, parent=parent, now=now)
        name = request.task.name or f"{parent}/tasks/{uuid.uuid4().int % 10**20:020d}"
        try:
            task = queue.create(request.task, name=name, due_at=due_at(request.task, now=now), now=now)
        except TaskExistsError:
            raise ServiceError(
                grpc.StatusCode.ALREADY_EXISTS,
                "The task cannot be created because a task with this name existed too recently.",
            ) from None
        return task_message(task, view=request.response_view)

    def _batch_create(self, queue: TaskQueue, request: Any) -> Any:
        created, failed = [], {}
        for index, each in enumerate(request.requests):
            try:
                created.append(self._create(queue, request.parent, each))
            except ServiceError as error:
                failed[index] = error
        return create_operation(request.parent, created, failed, now=self._clock())

    def _batch_delete(self, queue: TaskQueue, request: Any) -> Any:
        deleted, failed = 0, {}
        for index, name in enumerate(request.names):
            try:
                if parent_of(name) != request.parent:
                    raise invalid("All tasks of a batch must be in its queue.")
                if not queue.delete(name, now=self._clock()):
                    raise _no_such_task()
                deleted += 1
            except ServiceError as error:
                failed[index] = error
        return delete_operation(request.parent, deleted, failed, now=self._clock())

    def _once(self, request: Any, carry_out: Callable[[], Any]) -> Any:
        key = f"{type(request).__name__} {request.request_id or uuid.uuid4()}"
        if key not in self._operations:
            self._operations[key] = carry_out()
            if len(self._operations) > MAX_OPERATIONS:
                self._operations.popitem(last=False)
        return self._operations[key]


def _no_such_task() -> ServiceError:
    return ServiceError(
        grpc.StatusCode.NOT_FOUND, "The task does not exist: it was never created, is done, was given up or deleted."
    )


def _decode_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise invalid("page_token is not one that was given.") from None
