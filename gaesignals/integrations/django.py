"""Django's tasks, sent as signals: `SignalsBackend` enqueues them, `task_receivers` runs them in the worker.

For `django.tasks` of Django 6 and, below it, the package django-tasks, which is the same for older versions.

Each task function has a signal of its own, `task:ALIAS:QUEUE:PATH`: so a slow one does not keep a quick one waiting,
and each can be paused, looked at and requeued alone. A task is run at least once while the store keeps it, or whatever
it forgets where `OPTIONS` say `durable`. What it returns is dropped: there are no results to get, and no priority.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from functools import cached_property, partial
from inspect import iscoroutinefunction
from typing import Any, Final

import django
from asgiref.sync import sync_to_async
from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections
from django.utils.module_loading import import_string
from django.utils.timezone import is_aware, make_aware

try:
    from django.tasks import DEFAULT_TASK_QUEUE_NAME, TaskContext, TaskResult, TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import InvalidTask
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ModuleNotFoundError:
    from django_tasks import DEFAULT_TASK_QUEUE_NAME, TaskContext, TaskResult, TaskResultStatus, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskError
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.signals import task_enqueued, task_finished, task_started

from gaesignals.errors import InvalidNameError, InvalidOptionError, SignalsError, brief
from gaesignals.mailbox.current import current_mailbox
from gaesignals.message import Message, current_message
from gaesignals.raised import Drop, Retry
from gaesignals.receiver import Options
from gaesignals.receivers import Receivers
from gaesignals.signal import Signal
from gaesignals.tasks.queue import MAX_AHEAD_SECONDS
from gaesignals.threads import in_this_request, is_in_request

_ALIAS: Final = re.compile(r"[A-Za-z0-9_.-]{1,50}")
_SENDING: Final = ("wake", "durable", "transactional")
_RECEIVING: Final = tuple(Options.__annotations__.keys() - {"id", "queue", "concurrency", "retry_on", "drop_on"})
_WORKER: Final = socket.gethostname()
_EARLIER: Final = "an earlier attempt's"


class SignalsBackend(BaseTaskBackend):  # type: ignore[misc]  # Django ships no types
    """A backend of Django's tasks: `"BACKEND": "gaesignals.integrations.django.SignalsBackend"` in `TASKS`.

    `QUEUES` names the queues of queue.yaml that deliver tasks; `default` stands for the worker's own. `OPTIONS` may be
    `wake` and `durable` of a `Signal`, `transactional` of `send`, and, of `Receivers.connect`, `reliable` (here True by
    default), `max_attempts`, `backoff_seconds`, `backoff`, `max_age_seconds` and `lease_seconds`.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = False
    supports_priority = False

    def check(self, **kwargs: Any) -> Iterator[CheckMessage]:
        """Yield an error for each thing in this backend's settings that cannot be."""
        for problem in dict.fromkeys(self._problems()):
            yield Error(f"TASKS[{self.alias!r}]: {problem}", obj=self, id="gaesignals.E001")

    def _problems(self) -> Iterator[str]:
        if not _ALIAS.fullmatch(self.alias):
            yield "the alias is part of signals' names: give one of A-Z a-z 0-9 _ . - alone"
            return
        if not self.queues:
            yield "QUEUES is empty: name each queue, since the worker connects receivers for them"
        if unknown := sorted(self.options.keys() - {*_SENDING, *_RECEIVING}):
            yield f"OPTIONS has {', '.join(unknown)}; there are {', '.join(sorted((*_SENDING, *_RECEIVING)))}"
        if not isinstance(self.options.get("transactional", False), bool):
            yield f"transactional={brief(self.options['transactional'])} cannot be: give True or False"
        for queue in sorted(self.queues):
            # Apart, since one that cannot be must not hide the other's.
            for attempt in (partial(self._signal, queue), partial(self._connect, Receivers(), queue)):
                try:
                    attempt()
                except SignalsError as error:
                    yield str(error)

    def validate_task(self, task: Task) -> None:
        """Raise `InvalidTask` for a task that cannot be enqueued here: one with a priority, say, or too far ahead."""
        super().validate_task(task)
        try:
            self._signal_of(task)
        except (InvalidNameError, InvalidOptionError) as error:
            raise InvalidTask(str(error)) from error
        if task.run_after is not None and _seconds_ahead(task.run_after) > MAX_AHEAD_SECONDS:
            raise InvalidTask("run_after is over 29 days ahead: App Engine's queues keep no task longer")

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Send `task` for a worker to run; return a result of status READY, whose `id` is the message's.

        Costs what `Signal.send` costs: two calls to the store, or one to App Engine's queues where `run_after` is ahead
        or it is transactional. Raises what `Signal.send` raises, and TypeError or ValueError for arguments that are not
        JSON.
        """
        self.validate_task(task)
        result = _result(task, self.alias, {"args": list(args), "kwargs": dict(kwargs)}, status=TaskResultStatus.READY)
        ahead = None if task.run_after is None else _seconds_ahead(task.run_after)
        message_id = self._signal_of(task).send(
            {"args": result.args, "kwargs": result.kwargs},
            delay_seconds=ahead if ahead and ahead > 0 else None,
            transactional=self.options.get("transactional", False),
        )
        result = replace(result, id=message_id, enqueued_at=_now())
        # It is stored by now: what listens must not make that look otherwise.
        task_enqueued.send_robust(type(self), task_result=result)
        return result

    async def aenqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """As `enqueue`, in another thread, as what belongs to this request.

        A coroutine of a WSGI request is in a thread that may call nothing; Django takes this back to the request's own.
        """
        enqueue = in_this_request(self.enqueue) if is_in_request() else self.enqueue
        return await sync_to_async(enqueue, thread_sensitive=True)(task, args, kwargs)

    def connect(self, receivers: Receivers) -> None:
        """Connect to `receivers` what runs this backend's tasks. Raises what `Receivers.connect` raises."""
        for queue in sorted(self.queues):
            self._connect(receivers, queue)

    def _connect(self, receivers: Receivers, queue: str) -> None:
        receivers.connect(
            f"task:{self.alias}:{queue}:{{path}}",
            self._handle,
            id=f"task:{self.alias}:{queue}",
            queue=None if queue == DEFAULT_TASK_QUEUE_NAME else queue,
            **self._receiving,
        )

    @cached_property
    def _receiving(self) -> Any:
        return {"reliable": True} | {name: self.options[name] for name in _RECEIVING if name in self.options}

    def _signal(self, queue: str) -> Signal[Any]:
        ways = {name: self.options[name] for name in ("wake", "durable") if name in self.options}
        return Signal(f"task:{self.alias}:{queue}:{{path}}", **ways)

    def _signal_of(self, task: Task) -> Signal[Any]:
        return self._signal(task.queue_name)(path=task.module_path)

    def _handle(self, data: Mapping[str, Any], *, path: str) -> object:
        result = _running(_task_at(path), self.alias, data, current_message())
        if iscoroutinefunction(result.task.func):
            return self._run_coroutine(result)
        self._run(result)
        return None

    def _run(self, result: TaskResult) -> None:
        """Run a plain task, with Django's signals around it, and with connections that are good, as in a request."""
        close_old_connections()
        try:
            task_started.send_robust(type(self), task_result=result)
            try:
                returned = _called(result)
            except Exception as error:
                if self._ends(error):
                    _finish(result, error)
                    task_finished.send_robust(type(self), task_result=result)
                raise
            _finish(result, None, returned)
            task_finished.send_robust(type(self), task_result=result)
        finally:
            close_old_connections()

    async def _run_coroutine(self, result: TaskResult) -> None:
        """The same for a task that is a coroutine, on the delivery's loop, which may cancel it when its time is up."""
        # In the thread in which Django has a coroutine's connections.
        close_connections = sync_to_async(close_old_connections)
        await close_connections()
        try:
            await task_started.asend_robust(type(self), task_result=result)
            try:
                returned = await _called(result)
            except (Exception, asyncio.CancelledError) as error:
                if self._ends(error):
                    _finish(result, error)
                    await task_finished.asend_robust(type(self), task_result=result)
                raise
            _finish(result, None, returned)
            await task_finished.asend_robust(type(self), task_result=result)
        finally:
            await close_connections()

    def _ends(self, error: BaseException) -> bool:
        """Whether the task is not run again: it has dropped itself, or this was its last attempt."""
        if isinstance(error, Retry) and not error.charge:
            return False
        is_last = current_message().attempt >= self._receiving.get("max_attempts", 20)
        return is_last or isinstance(error, Drop) or not self._receiving["reliable"]


