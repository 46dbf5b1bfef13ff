"""Loads the services again when a file of theirs changes.

First the new files are checked as a start checks them, in processes of their own. If they are broken, one line says so,
and what runs goes on as it is until the next change. The API server is never touched, so memcache keeps what it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from gaesignals.appyaml.errors import ConfigError

from ..processes.supervisor import Supervisor
from ..processes.watcher import Watcher
from .checks import AppCheck
from .commands import Services


class Reloader:
    """Keeps what `supervisor` runs up to date with the files; `poll` it every now and then, and `close` it.

    `read` makes the services of the files as they are, with the ports of those that run; it raises ConfigError.
    `tell` is given a line for each reload.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        services: Services,
        *,
        watcher: Watcher,
        read: Callable[[Services], Services],
        tell: Callable[[str], None],
    ) -> None:
        self._supervisor = supervisor
        self._services = services
        self._watcher = watcher
        self._read = read
        self._tell = tell
        self._changed: set[str] = set()
        self._next: Services | None = None
        self._checks: list[AppCheck] = []

    def poll(self) -> None:
        """Do what is to be done now, without waiting: begin a check, or load what a check has found good."""
        changed = self._watcher.look()
        if changed:
            self._changed |= changed
            self._begin()
        elif self._next is not None and all(check.is_done for check in self._checks):
            self._conclude(self._next)

    def close(self) -> None:
        """Give up a check that has not ended."""
        for check in self._checks:
            check.close()
        self._checks = []
        self._next = None

    def _begin(self) -> None:
        self.close()
        try:
            self._next = self._read(self._services)
        except ConfigError as error:
            self._refuse(error)
            return
        self._checks = [AppCheck(command, origin=origin) for origin, command in self._next.preflights().items()]

    def _conclude(self, services: Services) -> None:
        try:
            for check in self._checks:
                check.raise_problem()
        except ConfigError as error:
            self._refuse(error)
        else:
            self._load(services)
            self._services = services
            self._changed = set()
        finally:
            self.close()

    def _load(self, services: Services) -> None:
        apps = services.apps()
        self._tell(f"{_first_few(self._changed)} changed: loading {', '.join(app.name for app in apps)} again")
        for service in self._services.team.services:
            if service.label not in [app.name for app in apps]:
                self._supervisor.drop(service.label)
        for app in apps:
            self._supervisor.load_again(app)
        for command, file in ((services.tasks_emulator(), "queue.yaml"), (services.cron(), "cron.yaml")):
            if file in self._changed or not self._supervisor.runs(command):
                self._supervisor.start_again(command)

    def _refuse(self, error: ConfigError) -> None:
        self._tell(f"not loaded: {error}")


def _first_few(names: set[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - len(first)} more" if len(names) > len(first) else "")
