"""The services of the application that the local cloud runs: which there are, and what each serves.

What the command line says counts more than the shell's environment, that more than the files of the source root. Where
none of them says anything, a checkout runs the example shop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.service import DEFAULT_SERVICE, RECEIVERS_VARIABLE, WORKER_APPS
from gaesignals.appyaml.service import Service as Config

from ..options import Options
from ..place import CHECKOUT, module

WORKER_APP = module("processes.worker:app")
# What other processes of the cloud are called in its log.
_TAKEN_LABELS = ("api", "tasks", "cron", "cloud", "frontend", "worker")
_DEFAULT_WORKER_SERVICE = "worker"
_EXAMPLE_FRONTEND = "examples.shop.main:app"
_EXAMPLE_RECEIVERS = "examples.shop.receivers:receivers"


@dataclass(frozen=True, slots=True)
class Service:
    """One service: App Engine's `name` for it, the `app` to serve, and where that comes from, for messages.

    `variables` is what its file sets, `label` what the log calls it, `port_option` what sets its port, or would.
    `paths` are where it runs and its source root, for modules; none if no file says so.
    """

    name: str
    app: str
    origin: str
    label: str
    port_option: str
    variables: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Team:
    """The application: the worker, the default service if it runs here, the others, what is left out, and the files."""

    frontend: Service | None
    worker: Service
    queue: str
    project: Project
    others: tuple[Service, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        return (self.worker, *([self.frontend] if self.frontend else []), *self.others)


def read_team(options: Options, environ: Mapping[str, str]) -> Team:
    """Find the services; ConfigError in one line if a file is broken, or one of the two that are needed is missing.

    A default service that cannot run here is left out.
    """
    project = Project.read(*options.roots)
    if project.problems:
        raise ConfigError(str(project.problems[0]))
    configs, notices = _served(project)
    found = next((config for config in configs.values() if config in project.workers), None)
    worker = _worker(options, environ, found)
    others = [
        Service(name, _app(config), f"{config.file}: entrypoint", _label(name), name, config.environ, _paths(config))
        for name, config in configs.items()
        if config is not found and name not in (DEFAULT_SERVICE, worker.name)
    ]
    default = next((config for config in project.services if config.name == DEFAULT_SERVICE), None)
    return Team(
        _frontend(options, default, configs.get(DEFAULT_SERVICE), found),
        worker,
        environ.get("SIGNALS_QUEUE") or worker.variables.get("SIGNALS_QUEUE") or "signals",
        project,
        tuple(others),
        notices,
    )


def _served(project: Project) -> tuple[dict[str, Config], tuple[str, ...]]:
    """The services that can run here, by name, and a line for what else there is to say of a file."""
    served: dict[str, Config] = {}
    notices: list[str] = []
    for config in project.services:
        if reason := _not_served(config):
            notices.append(f"{config.file}: {reason}, so that service does not run here")
            continue
        known = served.setdefault(config.name, config)
        if known is not config:
            notices.append(f"{config.file}: the service {config.name} is started as {known.file} says")
        elif config.needs_memcache and not config.has_memcache:
            notices.append(f"{config.file}: on App Engine it has no memcache; add `app_engine_apis: true`")
    return served, tuple(notices)


def _not_served(config: Config) -> str:
    """Why a service cannot run here; empty if it can."""
    if config.is_flexible:
        return "it is for the flexible environment"
    if not config.is_python:
        return f"its runtime is {config.runtime}"
    return "" if config.app else f"its entrypoint is not gunicorn or uvicorn with an app: {config.entrypoint}"


def _app(config: Config) -> str:
    assert config.app is not None
    return config.app


def _label(name: str) -> str:
    return f"{name} service" if name in _TAKEN_LABELS else name


def _paths(config: Config | None) -> tuple[Path, ...]:
    if config is None:
        return ()
    place = (config.server.setting("chdir") if config.server else None) or ""
    return (config.directory / place, config.directory)


def _frontend(options: Options, default: Config | None, served: Config | None, worker: Config | None) -> Service | None:
    """The default service. `default` is what a file says of it, `served` the same if it can run here."""
    config = None if served is worker else served
    app, origin = options.frontend, f"--frontend {options.frontend}"
    if app is None and config:
        app, origin = config.app, f"{config.file}: entrypoint"
    if app is None and default:
        return None
    if app is None and CHECKOUT is not None:
        app, origin = _EXAMPLE_FRONTEND, f"--frontend {_EXAMPLE_FRONTEND}"
    if app is None:
        raise ConfigError(
            f"no file in {_listed(options)} describes the default service; add an app.yaml, or --frontend MODULE:NAME"
        )
    variables = config.environ if config else {}
    return Service(DEFAULT_SERVICE, app, origin, "frontend", "--frontend-port", variables, _paths(config))


def _listed(options: Options) -> str:
    return " or ".join(map(str, options.roots))


def _worker(options: Options, environ: Mapping[str, str], config: Config | None) -> Service:
    variables = dict(config.environ) if config else {}
    file = config.file if config else ""
    receivers = options.receivers or environ.get(RECEIVERS_VARIABLE)
    origin = f"--receivers {receivers}"
    if not receivers and RECEIVERS_VARIABLE in variables:
        receivers = variables[RECEIVERS_VARIABLE]
        origin = f"{file}: {RECEIVERS_VARIABLE}: {receivers}"
    if not receivers and CHECKOUT is not None:
        receivers, origin = _EXAMPLE_RECEIVERS, f"--receivers {_EXAMPLE_RECEIVERS}"
    if not receivers:
        missing = (
            f"no file in {_listed(options)} describes the worker; add a worker.yaml, as `gaesignals init` writes it"
        )
        if file:
            missing = f"{file}: SIGNALS_RECEIVERS is not among the env_variables; add it"
            missing += "" if config and config.is_ours else ", or `gaesignals init --service NAME` if it is no worker"
        raise ConfigError(f"{missing}, or --receivers MODULE:NAME")
    app = WORKER_APP if config is None or config.app in WORKER_APPS else _app(config)
    name = _worker_name(environ, config)
    return Service(
        name, app, origin, "worker", "--worker-port", variables | {RECEIVERS_VARIABLE: receivers}, _paths(config)
    )


def _worker_name(environ: Mapping[str, str], config: Config | None) -> str:
    """The name under which tasks and cron address the worker."""
    if environ.get("SIGNALS_SERVICE"):
        return environ["SIGNALS_SERVICE"]
    if config is None:
        return _DEFAULT_WORKER_SERVICE
    addressed = config.environ.get("SIGNALS_SERVICE") or _DEFAULT_WORKER_SERVICE
    if addressed != config.name:
        raise ConfigError(
            f"{config.file}: the service is {config.name}, but the worker's tasks go to {addressed}; "
            f"add SIGNALS_SERVICE: {config.name} to its env_variables"
        )
    return addressed
