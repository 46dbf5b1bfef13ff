"""What a million of Django's tasks take, by signals and by one Cloud Task each: `python -m benchmarks.django_tasks`.

Everything is counted at the local cloud's own servers: memcache calls at the API server, and what Cloud Tasks charges
for (adding, deleting and calling a task) at its emulator. Jobs are enqueued one after the other; where nothing wakes
the worker, one fan-out of cron hands them over. The other two backends are measured where they are installed, which
takes Python 3.12: `pip install --no-deps django-tasks-gcp django-tasks-cloud-tasks`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import socketserver
import threading
import time
import wsgiref.simple_server
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import django
import grpc
from django.conf import settings
from google.appengine.api import apiproxy_stub_map
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

from devserver.appengine.client import connected, ticket
from devserver.appengine.server import ApiServer
from devserver.appengine.services import AppEngine
from devserver.tasks.emulator import TasksEmulator
from devserver.tasks.queue import TaskQueue
from devserver.tasks.service import TaskService

ROOT = Path(__file__).parent.parent
OURS = "gaesignals.integrations.django.SignalsBackend"
DOLLARS_A_MILLION = 0.40
WAIT_SECONDS = 120.0
PEERS = {
    "django-tasks-gcp": (
        "django_tasks_gcp.backend.CloudTasksBackend",
        {"PROJECT_ID": "localdev", "LOCATION": "local", "VIEW_AUTHN": None},
    ),
    "django-tasks-cloud-tasks": (
        "django_tasks_cloud_tasks.backends.CloudTasksBackend",
        {
            "CLOUD_TASKS_PROJECT": "localdev",
            "CLOUD_TASKS_LOCATION": "local",
            "OIDC_SERVICE_ACCOUNT_EMAIL": "somebody@example.com",
            "TASK_HANDLER_HOST": "http://later",
        },
    ),
}
INSTALLED = {alias: peer for alias, peer in PEERS.items() if importlib.util.find_spec(peer[0].partition(".")[0])}

settings.configure(
    ALLOWED_HOSTS=["*"],
    # One of the other backends wants the users of both.
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"]
    + (["django_tasks"] if django.VERSION < (6,) else []),
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    LOGGING_CONFIG=None,
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    TASKS={
        "default": {"BACKEND": OURS},
        "wake": {"BACKEND": OURS, "OPTIONS": {"wake": True}},
        "durable": {"BACKEND": OURS, "OPTIONS": {"durable": True}},
        **{alias: {"BACKEND": backend, "OPTIONS": dict(options)} for alias, (backend, options) in INSTALLED.items()},
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402  # these want the settings
from django.urls import include, path  # noqa: E402

from gaesignals.integrations.django import task_backends, task_receivers  # noqa: E402
from worker.app import create_app  # noqa: E402
from worker.config import Settings  # noqa: E402

try:
    from django.tasks import task
except ModuleNotFoundError:
    from django_tasks import task

done: Counter[str] = Counter()


@task()
def job(alias: str) -> None:
    done[alias] += 1


urlpatterns = [
    path(f"{alias}/", include(f"{backend.partition('.')[0]}.urls")) for alias, (backend, _) in INSTALLED.items()
]


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """Serves the worker and Django's own pages, each request with the ticket that App Engine gives it."""

    daemon_threads = True


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(app: Callable[..., Iterable[bytes]], port: int = 0) -> Iterator[int]:
    def with_ticket(environ: Any, start_response: Any) -> list[bytes]:
        with ticket():
            return list(app(environ, start_response))

    server = wsgiref.simple_server.make_server("127.0.0.1", port, with_ticket, Server, Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def counting(operations: Counter[str]) -> Iterator[None]:
    """Count what is added to the emulator's queues, and what it is asked to delete from them."""
    create, delete, batch_delete = TaskQueue.create, TaskService.delete_task, TaskService.batch_delete_tasks

    def added(*arguments: Any, **options: Any) -> Any:
        operations["added"] += 1
        return create(*arguments, **options)

    def deleted(service: TaskService, request: Any) -> Any:
        operations["deleted"] += 1
        return delete(service, request)

    def all_deleted(service: TaskService, request: Any) -> Any:
        operations["deleted"] += len(request.names)
        return batch_delete(service, request)

    with (
        mock.patch.object(TaskQueue, "create", added),
        mock.patch.object(TaskService, "delete_task", deleted),
        mock.patch.object(TaskService, "batch_delete_tasks", all_deleted),
    ):
        yield


def lead_peers(address: str, url: str) -> None:
    """Have the other backends use the emulator, and be called back here."""
    made = tasks_v2.CloudTasksClient
    client = made(transport=CloudTasksGrpcTransport(channel=grpc.insecure_channel(address)))
    for alias in INSTALLED:
        backend = task_backends[alias]
        backend.client = client
        backend.options["DEFAULT_TARGET"] = f"{url}/{alias}/"
        backend.task_handler_host, backend.task_handler_path = url, f"/{alias}/execute/"
    # One of them makes a client for each job.
    tasks_v2.CloudTasksClient = lambda transport=None: made(transport=transport) if transport else client


def count_mine(sent: Counter[str], service: str) -> None:
    """Count a call of the thread that enqueues, and none of those that run jobs meanwhile."""
    if threading.current_thread() is threading.main_thread():
        sent[service] += 1


def measure(alias: str, count: int, calls: Counter[Any], operations: Counter[str], drain: Callable[[], None]) -> str:
    """Enqueue `count` jobs, wait until all are done, and return a line of the table."""
    calls.clear()
    operations.clear()
    sent = Counter[str]()
    apiproxy_stub_map.apiproxy.GetPostCallHooks().Clear()
    apiproxy_stub_map.apiproxy.GetPostCallHooks().Append("sent", lambda service, *_: count_mine(sent, service))
    enqueue = job.using(backend=alias).enqueue
    for _ in range(count):
        enqueue(alias)
    by_sdk = sum(sent.values())
    to_enqueue = operations["added"] if alias in PEERS else by_sdk
    give_up_at = time.monotonic() + WAIT_SECONDS
    if alias not in PEERS and alias != "wake":
        drain()
    while done[alias] < count:
        if time.monotonic() > give_up_at:
            raise SystemExit(f"{alias}: {done[alias]} of {count} jobs were done")
        time.sleep(0.05)
    time.sleep(1.5)
    to_run = sum(calls.values()) - by_sdk
    charged = operations["added"] + operations["deleted"] + operations["called"]
    name = f"gaesignals, {alias}" if alias not in PEERS else alias
    million = charged / count * 1e6
    return (
        f"| {name} | {to_enqueue / count:.2f} | {to_run / count:.2f} | {operations['called'] / count * 1e6:,.0f} "
        f"| {million:,.0f} | {million / 1e6 * DOLLARS_A_MILLION:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="jobs of each kind (default: %(default)s)")
    options = parser.parse_args()
    operations: Counter[str] = Counter()
    urls: list[str] = []
    queue_yaml = (ROOT / "queue.yaml").read_text() + "- name: default\n  rate: 500/s\n"
    with contextlib.ExitStack() as stack:
        stack.enter_context(counting(operations))
        tasks = stack.enter_context(
            TasksEmulator(queue_yaml, lambda service: urls[0], report=lambda attempt: operations.update(["called"]))
        )
        os.environ |= {
            "CLOUD_TASKS_EMULATOR_HOST": tasks.address,
            "GAE_ENV": "localdev",
            "GOOGLE_CLOUD_PROJECT": "localdev",
            "SIGNALS_LOCATION": "local",
        }
        api = stack.enter_context(ApiServer(app_engine=AppEngine(tasks_address=tasks.address)))
        stack.enter_context(connected(api.port))
        worker = create_app(Settings.from_env(need_receivers=False), receivers=task_receivers())
        site = get_wsgi_application()

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            is_peers = environ["PATH_INFO"].split("/")[1] in INSTALLED
            return site(environ, start_response) if is_peers else worker(environ, start_response)

        urls.append(f"http://127.0.0.1:{stack.enter_context(serving(app))}")
        lead_peers(tasks.address, urls[0])

        def drain() -> None:
            assert worker.test_client().get("/cron/drain", headers={"X-Appengine-Cron": "true"}).status_code == 200

        print("| backend | calls to enqueue one | memcache calls to run one | requests a million | charged | $ |")
        print("|---|---|---|---|---|---|")
        for alias in settings.TASKS:
            print(measure(alias, options.count, api.app_engine.calls, operations, drain), flush=True)


if __name__ == "__main__":
    main()
