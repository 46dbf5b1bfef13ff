"""Settings of the gunicorn that serves an app here; what differs from App Engine's is in these few lines.

Before the app sees a request, it gets the ticket that App Engine's front end gives it, so that the app may call App
Engine's services. After it, one line is printed, unless it asks for health, repeats a successful GET, as pages that
poll do, or comes from cron or Cloud Tasks, which print a line themselves.
"""

from __future__ import annotations

import os
import time
from typing import Any
from wsgiref.util import setup_testing_defaults

from .bridge import Bridge, is_asgi
from .console import print_line
from .front import Front
from .lifeline import end_with_starter, ignore_interrupts
from .narrator import narrate
from .ports import LOOPBACK

TICKET_HEADER = "X-APPENGINE-API-TICKET"
TICKET_VARIABLE = "HTTP_X_APPENGINE_API_TICKET"
STOP_PATH = "/_ah/stop"
_TOLD_BY_THE_CALLER = frozenset({"X-APPENGINE-CRON", "X-APPENGINE-QUEUENAME"})

workers = 1
worker_class = "gthread"
# App Engine starts more instances. Here one has to do with all that the queues run at once, cron, and who looks on.
threads = 48
timeout = 0
graceful_timeout = 5
loglevel = "warning"
accesslog = None
control_socket_disable = True
# No path of a request's own choosing: the SDK copies what comes of it into the thread's environment for good.
forwarder_headers = ""

_last_get: tuple[str, int] | None = None


def when_ready(server: Any) -> None:
    """Called in gunicorn's main process when it listens."""
    ignore_interrupts()


def post_fork(server: Any, worker: Any) -> None:
    """Called in the process that is to run the app, before it is loaded: it is an instance of its own."""
    os.environ["GAE_INSTANCE"] = f"pid{os.getpid()}"


def post_worker_init(worker: Any) -> None:
    """Called in the process that runs the app, when it was loaded."""
    ignore_interrupts()
    end_with_starter(os.getppid(), os.getpid())
    narrate(worker.wsgi)
    if is_asgi(worker.wsgi):
        worker.wsgi = worker.bridge = Bridge(worker.wsgi)
    worker.app_alone = worker.wsgi
    worker.wsgi = Front.from_environ().wrap(worker.wsgi)


def worker_exit(server: Any, worker: Any) -> None:
    """Called in that process when it ends: it is told as App Engine tells an instance, and may call its services."""
    try:
        if app := getattr(worker, "app_alone", None):
            _tell_to_stop(app)
    finally:
        bridge = getattr(worker, "bridge", None)
        if bridge is not None:
            bridge.close()


def _tell_to_stop(app: Any) -> None:
    environ: dict[str, Any] = {"PATH_INFO": STOP_PATH, "REMOTE_ADDR": LOOPBACK, TICKET_VARIABLE: "local"}
    setup_testing_defaults(environ)
    answer = app(environ, lambda status, headers, exc_info=None: lambda body: None)
    try:
        for _ in answer:
            pass
    finally:
        if hasattr(answer, "close"):
            answer.close()


def pre_request(worker: Any, request: Any) -> None:
    """Called before each request."""
    request.headers[:] = [header for header in request.headers if header[0] != TICKET_HEADER]
    request.headers.append((TICKET_HEADER, "local"))
    request.devserver_started_at = time.monotonic()


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    """Called after each request."""
    status = getattr(response, "status_code", 0)
    line = f"{request.method} {request.path} {status}"
    is_told = any(name in _TOLD_BY_THE_CALLER for name, _ in request.headers)
    if request.path != "/healthz" and not is_told and not _is_repeated_get(request, status):
        print_line(f"{line} in {(time.monotonic() - request.devserver_started_at) * 1000:.0f} ms")


def _is_repeated_get(request: Any, status: int) -> bool:
    global _last_get
    this_get = (request.path, status) if request.method == "GET" and status < 400 else None
    is_repeated = this_get is not None and this_get == _last_get
    _last_get = this_get
    return is_repeated
