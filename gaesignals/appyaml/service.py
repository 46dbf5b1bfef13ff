"""A service of the project, as its yaml file describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaesignals.stores.opening import MEMCACHE, STORE_VARIABLE, is_memcache

from .gunicorn import DEFAULT_APP, Gunicorn
from .uvicorn import app_of

DEFAULT_SERVICE = "default"
RECEIVERS_VARIABLE = "SIGNALS_RECEIVERS"
TASKS_VARIABLE = "SIGNALS_TASKS"
# How an entrypoint names the worker's app: as a wheel has it, and as a checkout does.
WORKER_APPS = ("gaesignals_worker.main:app", "worker.main:app")


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the source root `directory`: `file` is its yaml file, `info` what the SDK's parser read."""

    file: str
    info: Any
    directory: Path = Path()

    @property
    def name(self) -> str:
        """The name that App Engine knows it by."""
        return self.info.service or self.info.module or DEFAULT_SERVICE

    @property
    def environ(self) -> Mapping[str, str]:
        """Its `env_variables`."""
        return {name: str(value) for name, value in (self.info.env_variables or {}).items()}

    @property
    def entrypoint(self) -> str:
        """The command that starts it; empty if App Engine chooses."""
        # The SDK's parser puts exec in front.
        return (self.info.entrypoint or "").removeprefix("exec").strip()

    @property
    def runtime(self) -> str:
        """Such as python312."""
        return self.info.runtime or ""

    @property
    def is_python(self) -> bool:
        """Whether it runs Python 3; 2.7 is another platform, whose apps gunicorn does not serve."""
        return self.runtime.startswith("python3")

    @property
    def is_flexible(self) -> bool:
        """Whether it is for the flexible environment, which has no bundled services."""
        return (self.info.env or "standard") not in ("standard", "gae")

    @property
    def has_memcache(self) -> bool:
        """Whether App Engine gives it the bundled services."""
        return bool(self.info.app_engine_apis)

    @property
    def has_connector(self) -> bool:
        """Whether App Engine connects it to a network of the project's."""
        return bool(self.info.vpc_access_connector)

    @property
    def store(self) -> str:
        """Where it keeps signals, as `SIGNALS_STORE` names it."""
        return self.environ.get(STORE_VARIABLE, "").strip() or MEMCACHE

    @property
    def needs_memcache(self) -> bool:
        """Whether it cannot do without the bundled services: for its store, or for the tasks that it adds."""
        return is_memcache(self.store) or self.environ.get(TASKS_VARIABLE, "").strip() == "app_engine"

    @property
    def is_ours(self) -> bool:
        """Whether it is a worker: names receivers, or starts the worker's app."""
        return RECEIVERS_VARIABLE in self.environ or self.app in WORKER_APPS

    @property
    def server(self) -> Gunicorn | None:
        """The gunicorn that it runs; None if it is another server, or a command of its own."""
        if not self.entrypoint:
            return Gunicorn(DEFAULT_APP)
        return Gunicorn.parse(self.entrypoint, directory=self.directory, environ=self.environ)

    @property
    def app(self) -> str | None:
        """The app that gunicorn or uvicorn serves, as they name it; None if something else is started."""
        return self.server.app if self.server else app_of(self.entrypoint)
