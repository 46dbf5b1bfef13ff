"""The processes of the local cloud: what each runs, and in which environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devserver.child import Command
from devserver.loopback_http import LOOPBACK
from devserver.options import Options
from devserver.outgoing import DEFAULT_SERVICE

PROJECT = "localdev"
LOCATION = "local"
WORKER_APP = "devserver.worker:app"

_REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Services:
    """The cloud's addresses under `options`, with all `ports` chosen, and the commands that make it.

    `environ` is what the processes inherit.
    """

    options: Options
    ports: Mapping[str, int]
    environ: Mapping[str, str]

    @property
    def frontend_url(self) -> str:
        return f"http://localhost:{self.ports['--frontend-port']}"

    @property
    def worker_url(self) -> str:
        return f"http://localhost:{self.ports['--worker-port']}"

    @property
    def api_address(self) -> str:
        return f"{LOOPBACK}:{self.ports['--api-port']}"

    @property
    def tasks_address(self) -> str:
        return f"{LOOPBACK}:{self.ports['--tasks-port']}"

    @property
    def worker_service(self) -> str:
        """The name under which tasks and cron address the worker."""
        return self.environ.get("SIGNALS_SERVICE") or "worker"

    @property
    def queue(self) -> str:
        """The queue that the worker's tasks go to."""
        return self.environ.get("SIGNALS_QUEUE") or "signals"

    def api_server(self) -> Command:
        """App Engine's API server."""
        return self._python("api", "devserver.api_server", "--supervised", "--port", str(self.ports["--api-port"]))

    def tasks_emulator(self) -> Command:
        """The Cloud Tasks emulator."""
        port, queues = str(self.ports["--tasks-port"]), str(self.options.root / "queue.yaml")
        return self._python(
            "tasks", "devserver.tasks_emulator", "--supervised", "--port", port, "--queues", queues, *self._addresses()
        )

    def cron(self) -> Command:
        """App Engine's cron."""
        arguments = ["--supervised", "--file", str(self.options.root / "cron.yaml"), *self._addresses()]
        if self.options.cron_every_seconds is not None:
            arguments += ["--every", str(self.options.cron_every_seconds)]
        return self._python("cron", "devserver.cron", *arguments)

    def worker(self) -> Command:
        """The worker, as app.yaml starts it."""
        return self._gunicorn("worker", WORKER_APP, "--worker-port", self.worker_environ())

    def frontend(self) -> Command:
        """The frontend, the app's default service."""
        return self._gunicorn("frontend", self.options.frontend, "--frontend-port", self.frontend_environ())

    def preflights(self) -> Mapping[str, Command]:
        """The checks of both apps, by the option that names what they load."""
        return {
            f"--receivers {self.options.receivers}": self._preflight(WORKER_APP, self.worker_environ()),
            f"--frontend {self.options.frontend}": self._preflight(self.options.frontend, self.frontend_environ()),
        }

    def worker_environ(self) -> Mapping[str, str]:
        """The environment of the worker."""
        own = {"SIGNALS_RECEIVERS": self.options.receivers}
        return self._service_environ(self.worker_service, "--worker-port") | own

    def frontend_environ(self) -> Mapping[str, str]:
        """The environment of the frontend; the example's page links to the worker."""
        return self._service_environ(DEFAULT_SERVICE, "--frontend-port") | {"SHOP_WORKER_URL": self.worker_url}

    def _service_environ(self, service: str, port_option: str) -> dict[str, str]:
        return self._base_environ() | {
            "GAE_ENV": "localdev",
            "GAE_APPLICATION": PROJECT,
            "GAE_SERVICE": service,
            "GAE_VERSION": "local",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "SIGNALS_LOCATION": LOCATION,
            "CLOUD_TASKS_EMULATOR_HOST": self.tasks_address,
            "API_HOST": LOOPBACK,
            "API_PORT": str(self.ports["--api-port"]),
            "PORT": str(self.ports[port_option]),
        }

    def _base_environ(self) -> dict[str, str]:
        # An option of the person's own gunicorn would change these; output is wanted when it is printed.
        inherited = {name: value for name, value in self.environ.items() if name != "GUNICORN_CMD_ARGS"}
        paths = [str(self.options.root), str(_REPOSITORY), inherited.get("PYTHONPATH", "")]
        return inherited | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(path for path in paths if path)}

    def _addresses(self) -> list[str]:
        # By number: a name may lead to another interface first.
        addresses = {
            DEFAULT_SERVICE: f"http://{LOOPBACK}:{self.ports['--frontend-port']}",
            self.worker_service: f"http://{LOOPBACK}:{self.ports['--worker-port']}",
        }
        return [word for name, url in addresses.items() for word in ("--service", f"{name}={url}")]

    def _preflight(self, app: str, environ: Mapping[str, str]) -> Command:
        return Command(app, [sys.executable, "-m", "devserver.preflight", app], environ, self.options.root)

    def _python(self, name: str, module: str, *arguments: str) -> Command:
        return Command(name, [sys.executable, "-m", module, *arguments], self._base_environ(), self.options.root)

    def _gunicorn(self, name: str, app: str, port_option: str, environ: Mapping[str, str]) -> Command:
        arguments = [
            "--config",
            "python:devserver.gunicorn_settings",
            "--bind",
            f"{LOOPBACK}:{self.ports[port_option]}",
        ]
        return Command(name, [sys.executable, "-m", "gunicorn", *arguments, app], environ, self.options.root)
