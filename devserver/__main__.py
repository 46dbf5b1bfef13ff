"""`python -m devserver`: the cloud on a laptop, until Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import socket
import sys
from collections.abc import Sequence

from devserver.checks import AppCheck, check_files
from devserver.console import Console
from devserver.cron_config import CronJob
from devserver.errors import ConfigError
from devserver.loopback_http import LOOPBACK
from devserver.options import read_options
from devserver.ports import choose_ports
from devserver.services import Services
from devserver.supervisor import StartError, StoppedError, Supervisor

START_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cloud; 0 when it was ended, 2 if it cannot start as things are, 1 if a process does not come up."""
    options = read_options(arguments)
    console = Console()
    try:
        services = Services(options, choose_ports(options.ports), dict(os.environ))
        jobs = check_files(services)
        with Supervisor(console.tell) as supervisor:
            _start(supervisor, services)
            _say_ready(console, services, jobs)
            supervisor.keep_running()
            console.say("Stopping.")
    except (KeyboardInterrupt, StoppedError):
        return 0
    except (ConfigError, StartError) as error:
        print(f"devserver: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def _start(supervisor: Supervisor, services: Services) -> None:
    """Start what others need first, and go on when it is ready."""
    wait_until = functools.partial(supervisor.wait_until, within_seconds=START_SECONDS)
    with contextlib.ExitStack() as stack:
        checks = [AppCheck(command, option=option) for option, command in services.preflights().items()]
        for check in checks:
            stack.callback(check.close)
        supervisor.start(services.api_server(), services.tasks_emulator())
        wait_until(lambda: all(check.is_done for check in checks), name="the import of the apps")
        for check in checks:
            check.raise_problem()
    wait_until(lambda: _answers(services.ports["--api-port"]), name="api")
    wait_until(lambda: _listens(services.ports["--tasks-port"]), name="tasks")
    supervisor.start(services.worker(), services.frontend())
    wait_until(lambda: _answers(services.ports["--worker-port"], is_healthy=True), name="worker")
    wait_until(lambda: _answers(services.ports["--frontend-port"]), name="frontend")
    supervisor.start(services.cron())


def _say_ready(console: Console, services: Services, jobs: Sequence[CronJob]) -> None:
    console.say()
    console.say(f"  Frontend      {services.frontend_url}/")
    console.say(f"  Worker        {services.worker_url}/admin/")
    console.say(f"  App Engine    {services.api_address}   API_HOST and API_PORT of other processes")
    console.say(f"  Cloud Tasks   {services.tasks_address}   their CLOUD_TASKS_EMULATOR_HOST")
    for job in jobs:
        often = services.options.cron_every_seconds
        when = job.schedule_text if often is None else f"every {often:g} seconds"
        console.say(f"  Cron          {when}: {job.service}{job.url}")
    console.say()
    console.say("Ready. Press Ctrl-C to stop.")


def _answers(port: int, *, is_healthy: bool = False) -> bool:
    """Whether HTTP is answered on this port; with 200, if it has to be healthy."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200 or not is_healthy
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=5).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
