"""The services of the application that the local cloud runs: which there are, and what each serves.

What the command line says counts more than the shell's environment, that more than the files of the source root. Where
none of them says anything, a checkout runs the example shop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ConfigError
from ..options import Options
from ..place import CHECKOUT, module
from ..processes.outgoing import DEFAULT_SERVICE
from .services import ServiceConfig, ServiceConfigs, load_services

WORKER_APP = module("processes.worker:app")
# What other processes of the cloud are called in its log.
_TAKEN_LABELS = ("api", "tasks", "cron", "cloud", "frontend", "worker")
_DEFAULT_WORKER_SERVICE = "worker"
# How an entrypoint names the worker's app: as a wheel has it, and as a checkout does.
_ENTRYPOINTS = ("gaesignals_worker.main:app", "worker.main:app")
_EXAMPLE_FRONTEND = "examples.shop.main:app"
_EXAMPLE_RECEIVERS = "examples.shop.receivers:receivers"


@dataclass(frozen=True, slots=True)
class Service:
    """One service: App Engine's `name` for it, the `app` to serve, and where that comes from, for messages.

    `variables` is what its file sets, `label` what the log calls it, `port_option` what sets its port, or would.
    """

    name: str
    app: str
    origin: str
    label: str
    port_option: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Team:
    """The application: its default service, the worker with its queue, the other services, and what is left out."""

    frontend: Service
    worker: Service
    queue: str
    others: tuple[Service, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        return (self.worker, self.frontend, *self.others)


def read_team(options: Options, environ: Mapping[str, str]) -> Team:
    """Find the services; ConfigError in one line if a file is broken, or one of the two that are needed is missing."""
    configs = load_services(options.root)
    found = _worker_config(configs)
    worker = _worker(options, environ, found)
    others = [
        Service(config.name, config.app, f"{config.file}: entrypoint", _label(config), config.name, config.variables)
        for config in configs.services.values()
        if config is not found and config.name not in (DEFAULT_SERVICE, worker.name)
    ]
    return Team(
        _frontend(options, None if found and found.name == DEFAULT_SERVICE else configs.services.get(DEFAULT_SERVICE)),
        worker,
        environ.get("SIGNALS_QUEUE") or worker.variables.get("SIGNALS_QUEUE") or "signals",
        tuple(others),
        configs.notices,
    )


def _label(config: ServiceConfig) -> str:
    return f"{config.name} service" if config.name in _TAKEN_LABELS else config.name


def _frontend(options: Options, config: ServiceConfig | None) -> Service:
    variables = config.variables if config else {}
    app, origin = options.frontend, f"--frontend {options.frontend}"
    if app is None and config:
        app, origin = config.app, f"{config.file}: entrypoint"
    if app is None and CHECKOUT is not None:
        app, origin = _EXAMPLE_FRONTEND, f"--frontend {_EXAMPLE_FRONTEND}"
    if app is None:
        raise ConfigError(
            f"no file in {options.root} describes the default service; add an app.yaml, or --frontend MODULE:NAME"
        )
    return Service(DEFAULT_SERVICE, app, origin, "frontend", "--frontend-port", variables)


def _worker_config(configs: ServiceConfigs) -> ServiceConfig | None:
    services = configs.services.values()
    served = [config for config in services if config.app in _ENTRYPOINTS]
    return next(iter(served or [config for config in services if "SIGNALS_RECEIVERS" in config.variables]), None)


def _worker(options: Options, environ: Mapping[str, str], config: ServiceConfig | None) -> Service:
    variables = dict(config.variables) if config else {}
    file = config.file if config else ""
    receivers = options.receivers or environ.get("SIGNALS_RECEIVERS")
    origin = f"--receivers {receivers}"
    if not receivers and "SIGNALS_RECEIVERS" in variables:
        receivers = variables["SIGNALS_RECEIVERS"]
        origin = f"{file}: SIGNALS_RECEIVERS: {receivers}"
    if not receivers and CHECKOUT is not None:
        receivers, origin = _EXAMPLE_RECEIVERS, f"--receivers {_EXAMPLE_RECEIVERS}"
    if not receivers:
        missing = f"no file in {options.root} describes the worker; add a worker.yaml, as `gaesignals init` writes it"
        if file:
            missing = f"{file}: SIGNALS_RECEIVERS is not among the env_variables; add it"
        raise ConfigError(f"{missing}, or --receivers MODULE:NAME")
    app = WORKER_APP if config is None or config.app in _ENTRYPOINTS else config.app
    name = _worker_name(environ, config)
    return Service(name, app, origin, "worker", "--worker-port", variables | {"SIGNALS_RECEIVERS": receivers})


def _worker_name(environ: Mapping[str, str], config: ServiceConfig | None) -> str:
    """The name under which tasks and cron address the worker."""
    if environ.get("SIGNALS_SERVICE"):
        return environ["SIGNALS_SERVICE"]
    if config is None:
        return _DEFAULT_WORKER_SERVICE
    addressed = config.variables.get("SIGNALS_SERVICE") or _DEFAULT_WORKER_SERVICE
    if addressed != config.name:
        raise ConfigError(
            f"{config.file}: the service is {config.name}, but the worker's tasks go to {addressed}; "
            f"add SIGNALS_SERVICE: {config.name} to its env_variables"
        )
    return addressed
