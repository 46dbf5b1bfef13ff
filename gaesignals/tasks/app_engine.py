"""Tasks through App Engine's bundled queue service: the senders' way, which needs no permission and no gRPC.

`AppEngineTasks` speaks the service's own messages, as the store does memcache's, and may be used where App Engine's
APIs may be called. Nothing here imports the SDK's `taskqueue`, which would bring Cloud Tasks' client along; and so its
mode APPENGINE_USE_CLOUDTASK_PUSH_QUEUE, which is a switch of that module, changes nothing here.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final

import google.appengine.api
from google.appengine.api import apiproxy_stub_map
from google.appengine.runtime import apiproxy_errors, context
from google.protobuf.message import DecodeError

from gaesignals.request import using_ticket

from .queue import (
    MAX_TASKS_A_TRANSACTION,
    NoTransactionError,
    Task,
    TaskError,
    check_names,
    check_tasks,
)

logger = logging.getLogger("gaesignals")

_SERVICE: Final = "taskqueue"
_DATASTORE: Final = "google.appengine.api.datastore"
# How a call ends when the service or the way to it is at fault. Anything else is a mistake here.
_CALL_FAILURES: Final = (apiproxy_errors.Error, DecodeError, OSError, RuntimeError)
# What the SDK says, before it sends anything, where there is no request that the call could belong to.
_NO_TICKET: Final = "without active security ticket"


def _messages() -> Any:
    """The service's messages, without the package they are in, which imports gRPC.

    The module is entered where an import of it looks, since protobuf takes the same file once a process only.
    """
    name = "google.appengine.api.taskqueue.taskqueue_service_bytes_pb2"
    if name not in sys.modules and "google.appengine.api.taskqueue" not in sys.modules:
        for directory in google.appengine.api.__path__:
            path = Path(directory) / "taskqueue" / "taskqueue_service_bytes_pb2.py"
            spec = importlib.util.spec_from_file_location(name, path) if path.is_file() else None
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                sys.modules[name] = module
                spec.loader.exec_module(module)
                return module
    # Where a later SDK has it elsewhere, or somebody has imported the package already.
    return importlib.import_module(name)


pb: Final = _messages()
_ERRORS: Final = pb.TaskQueueServiceError
_GONE: Final = (_ERRORS.OK, _ERRORS.UNKNOWN_TASK, _ERRORS.TOMBSTONED_TASK)
_MISSING: Final = (_ERRORS.UNKNOWN_QUEUE, _ERRORS.TOMBSTONED_QUEUE)
_UNSURE: Final = (_ERRORS.TRANSIENT_ERROR, _ERRORS.INTERNAL_ERROR)
_REMEDIES: Final = {
    _ERRORS.UNKNOWN_QUEUE: "deploy queue.yaml with the queues of this project's signals",
    _ERRORS.TOMBSTONED_QUEUE: "deploy queue.yaml with the queues of this project's signals",
    _ERRORS.PERMISSION_DENIED: "the service needs `app_engine_apis: true`",
}


class AppEngineTasks:
    """The queues of this application; tasks go to `service`, in its default version. Safe in threads.

    `deadline_seconds` bounds each call.
    """

    def __init__(self, *, service: str, deadline_seconds: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self._service = service
        self._deadline_seconds = deadline_seconds
        self._clock = clock

    def add(self, tasks: Sequence[Task], *, transactional: bool = False) -> list[str | None]:
        check_tasks(tasks)
        if not tasks:
            return []
        request = pb.TaskQueueBulkAddRequest()
        for task in tasks:
            self._fill(request.add_request.add(), task)
        if transactional:
            _join_transaction(request.add_request)
        response = pb.TaskQueueBulkAddResponse()
        try:
            self._call("BulkAdd", request, response)
        except apiproxy_errors.ApplicationError as error:
            unsure = range(len(tasks)) if error.application_error in _UNSURE else ()
            explained = _explained(error.application_error, error.error_detail)
            raise TaskError(explained, unsure=unsure, is_missing=error.application_error in _MISSING) from error
        except _CALL_FAILURES as error:
            unsure = () if _NO_TICKET in str(error) else range(len(tasks))
            raise TaskError(f"{type(error).__name__}: {error}", unsure=unsure) from error
        results = response.taskresult
        if len(results) != len(tasks):
            raise TaskError("App Engine's queue service gave no answer for each task", unsure=range(len(tasks)))
        added = {place: _name(result) for place, result in enumerate(results) if result.result == _ERRORS.OK}
        if len(added) < len(tasks):
            raise _refused(results, added)
        return [None if transactional else added[place] for place in range(len(tasks))]

    def delete(self, queue: str, names: Collection[str]) -> bool:
        wanted = check_names(names)
        if not wanted:
            return True
        request = pb.TaskQueueDeleteRequest(queue_name=queue.encode(), task_name=[name.encode() for name in wanted])
        response = pb.TaskQueueDeleteResponse()
        try:
            self._call("Delete", request, response)
        except _CALL_FAILURES as error:
            self._log_undeleted(queue, len(wanted), f"{type(error).__name__}: {error}")
            return False
        left = [result for result in response.result if result not in _GONE]
        if left or len(response.result) != len(wanted):
            self._log_undeleted(queue, len(left) or len(wanted), _explained(left[0], "") if left else "no answer")
            return False
        return True

    def _fill(self, request: Any, task: Task) -> None:
        request.queue_name = task.queue.encode()
        request.task_name = b""
        request.eta_usec = int((self._clock() if task.due is None else task.due) * 10**6)
        request.method = pb.TaskQueueAddRequest.POST
        request.mode = pb.TaskQueueMode.PUSH
        request.url = task.path.encode()
        request.body = task.body
        headers = {"Content-Type": task.content_type}
        hostname = context.get("DEFAULT_VERSION_HOSTNAME")
        if hostname:
            # Otherwise it would go to the service and version of the sender.
            headers["Host"] = f"{self._service}.{hostname}"
        for key, value in headers.items():
            request.header.add(key=key.encode(), value=value.encode())

    def _call(self, method: str, request: Any, response: Any) -> None:
        if apiproxy_stub_map.apiproxy.GetStub(_SERVICE) is None:
            raise TaskError(
                "App Engine's APIs are not set up in this process: wrap the application in "
                "google.appengine.api.wrap_wsgi_app"
            )
        rpc = apiproxy_stub_map.UserRPC(_SERVICE, self._deadline_seconds)
        with using_ticket():
            rpc.make_call(method, request, response)
        rpc.check_success()

    def _log_undeleted(self, queue: str, tasks: int, detail: str) -> None:
        logger.warning(
            "tasks were not deleted",
            extra={"signals_queue": queue, "signals_tasks": tasks, "signals_error": detail[:500]},
        )


def on_commit(function: Callable[[], None]) -> bool:
    """Have `function` called by the commit of the ndb transaction that is open here; False if there is none.

    Inside a transaction of `db`, which has no such hook, it is called at once.
    """
    ndb = sys.modules.get("google.appengine.ext.ndb")
    if ndb is not None and ndb.in_transaction():
        ndb.get_context().call_on_commit(function)
        return True
    datastore = sys.modules.get(_DATASTORE)
    if datastore is not None and datastore.IsInTransaction():
        function()
        return True
    return False


def _join_transaction(requests: Any) -> None:
    datastore = sys.modules.get(_DATASTORE)
    if datastore is None or not datastore.IsInTransaction():
        raise NoTransactionError("no transaction of Datastore is open here: call it inside one of ndb or db")
    if len(requests) > MAX_TASKS_A_TRANSACTION:
        raise TaskError(f"a transaction adds at most {MAX_TASKS_A_TRANSACTION} tasks")
    for request in requests:
        datastore._MaybeSetupTransaction(request, [])


def _name(result: Any) -> str | None:
    name: str = result.chosen_task_name.decode()
    return name or None


def _refused(results: Sequence[Any], added: dict[int, str | None]) -> TaskError:
    codes = {place: result.result for place, result in enumerate(results) if place not in added}
    # One that was skipped was fine by itself, and not added because another was not.
    causes = [code for code in codes.values() if code != _ERRORS.SKIPPED] or [_ERRORS.SKIPPED]
    unsure = [place for place, code in codes.items() if code in _UNSURE]
    return TaskError(_explained(causes[0], ""), added=added, unsure=unsure, is_missing=causes[0] in _MISSING)


def _explained(code: int, detail: str) -> str:
    known = {value: name for name, value in _ERRORS.ErrorCode.items()}
    said = ": ".join(part for part in (known.get(code, f"error {code}"), detail) if part)
    remedy = _REMEDIES.get(code)
    return f"{said}; {remedy}" if remedy else said
