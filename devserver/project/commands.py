"""The processes of the local cloud: what each runs, and in which environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from gaesignals.stores.opening import MEMCACHE, STORE_VARIABLE

from ..options import Options
from ..place import CHECKOUT, module
from ..processes.child import Command
from ..processes.ports import LOOPBACK
from .team import Service, Team

PROJECT = "localdev"
LOCATION = "local"


@dataclass(frozen=True, slots=True)
class Services:
    """The cloud's addresses under `options`, with all `ports` chosen, and the commands that make it.

    `environ` is what the processes inherit; a variable in it counts more than the same one in a service's file.
    """

    options: Options
    team: Team
    ports: Mapping[str, int]
    environ: Mapping[str, str]

    @property
    def worker_url(self) -> str:
        return self.url(self.team.worker)

    def url(self, service: Service) -> str:
        """The address of a service for people."""
        return f"http://localhost:{self.ports[service.port_option]}"

    @property
    def api_address(self) -> str:
        return f"{LOOPBACK}:{self.ports['--api-port']}"

    @property
    def tasks_address(self) -> str:
        return f"{LOOPBACK}:{self.ports['--tasks-port']}"

    @property
    def store(self) -> str:
        """Where signals are kept: what the files say is for App Engine, and out of reach from here."""
        return self.options.store or self.environ.get(STORE_VARIABLE, "").strip() or MEMCACHE

    def api_server(self) -> Command:
        """App Engine's API server, whose queues are those of the Cloud Tasks emulator."""
        port = str(self.ports["--api-port"])
        return self._python("api", "appengine.server", "--supervised", "--port", port, "--tasks", self.tasks_address)

    def tasks_emulator(self) -> Command:
        """The Cloud Tasks emulator."""
        port, queues = str(self.ports["--tasks-port"]), str(self.options.root / "queue.yaml")
        return self._python(
            "tasks", "tasks.emulator", "--supervised", "--port", port, "--queues", queues, *self._addresses()
        )

    def cron(self) -> Command:
        """App Engine's cron."""
        arguments = ["--supervised", "--file", str(self.options.root / "cron.yaml"), *self._addresses()]
        if self.options.cron_every_seconds is not None:
            arguments += ["--every", str(self.options.cron_every_seconds)]
        return self._python("cron", "cron.calls", *arguments)

    def app(self, service: Service) -> Command:
        """A service of the application, served much as App Engine does."""
        arguments = [
            "--config",
            f"python:{module('processes.gunicorn_settings')}",
            "--bind",
            f"{LOOPBACK}:{self.ports[service.port_option]}",
        ]
        command = [sys.executable, "-m", "gunicorn", *arguments, service.app]
        return Command(service.label, command, self.service_environ(service), self.options.root)

    def apps(self) -> list[Command]:
        """All services of the application, the worker first."""
        return [self.app(service) for service in self.team.services]

    def preflights(self) -> Mapping[str, Command]:
        """The check of each app, by what names it."""
        return {service.origin: self._preflight(service) for service in self.team.services}

    def service_environ(self, service: Service) -> Mapping[str, str]:
        """The environment of a service; the example's page links to the worker."""
        return {
            **service.variables,
            **self._base_environ(),
            # As it was chosen: the command line counts more than the shell.
            **{name: service.variables[name] for name in ("SIGNALS_RECEIVERS",) if name in service.variables},
            "GAE_ENV": "localdev",
            "GAE_APPLICATION": PROJECT,
            "GAE_SERVICE": service.name,
            "GAE_VERSION": "local",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "SIGNALS_LOCATION": LOCATION,
            STORE_VARIABLE: self.store,
            # Tasks from senders name the service they are for by a host of it.
            "DEFAULT_VERSION_HOSTNAME": f"localhost:{self.ports['--frontend-port']}",
            "CLOUD_TASKS_EMULATOR_HOST": self.tasks_address,
            "API_HOST": LOOPBACK,
            "API_PORT": str(self.ports["--api-port"]),
            "PORT": str(self.ports[service.port_option]),
            "SHOP_WORKER_URL": self.worker_url,
        }

    def _base_environ(self) -> dict[str, str]:
        # An option of the person's own gunicorn would change these; output is wanted when it is printed.
        inherited = {name: value for name, value in self.environ.items() if name != "GUNICORN_CMD_ARGS"}
        paths = [str(self.options.root), str(CHECKOUT or ""), inherited.get("PYTHONPATH", "")]
        return inherited | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def _addresses(self) -> list[str]:
        # By number: a name may lead to another interface first.
        addresses = {
            service.name: f"http://{LOOPBACK}:{self.ports[service.port_option]}" for service in self.team.services
        }
        return [word for name, url in addresses.items() for word in ("--service", f"{name}={url}")]

    def _preflight(self, service: Service) -> Command:
        command = [sys.executable, "-m", "gaesignals.appyaml.preflight", service.app]
        return Command(service.app, command, self.service_environ(service), self.options.root)

    def _python(self, name: str, part: str, *arguments: str) -> Command:
        return Command(name, [sys.executable, "-m", module(part), *arguments], self._base_environ(), self.options.root)
