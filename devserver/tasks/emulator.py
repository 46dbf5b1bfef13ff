"""A Cloud Tasks emulator: the service's calls over gRPC, and the dispatch that follows from them.

Lead the client library to it with `CloudTasksGrpcTransport(channel=grpc.insecure_channel(address))`. Queues come from
`queue.yaml`; App Engine tasks go to the services that `resolve` knows. Tasks are gone when the emulator ends.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from types import TracebackType

import grpc

from gaesignals.appyaml.queues import load_queues

from ..processes.console import print_line
from ..processes.outgoing import Answer, Resolve, send
from ..processes.ports import LOOPBACK
from ..processes.service_option import service
from ..processes.serving import command_line, serve
from .dispatcher import Attempt, Dispatcher
from .queue import QueuedTask, TaskQueue
from .service import TaskService
from .target import request_of


class TasksEmulator:
    """Serves the queues of `queue_yaml` (its text) on 127.0.0.1:`port`; 0 takes a free port.

    `resolve` gives the base URL of a service by its name, or None. `report` is told of each attempt. It serves as soon
    as it is made (OSError if the port is taken, ConfigError if the text makes no sense) and until `close`; it is a
    context manager. A `clock` (seconds since the epoch) that is set by hand needs a `wake()` after each change.
    """

    def __init__(
        self,
        queue_yaml: str,
        resolve: Resolve,
        *,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        report: Callable[[Attempt], None] = lambda attempt: None,
    ) -> None:
        self._resolve = resolve
        self.queues = {name: TaskQueue(settings) for name, settings in load_queues(queue_yaml).items()}
        self._dispatcher = Dispatcher(self.queues, self._send, clock=clock, report=report)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=8, thread_name_prefix="tasks-emulator"),
            handlers=TaskService(self.queues, self._dispatcher, clock=clock).handlers(),
            # Otherwise a second emulator would share the port of the first in silence.
            options=[("grpc.so_reuseport", 0)],
        )
        self.port = _listen(self._server, port)
        self._dispatcher.start()
        self._server.start()

    @property
    def address(self) -> str:
        """What `CLOUD_TASKS_EMULATOR_HOST` is set to."""
        return f"{LOOPBACK}:{self.port}"

    def wake(self) -> None:
        """Look again at what is due."""
        self._dispatcher.wake()

    def close(self) -> None:
        """Stop serving and dispatching; tasks that run are not waited for."""
        self._server.stop(grace=0.5).wait()
        self._dispatcher.close()

    def __enter__(self) -> TasksEmulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, task: QueuedTask, queue: TaskQueue) -> tuple[str, Answer]:
        request = request_of(task, queue, self._resolve)
        return request.target, send(request)


def attempt_line(attempt: Attempt) -> str:
    """Write one attempt for a person to read."""
    took = f"{attempt.took_seconds * 1000:.0f} ms"
    line = f"{attempt.queue} task {attempt.task_id} -> {attempt.target} {attempt.answer} in {took}"
    if attempt.answer.is_success:
        return line
    if attempt.again_in_seconds is None:
        return f"{line}; attempt {attempt.number} was the last"
    return f"{line}; attempt {attempt.number}, again in {attempt.again_in_seconds:.1f} s"


def _listen(server: grpc.Server, port: int) -> int:
    try:
        listening = server.add_insecure_port(f"{LOOPBACK}:{port}")
    except RuntimeError as error:
        raise OSError(f"port {port} is taken") from error
    if not listening:
        raise OSError(f"port {port} is taken")
    return int(listening)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = command_line(f"{__package__}.emulator", __doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--queues", type=Path, default=Path("queue.yaml"), help="the queue.yaml to read")
    parser.add_argument("--service", type=service, action="append", default=[], metavar="NAME=URL", dest="services")
    options = parser.parse_args(arguments)
    return serve(
        lambda: _emulator(options.queues, dict(options.services), options.port),
        lambda emulator: f"Cloud Tasks emulator on {emulator.address}",
        supervised=options.supervised,
    )


def _emulator(queues: Path, services: Mapping[str, str], port: int) -> TasksEmulator:
    return TasksEmulator(
        queues.read_text("utf-8"),
        services.get,
        port=port,
        report=lambda attempt: print_line(attempt_line(attempt)),
    )


if __name__ == "__main__":
    sys.exit(main())
