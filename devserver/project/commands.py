"""The processes of the local cloud: what each runs, and in which environment."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gaesignals.appyaml.sdk import dispatch_pattern
from gaesignals.stores.opening import MEMCACHE, STORE_VARIABLE

from ..options import Options
from ..place import CHECKOUT, module
from ..processes.child import Command
from ..processes.front import VARIABLE as FRONT
from ..processes.front import Front, Rule
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
        port, queues = str(self.ports["--tasks-port"]), str(self._file("queue.yaml"))
        return self._python(
            "tasks", "tasks.emulator", "--supervised", "--port", port, "--queues", queues, *self._addresses()
        )

    def cron(self) -> Command:
        """App Engine's cron."""
        arguments = ["--supervised", "--file", str(self._file("cron.yaml")), *self._addresses()]
        if self.options.cron_every_seconds is not None:
            arguments += ["--every", str(self.options.cron_every_seconds)]
        return self._python("cron", "cron.calls", *arguments)

    def app(self, service: Service) -> Command:
        """A service of the application, served much as App Engine does."""
        arguments = ["--config", f"python:{module('processes.gunicorn_settings')}"]
        for address in self._addresses_to_listen_at:
            arguments += ["--bind", f"{address}:{self.ports[service.port_option]}"]
        command = [sys.executable, "-m", "gunicorn", *arguments, service.app]
        return Command(service.label, command, self.service_environ(service), self._paths(service)[0])

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
            **self._base_environ(*self._paths(service)),
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
            FRONT: self._front(service).to_variable(),
        }

    @property
    def _addresses_to_listen_at(self) -> list[str]:
        address = ipaddress.ip_address(self.options.bind)
        other = f"[{address}]" if address.version == 6 else str(address)
        # Cron, tasks and the other services come by loopback, which all addresses of this machine include.
        return [other] if address.is_unspecified or other == LOOPBACK else [LOOPBACK, other]

    def _front(self, service: Service) -> Front:
        running = {each.name: f"{LOOPBACK}:{self.ports[each.port_option]}" for each in self.team.services}
        rules = []
        for rule in self.team.project.rules or ():
            pattern = dispatch_pattern(rule.url)
            parts = (pattern.host, pattern.host_exact, pattern.path, pattern.path_exact)
            rules.append(Rule(*parts, rule.service, running.get(rule.service, "")))
        return Front(service.name, tuple(rules), self.options.hosts, self.options.bind != LOOPBACK)

    def _file(self, name: str) -> Path:
        project = self.team.project
        return project.files.get(name, project.directories[0] / name)

    def _paths(self, service: Service) -> tuple[Path, ...]:
        return service.paths or (self.options.roots[0],)

    def _base_environ(self, *paths: Path) -> dict[str, str]:
        # An option of the person's own gunicorn would change these; output is wanted when it is printed.
        inherited = {name: value for name, value in self.environ.items() if name != "GUNICORN_CMD_ARGS"}
        places = [*map(str, dict.fromkeys(paths)), str(CHECKOUT or ""), inherited.get("PYTHONPATH", "")]
        return inherited | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(place for place in places if place)}

    def _addresses(self) -> list[str]:
        # By number: a name may lead to another interface first.
        addresses = {
            service.name: f"http://{LOOPBACK}:{self.ports[service.port_option]}" for service in self.team.services
        }
        return [word for name, url in addresses.items() for word in ("--service", f"{name}={url}")]

    def _preflight(self, service: Service) -> Command:
        command = [sys.executable, "-m", "gaesignals.appyaml.preflight", service.app]
        return Command(service.app, command, self.service_environ(service), self._paths(service)[0])

    def _python(self, name: str, part: str, *arguments: str) -> Command:
        return Command(
            name,
            [sys.executable, "-m", module(part), *arguments],
            self._base_environ(self.options.roots[0]),
            self.options.roots[0],
        )