def task_receivers(receivers: Receivers | None = None) -> Receivers:
    """Return `receivers`, or new ones, with what runs the tasks of every `SignalsBackend` in `TASKS`.

    Sets Django up first where nobody has, so a module of one line is enough for the worker:
    `receivers = task_receivers()`. Raises Django's `ImproperlyConfigured` where there is no such backend or
    DJANGO_SETTINGS_MODULE is missing, and what `Receivers.connect` raises.
    """
    if not apps.ready:
        django.setup()
    backends = [backend for backend in task_backends.all() if isinstance(backend, SignalsBackend)]
    if not backends:
        raise ImproperlyConfigured("no backend in TASKS is a gaesignals.integrations.django.SignalsBackend")
    made = Receivers() if receivers is None else receivers
    for backend in backends:
        backend.connect(made)
    return made


def _task_at(path: str) -> Task:
    """Import the task; a retry finds one that is only there once a deploy is through.

    Nothing is imported for a name that somebody made up, unless it is part of an application that is installed.
    """
    if path.rpartition(".")[0] not in sys.modules and apps.get_containing_app_config(path) is None:
        raise InvalidTask(f"{path!r} is in no installed app: import its module where task_receivers() is called")
    try:
        found = import_string(path)
    except ImportError as error:
        raise InvalidTask(f"there is no task {path!r} here: {error}") from error
    if not isinstance(found, Task):
        raise InvalidTask(f"{path!r} is a {type(found).__name__}, not a task")
    return found


