"""How App Engine runs the worker and those who send: runtime, bundled services, scaling, the command that starts it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gaesignals.appyaml.gunicorn import Gunicorn
from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.service import DEFAULT_SERVICE, Service
from gaesignals.cli.entries import ENTRYPOINT
from gaesignals.cli.finding import sends
from gaesignals.digits import whole_number

# How long a task of the worker delivers; its handlers may take longer.
_TASK_SECONDS = 120
# The fan-out that cron asks for comes once a minute.
_LEAST_IDLE_SECONDS = 60
_MOST = 2**31 - 1
# The classes of gunicorn that run requests inside a loop.
_LOOPS = r"gevent|eventlet|tornado|ggevent|geventlet|gunicorn\.workers\.(gg?event|geventlet|gtornado)|uvicorn|meinheld"


def check_runtime(project: Project) -> Iterator[Problem]:
    """What keeps the worker from starting or working, and others from sending."""
    for service in project.workers:
        yield from _check_environment(service, "nothing is delivered")
        yield from _check_scaling(service)
        yield from _check_entrypoint(service)
        yield from _check_name(service)
    for service in project.others:
        yield from _check_sender(service, project)


def _check_environment(service: Service, effect: str) -> Iterator[Problem]:
    """`effect` says what comes of a missing memcache. Where signals are stored elsewhere a sender needs none."""
    if service.is_flexible and (service.needs_memcache or service.is_ours):
        what = f"`env: {service.info.env}` has no bundled services, so no memcache, and {effect}"
        yield Problem(service.file, "flexible", what, "remove `env`: that deploys to the standard environment")
        return
    version = re.fullmatch(r"python3(\d+)", service.runtime)
    if version is None or int(version[1]) < 10:
        what = f"gaesignals does not run on {service.runtime or 'a service without runtime'}: it needs Python 3.10"
        yield Problem(service.file, "runtime", what, "set `runtime: python312`")
    if service.needs_memcache and not (service.has_memcache or service.is_flexible):
        what = f"without `app_engine_apis: true` it has no memcache, and {effect}"
        yield Problem(service.file, "app-engine-apis", what, "add `app_engine_apis: true`")


def _check_sender(service: Service, project: Project) -> Iterator[Problem]:
    if not sends(service):
        return
    yield from _check_environment(service, "every send fails")
    namespaces = {worker.environ.get("SIGNALS_NAMESPACE", "") for worker in project.workers}
    namespace = service.environ.get("SIGNALS_NAMESPACE", "")
    if namespaces and namespace not in namespaces:
        what = f"it sends in the namespace {namespace!r}, where no worker looks: {', '.join(map(repr, namespaces))}"
        yield Problem(service.file, "namespace", what, "give SIGNALS_NAMESPACE the value that the worker has")


def _check_scaling(service: Service) -> Iterator[Problem]:
    info = service.info
    instance_class = (info.instance_class or "").upper()
    is_fixed = bool(info.basic_scaling or info.manual_scaling)
    if instance_class.startswith("F") and is_fixed:
        what = f"App Engine refuses instance_class {instance_class} with basic or manual scaling"
        yield Problem(service.file, "instance-class", what, "use B1, B2, B4, B4_1G or B8")
    if instance_class.startswith("B") and not is_fixed:
        what = f"App Engine refuses instance_class {instance_class} with automatic scaling"
        yield Problem(service.file, "instance-class", what, "add basic_scaling, or use F1, F2, F4 or F4_1G")
    idle_seconds = _duration_seconds(info.basic_scaling.idle_timeout) if info.basic_scaling else None
    if idle_seconds is not None and idle_seconds < _LEAST_IDLE_SECONDS:
        what = f"with an idle_timeout of {idle_seconds} s an instance stops before the next fan-out, a minute later"
        yield Problem(service.file, "idle-timeout", what, "set `idle_timeout: 10m`")


def _check_entrypoint(service: Service) -> Iterator[Problem]:
    if not service.entrypoint:
        what = "without an entrypoint App Engine starts main:app of your own, which is not the worker"
        yield Problem(service.file, "entrypoint", what, f"add `entrypoint: {ENTRYPOINT}`")
    if not service.entrypoint or service.server is None:
        return
    server = service.server
    bind = server.setting("bind")
    if bind is not None and not re.search(r"\$\{?PORT\}?|:8080$", bind):
        what = f"the entrypoint listens at {bind}, where App Engine does not look"
        yield Problem(service.file, "port", what, "write --bind :$PORT")
    timeout = server.setting("timeout")
    if _ends_requests(server) and timeout not in ("0", None):
        what = f"gunicorn ends a request after {timeout} s, and a task of the worker takes {_TASK_SECONDS} s or more"
        yield Problem(service.file, "gunicorn-timeout", what, "add --timeout 0; App Engine has deadlines of its own")
    kind = server.setting("worker_class") or ""
    if re.match(_LOOPS, kind):
        what = f"handlers that are `async def` need an event loop of their own, which {kind} does not leave them"
        yield Problem(service.file, "worker-class", what, "use --threads 8, with gunicorn's own class")
    if server.setting("header_map") == "dangerous":
        what = "with `--header-map dangerous`, X_Appengine_Cron of anybody passes for App Engine's X-Appengine-Cron"
        yield Problem(service.file, "header-map", what, "remove it: gunicorn drops such headers by itself")


def _ends_requests(server: Gunicorn) -> bool:
    """Whether gunicorn's timeout is one of requests, as in its plain class: that of one thread."""
    return server.setting("worker_class") == "sync" and (
        server.number("threads") == 1 or server.settings.get("worker_class") == "sync"
    )


def _check_name(service: Service) -> Iterator[Problem]:
    target = service.environ.get("SIGNALS_SERVICE", "worker").strip() or "worker"
    if target != service.name:
        name = f"the service {service.name}" if service.name != DEFAULT_SERVICE else "the default service"
        what = f"tasks go to the service {target}, and this is {name}"
        yield Problem(
            service.file, "service-name", what, f"set `service: {target}`, or SIGNALS_SERVICE: {service.name}"
        )


def _duration_seconds(text: str | None) -> int | None:
    """How long `10m` or `90s` is; None for no text, and for longer than a number is looked at."""
    if text is None:
        return None
    number = whole_number(text[:-1], most=_MOST)
    return None if number is None else number * (60 if text.endswith("m") else 1)
