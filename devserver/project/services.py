"""Reads the files that describe a team's services: `app.yaml`, and whatever else beside it has a `runtime:`.

Of an entrypoint only the app is taken: gunicorn serves it here with settings of its own. What cannot be served here, a
runtime of another language or another server, is a notice and not an error.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gaesignals.appyaml.sdk import parse_service

from ..errors import ConfigError
from ..processes.outgoing import DEFAULT_SERVICE

# What App Engine serves where there is no entrypoint, and gunicorn where only a module is named.
DEFAULT_APP = "main:app"
_DEFAULT_ATTRIBUTE = "application"

_HAS_RUNTIME = re.compile(r"^runtime\s*:", re.MULTILINE)
_APP = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(:[A-Za-z_]\w*(?:\(.*\))?)?")


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """What one file says: the service's `name`, the `app` to serve as gunicorn names it, and its `variables`.

    `has_memcache` is what it would have on App Engine; here it has one in any case.
    """

    file: str
    name: str
    app: str
    variables: dict[str, str] = field(default_factory=dict)
    has_memcache: bool = True


@dataclass(frozen=True, slots=True)
class ServiceConfigs:
    """The services that can run here, by name, and a line for what else there is to say of a file."""

    services: dict[str, ServiceConfig]
    notices: tuple[str, ...] = ()


class _NotServedError(Exception):
    """A service that does not run here; the message says why."""


def load_services(root: Path) -> ServiceConfigs:
    """Read the services of the source root; ConfigError in one line if App Engine would not take one."""
    services: dict[str, ServiceConfig] = {}
    notices: list[str] = []
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")], key=_precedence):
        text = _text(path)
        if not _HAS_RUNTIME.search(text):
            continue
        try:
            service = _service(path.name, text)
        except _NotServedError as reason:
            notices.append(f"{path.name}: {reason}, so that service does not run here")
            continue
        known = services.setdefault(service.name, service)
        if known is not service:
            notices.append(f"{path.name}: the service {service.name} is started as {known.file} says")
        elif not service.has_memcache:
            notices.append(f"{path.name}: on App Engine it has no memcache; add `app_engine_apis: true`")
    return ServiceConfigs(services, tuple(notices))


def _precedence(path: Path) -> tuple[bool, int, str]:
    """Of several files for one service, the plainest name counts: app.yaml, not app-staging.yaml."""
    return path.stem != "app", len(path.stem), path.name


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _service(file: str, text: str) -> ServiceConfig:
    info = parse_service(text, file=file)
    if info.env in ("flex", "flexible"):
        raise _NotServedError("it is for the flexible environment")
    if not str(info.runtime).startswith("python"):
        raise _NotServedError(f"its runtime is {info.runtime}")
    variables = {name: str(value) for name, value in (info.env_variables or {}).items()}
    name = info.service or info.module or DEFAULT_SERVICE
    return ServiceConfig(file, name, _app(info.entrypoint), variables, has_memcache=bool(info.app_engine_apis))


def _app(entrypoint: str | None) -> str:
    """Find the app in a command line of gunicorn."""
    # The SDK's parser puts exec in front.
    entrypoint = (entrypoint or "").removeprefix("exec").strip()
    if not entrypoint:
        return DEFAULT_APP
    try:
        words = shlex.split(entrypoint)
    except ValueError:
        words = entrypoint.split()
    names = [PurePosixPath(word).name for word in words]
    found = _last_app(words[names.index("gunicorn") + 1 :]) if "gunicorn" in names else None
    if found is None:
        raise _NotServedError(f"its entrypoint is not gunicorn with an app: {entrypoint}")
    return found


def _last_app(words: Sequence[str]) -> str | None:
    for word in reversed(words):
        match = _APP.fullmatch(word)
        if match:
            return word if match[2] else f"{word}:{_DEFAULT_ATTRIBUTE}"
    return None
