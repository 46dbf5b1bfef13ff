"""What has to be right for the local cloud to start; what is not is a ConfigError of one line."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.jobs import CronJob
from gaesignals.appyaml.preflight import Preflight
from gaesignals.errors import InvalidOptionError
from gaesignals.stores.opening import STORE_VARIABLE, is_memcache, open_server

from ..processes.child import Command
from .team import Team

_STORE_SECONDS = 5.0


def check_files(team: Team) -> Sequence[CronJob]:
    """See that there are cron.yaml and queue.yaml, and the worker's queue; return the jobs."""
    project = team.project
    directories = " or ".join(map(str, project.directories))
    for name, found in (("queue.yaml", project.queues), ("cron.yaml", project.jobs)):
        if found is None:
            raise ConfigError(f"there is no {name} in {directories}; `gaesignals check` says what has to be in it")
    if project.queues is not None and team.queue in project.queues.pull:
        raise ConfigError(
            f"queue.yaml: {team.queue} is a pull queue, which the worker cannot use; see `gaesignals check`"
        )
    if project.queues is None or team.queue not in project.queues.usable:
        raise ConfigError(f"queue.yaml has no queue {team.queue!r}, which the worker uses; SIGNALS_QUEUE names it")
    return project.jobs.usable if project.jobs else ()


def check_store(name: str) -> str:
    """See that the store answers; return what to call it, nothing if it is the memcache here."""
    if is_memcache(name):
        return ""
    try:
        store = open_server(name, deadline_seconds=_STORE_SECONDS)
    except InvalidOptionError as error:
        raise ConfigError(f"{STORE_VARIABLE}: {error}") from error
    with contextlib.closing(store):
        if store.server_info() is None:
            raise ConfigError(f"no Valkey or Redis server answers at {store.address}; start it, or leave out --store")
    return store.address


class AppCheck:
    """Imports an app in a process of its own; `close` it.

    `command` is a preflight's, `origin` what names the app: an option of the command line, or a line of a file.
    """

    def __init__(self, command: Command, *, origin: str) -> None:
        self._name = command.name
        self._origin = origin
        self._preflight = Preflight(command.arguments, environ=command.environ, directory=command.directory)

    @property
    def is_done(self) -> bool:
        """Whether the import has ended."""
        return self._preflight.is_done

    def raise_problem(self) -> None:
        """Raise ConfigError if the import failed."""
        said = self._preflight.verdict()
        if isinstance(said, str):
            raise ConfigError(f"{self._name} ends the process that imports it, with {said} ({self._origin})")
        for problem in said["problems"]:
            raise ConfigError(f"{' '.join(problem.split())} ({self._origin})")

    def close(self) -> None:
        """End the import if it has not ended."""
        self._preflight.close()
