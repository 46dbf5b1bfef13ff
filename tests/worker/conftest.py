"""What the worker's tests share: the app over HTTP, on the SDK's memcache stub, with a queue that records."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map
from google.appengine.runtime import apiproxy_errors
from webtest import TestApp, TestResponse

from gaesignals import Receivers
from gaesignals.stores.store import Store
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.testing import MemoryStore
from worker.access.keys import Fetch, Fetched, KeysError
from worker.app import Worker, create_app
from worker.config import Environment, Settings

from .recording_queue import RecordingQueue

# These import the SDK's Datastore client, which warns about the way it uses a YAML library.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import google.appengine.api.queueinfo  # noqa: F401
    from google.appengine.ext import testbed

TASK_HEADERS = {"X-AppEngine-QueueName": "signals"}
CRON_HEADERS = {"X-Appengine-Cron": "true"}


@pytest.fixture(autouse=True)
def app_engine() -> Iterator[testbed.Testbed]:
    """App Engine's memcache and users service, in this process."""
    bed = testbed.Testbed()
    bed.activate()
    bed.init_memcache_stub()
    bed.init_user_stub()
    yield bed
    bed.deactivate()


@pytest.fixture
def break_memcache(app_engine: testbed.Testbed) -> Callable[[], None]:
    """Call it, and every call to memcache fails from then on."""

    def fail(service: str, *rest: object) -> None:
        raise apiproxy_errors.RPCFailedError("memcache is down")

    return lambda: apiproxy_stub_map.apiproxy.GetPreCallHooks().Append("down", fail, "memcache")


class Client:
    """The worker over HTTP, as cron, Cloud Tasks, scripts and people call it."""

    def __init__(self, worker: Worker, queue: RecordingQueue, tasks: MemoryTasks | None = None) -> None:
        self.worker = worker
        self.queue = queue
        self.tasks = tasks or MemoryTasks()
        self.http = TestApp(worker, extra_environ={"REMOTE_ADDR": "127.0.0.1"})

    def cron(self, **options: Any) -> TestResponse:
        return self.http.get("/cron/drain", headers=CRON_HEADERS, **options)

    def task(self, body: object, **options: Any) -> TestResponse:
        return self.http.post_json("/tasks/deliver", body, headers=TASK_HEADERS, **options)

    def raw_task(self, body: bytes, content_type: str = "application/json", **options: Any) -> TestResponse:
        return self.http.post("/tasks/deliver", body, headers=TASK_HEADERS, content_type=content_type, **options)

    def rescue(
        self, body: bytes, *, queue: str = "signals-later", task: str = "", tries: int = 0, **options: Any
    ) -> TestResponse:
        headers = {
            "X-AppEngine-QueueName": queue,
            "X-AppEngine-TaskName": task,
            "X-AppEngine-TaskRetryCount": str(tries),
        }
        return self.http.post(
            "/tasks/rescue", body, headers=headers, content_type="application/octet-stream", **options
        )

    def browse(self, path: str, **options: Any) -> TestResponse:
        return self.http.get(path, headers={"Accept": "text/html"}, **options)

    def submit(self, path: str, fields: Any, **options: Any) -> TestResponse:
        headers = {"Accept": "text/html", "Origin": "http://localhost:80"}
        return self.http.post(path, fields, headers=headers, **options)

    def run_tasks(self, at_most: int = 1000) -> list[TestResponse]:
        """Let Cloud Tasks call the worker until the queue is empty, one task at a time."""
        answers = []
        while self.queue.tasks:
            assert len(answers) < at_most, "the queue does not become empty"
            answers.append(self.raw_task(self.queue.tasks.pop(0).body()))
        return answers


MakeClient = Callable[..., Client]


def no_keys(url: str) -> Fetched:
    raise KeysError("the tests have no network")


@pytest.fixture
def store() -> MemoryStore:
    """What a test has to look into, or to hand to several workers."""
    return MemoryStore()


@pytest.fixture
def make_client() -> MakeClient:
    """Make a client; under the local server unless `environment` says otherwise."""

    def make(
        receivers: Receivers,
        *,
        environment: Environment = Environment.LOCALDEV,
        store: Store | None = None,
        task_seconds: float = 60.0,
        fetch_keys: Fetch = no_keys,
        **settings: Any,
    ) -> Client:
        queue, tasks = RecordingQueue(), MemoryTasks()
        worker = create_app(
            Settings(environment=environment, project="shop-1", location="local", **settings),
            receivers=receivers,
            store=store,
            queue=queue,
            adder=tasks,
            task_seconds=task_seconds,
            fetch_keys=fetch_keys,
        )
        return Client(worker, queue, tasks)

    return make
