"""What several tests of the local cloud need: a clock set by hand, a service that records, Google's own client."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from devserver.appengine.loopback_http import LoopbackServer, Request, Response

# The SDK's queue parser imports its Datastore client, which warns about the way it uses a YAML library.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    from devserver.tasks.dispatcher import Attempt
    from devserver.tasks.emulator import TasksEmulator

DEADLINE_SECONDS = 30.0

QUEUE_YAML = """
queue:
- name: signals
  rate: 100/s
  bucket_size: 100
  max_concurrent_requests: 2
  retry_parameters:
    task_retry_limit: 2
    min_backoff_seconds: 10
    max_doublings: 4
- name: fixed
  rate: 5/s
  target: worker
"""


class Clock:
    """Seconds since the epoch that pass when a test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Service:
    """An HTTP service on this machine that keeps what it was asked and answers with `statuses`, then with 200.

    It holds every answer back while `gate` is clear.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self._server = LoopbackServer(self._answer)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def close(self) -> None:
        self.gate.set()
        self._server.close()

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        status = self.statuses.pop(0) if self.statuses else 200
        assert self.gate.wait(DEADLINE_SECONDS)
        return Response(status)


def wait_until(condition: Callable[[], object]) -> None:
    """Return once `condition()` is true; fail after half a minute."""
    give_up_at = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.002)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture
def connect() -> Iterator[Callable[[TasksEmulator], tasks_v2.CloudTasksClient]]:
    channels = []

    def connect(emulator: TasksEmulator) -> tasks_v2.CloudTasksClient:
        channels.append(grpc.insecure_channel(emulator.address))
        transport = CloudTasksGrpcTransport(channel=channels[-1], credentials=AnonymousCredentials())
        return tasks_v2.CloudTasksClient(transport=transport)

    yield connect
    for channel in channels:
        channel.close()


@pytest.fixture
def attempts() -> list[Attempt]:
    return []


@pytest.fixture
def emulator(service: Service, clock: Clock, attempts: list[Attempt]) -> Iterator[TasksEmulator]:
    services = {"worker": service.url, "default": f"{service.url}/the-default"}
    with TasksEmulator(QUEUE_YAML, services.get, clock=clock, report=attempts.append) as emulator:
        yield emulator


@pytest.fixture
def client(
    emulator: TasksEmulator, connect: Callable[[TasksEmulator], tasks_v2.CloudTasksClient]
) -> tasks_v2.CloudTasksClient:
    return connect(emulator)