def _running(task: Task, alias: str, data: Mapping[str, Any], message: Message[Any]) -> TaskResult:
    return _result(
        task,
        alias,
        data,
        id=message.id,
        status=TaskResultStatus.RUNNING,
        enqueued_at=message.sent_at,
        started_at=_now(),
        last_attempted_at=_now(),
        # Django counts attempts by these.
        worker_ids=[_EARLIER] * (message.attempt - 1) + [_WORKER],
    )


def _result(task: Task, alias: str, data: Mapping[str, Any], **known: Any) -> TaskResult:
    """A result with what is `known`; raises TypeError or ValueError for arguments that are not JSON."""
    times = dict.fromkeys(("enqueued_at", "started_at", "finished_at", "last_attempted_at"))
    values = {"id": "", "errors": [], "worker_ids": [], **times, **known}
    return TaskResult(task=task, backend=alias, args=data["args"], kwargs=data["kwargs"], **values)


def _called(result: TaskResult) -> Any:
    context = [TaskContext(task_result=result)] if result.task.takes_context else []
    return result.task.func(*context, *result.args, **result.kwargs)


def _finish(result: TaskResult, error: BaseException | None, returned: Any = None) -> None:
    """Note the end on `result`, as Django's own backends do: nobody else has seen it yet."""
    has_failed = error is not None and not isinstance(error, Drop)
    values = {
        "status": TaskResultStatus.FAILED if has_failed else TaskResultStatus.SUCCESSFUL,
        "finished_at": _now(),
        "_return_value": returned,
    }
    for name, value in values.items():
        object.__setattr__(result, name, value)
    if has_failed:
        kind = type(error)
        path = f"{kind.__module__}.{kind.__qualname__}"
        text = "".join(traceback.format_exception(error))
        result.errors.append(TaskError(exception_class_path=path, traceback=text))


def _seconds_ahead(moment: datetime) -> float:
    aware = moment if is_aware(moment) else make_aware(moment)
    return float(aware.timestamp() - current_mailbox().clock())


def _now() -> datetime:
    return datetime.fromtimestamp(current_mailbox().clock(), timezone.utc)
