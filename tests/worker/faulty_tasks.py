"""A Cloud Tasks service over real gRPC that refuses what a test tells it to refuse, and records what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.cloud import tasks_v2
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import code_pb2, status_pb2

SERVICE = "google.cloud.tasks.v2.CloudTasks"

Refusal = tuple[grpc.StatusCode, str]


class FaultyTasks:
    """Set `refuse_call`, `refuse_operation` or `refuse_task` to inject a fault; each decides anew at every call."""

    def __init__(self) -> None:
        self.batches: list[tasks_v2.BatchCreateTasksRequest] = []
        self.singles: list[tasks_v2.CreateTaskRequest] = []
        self.refuse_call: Callable[[str], Refusal | None] = lambda method: None
        self.refuse_operation: Refusal | None = None
        self.refuse_task: Callable[[int], Refusal | None] = lambda index: None
        self.timeouts: list[float] = []
        self.deletions: list[list[str]] = []
        self.queue_state = tasks_v2.Queue.State.RUNNING

    def batch_create(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.batches.append(request)
        self._meet(context, "BatchCreateTasks")
        metadata = tasks_v2.BatchCreateTasksMetadata()
        response = tasks_v2.BatchCreateTasksResponse()
        for index, each in enumerate(request.requests):
            if refusal := self.refuse_task(index):
                metadata.failed_requests[index] = _status(refusal)
            else:
                response.tasks.append(each.task)
        operation = operations_pb2.Operation(name="operations/1", done=True)
        operation.metadata.Pack(tasks_v2.BatchCreateTasksMetadata.pb(metadata))
        if self.refuse_operation:
            operation.error.CopyFrom(_status(self.refuse_operation))
        else:
            operation.response.Pack(tasks_v2.BatchCreateTasksResponse.pb(response))
        return operation

    def create(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.singles.append(request)
        self._meet(context, "CreateTask")
        if refusal := self.refuse_task(len(self.singles) - 1):
            context.abort(*refusal)
        return request.task

    def batch_delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._meet(context, "BatchDeleteTasks")
        self.deletions.append(list(request.names))
        metadata = tasks_v2.BatchDeleteTasksMetadata()
        for index in range(len(request.names)):
            if refusal := self.refuse_task(index):
                metadata.failed_requests[index] = _status(refusal)
        operation = operations_pb2.Operation(name="operations/2", done=True)
        operation.metadata.Pack(tasks_v2.BatchDeleteTasksMetadata.pb(metadata))
        if len(metadata.failed_requests) == len(request.names):
            operation.error.CopyFrom(_status((grpc.StatusCode.ABORTED, "none of them")))
        else:
            operation.response.Pack(empty_pb2.Empty())
        return operation

    def delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._meet(context, "DeleteTask")
        self.deletions.append([request.name])
        if refusal := self.refuse_task(len(self.deletions) - 1):
            context.abort(*refusal)
        return empty_pb2.Empty()

    def get_queue(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._meet(context, "GetQueue")
        return tasks_v2.Queue(name=request.name, state=self.queue_state)

    def _meet(self, context: grpc.ServicerContext, method: str) -> None:
        self.timeouts.append(context.time_remaining())
        if refusal := self.refuse_call(method):
            context.abort(*refusal)


def _status(refusal: Refusal) -> status_pb2.Status:
    code, message = refusal
    return status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)


@contextmanager
def serving(service: FaultyTasks) -> Iterator[str]:
    """Serve on a free loopback port and give its address."""
    handlers = {
        "BatchCreateTasks": grpc.unary_unary_rpc_method_handler(
            service.batch_create,
            request_deserializer=tasks_v2.BatchCreateTasksRequest.deserialize,
            response_serializer=operations_pb2.Operation.SerializeToString,
        ),
        "CreateTask": grpc.unary_unary_rpc_method_handler(
            service.create,
            request_deserializer=tasks_v2.CreateTaskRequest.deserialize,
            response_serializer=tasks_v2.Task.serialize,
        ),
        "BatchDeleteTasks": grpc.unary_unary_rpc_method_handler(
            service.batch_delete,
            request_deserializer=tasks_v2.BatchDeleteTasksRequest.deserialize,
            response_serializer=operations_pb2.Operation.SerializeToString,
        ),
        "DeleteTask": grpc.unary_unary_rpc_method_handler(
            service.delete,
            request_deserializer=tasks_v2.DeleteTaskRequest.deserialize,
            response_serializer=empty_pb2.Empty.SerializeToString,
        ),
        "GetQueue": grpc.unary_unary_rpc_method_handler(
            service.get_queue,
            request_deserializer=tasks_v2.GetQueueRequest.deserialize,
            response_serializer=tasks_v2.Queue.serialize,
        ),
    }
    with ThreadPoolExecutor(max_workers=4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
