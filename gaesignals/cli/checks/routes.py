"""Whether requests to the worker's routes reach it: the handlers of its own yaml file, and dispatch.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import DISPATCH, Project
from gaesignals.appyaml.sdk import dispatch_pattern
from gaesignals.appyaml.service import Service

# One of each kind, and who calls it. Requests of cron and Cloud Tasks pass `login: admin`.
_PLATFORM = ("cron", "Cloud Tasks")
ROUTES: Mapping[str, str] = {
    "/cron/drain": "cron",
    "/tasks/deliver": "Cloud Tasks",
    "/admin/status": "administrators and scripts",
}
MAX_RULES = 20


def check_handlers(project: Project) -> Iterator[Problem]:
    """What the `handlers` of a worker keep from it."""
    for service in project.workers:
        handlers = service.info.handlers or []
        for path, caller in ROUTES.items():
            # Without handlers, everything goes to the app.
            handler = next((each for each in handlers if _takes(each, path)), None)
            yield from _check_handler(service, handler, path, caller) if handlers else ()


def _check_handler(service: Service, handler: Any, path: str, caller: str) -> Iterator[Problem]:
    if handler is None:
        what = f"no handler takes {path}, so {caller} would get 404"
        yield Problem(
            service.file, "handler-missing", what, "add `- url: /.*` with `script: auto` at the end of handlers"
        )
    elif handler.static_dir or handler.static_files:
        what = f"the handler {handler.url} serves {path} from files, so {caller} would not reach the worker"
        yield Problem(service.file, "handler-static", what, "narrow its url, or put one with `script: auto` before it")
    elif handler.login == "required" or (handler.login == "admin" and caller not in _PLATFORM):
        what = f"`login: {handler.login}` on {handler.url} turns {caller} away from {path} before the worker sees them"
        yield Problem(service.file, "login", what, "remove it: the worker checks every caller by itself")


def check_dispatch(project: Project) -> Iterator[Problem]:
    """What dispatch.yaml sends elsewhere. Its rules hold for cron and tasks too, whatever their target says."""
    rules, file = project.rules or (), project.name_of(DISPATCH)
    if len(rules) > MAX_RULES:
        what = f"it has {len(rules)} rules, and App Engine takes {MAX_RULES} at most"
        yield Problem(file, "dispatch-rules", what, "merge some, or remove them")
    for service in project.workers:
        for path, caller in ROUTES.items():
            rule = next((each for each in rules if _leads(each.url, service.name, path)), None)
            if rule is not None and rule.service != service.name:
                what = (
                    f"the rule {rule.url} sends {path} to the service {rule.service}, so {caller} would miss the worker"
                )
                ours = f'`- url: "*{path.rpartition("/")[0]}/*"` with `service: {service.name}`'
                yield Problem(file, "dispatch-steals", what, f"put {ours} before it, or narrow it")


def _takes(handler: Any, path: str) -> bool:
    url = f"{handler.url}(/.*)?" if handler.static_dir else handler.url
    try:
        return re.fullmatch(url, path) is not None
    except re.error:
        return False


def _leads(url: str, service: str, path: str) -> bool:
    """Whether a rule is for `path` of the service under one of the addresses that App Engine gives it."""
    pattern = dispatch_pattern(url)
    host: str = pattern.host
    if path != pattern.path if pattern.path_exact else not path.startswith(pattern.path):
        return False
    if not pattern.host_exact:
        # The project is not known here.
        return not host or host.endswith("appspot.com") or ".appspot.com".endswith(host)
    return host.endswith(".appspot.com") and host.startswith((f"{service}-dot-", f"{service}."))
