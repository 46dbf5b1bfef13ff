"""The cloud on a laptop: its processes, from the first check of the files until Ctrl-C."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.jobs import CronJob

from .options import Options
from .place import PROGRAM
from .processes.console import Console, harmless
from .processes.ports import LOOPBACK, choose_ports
from .processes.supervisor import StartError, StoppedError, Supervisor
from .processes.watcher import Watcher
from .project.checks import AppCheck, check_files, check_store
from .project.commands import Services
from .project.reloader import Reloader
from .project.team import read_team

START_SECONDS = 60.0
POLL_SECONDS = 0.5


def run(options: Options) -> int:
    """Run the cloud; 0 when it was ended, 2 if it cannot start as things are, 1 if a process does not come up."""
    environ = dict(os.environ)
    console = Console()
    try:
        services = _with_ports(Services(options, read_team(options, environ), {}, environ))
        jobs = check_files(services.team)
        store = check_store(services.store)
        watcher = Watcher(*options.roots)
        with Supervisor(console.tell) as supervisor:
            tell = functools.partial(console.tell, "cloud")
            _start(supervisor, services, tell)
            _say_ready(console, services, jobs, store)
            reloader = Reloader(supervisor, services, watcher=watcher, read=_read_again, tell=tell)
            with contextlib.closing(reloader):
                supervisor.keep_running(reloader.poll, poll_seconds=POLL_SECONDS)
            console.say("Stopping.")
    except (KeyboardInterrupt, StoppedError):
        return 0
    except (ConfigError, StartError) as error:
        print(f"{PROGRAM}: {harmless(' '.join(str(error).split()))}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def _read_again(services: Services) -> Services:
    """Read the files once more, keeping the ports that there are."""
    again = _with_ports(replace(services, team=read_team(services.options, services.environ)))
    check_files(again.team)
    return again


def _with_ports(services: Services) -> Services:
    """Choose the ports that are not chosen yet."""
    wanted = {**services.options.ports, **{service.port_option: 0 for service in services.team.others}}
    missing = {option: port for option, port in wanted.items() if option not in services.ports}
    return replace(services, ports={**services.ports, **choose_ports(missing)})


def _start(supervisor: Supervisor, services: Services, tell: Callable[[str], None]) -> None:
    """Start what others need first, and go on when it is ready; tell of each step."""
    wait_until = functools.partial(supervisor.wait_until, within_seconds=START_SECONDS)
    labels = ", ".join(service.label for service in services.team.services)
    tell(f"importing the apps of {labels}; starting memcache and Cloud Tasks")
    with contextlib.ExitStack() as stack:
        checks = [AppCheck(command, origin=origin) for origin, command in services.preflights().items()]
        for check in checks:
            stack.callback(check.close)
        supervisor.start(services.api_server(), services.tasks_emulator())
        wait_until(lambda: all(check.is_done for check in checks), name="the import of the apps")
        for check in checks:
            check.raise_problem()
    wait_until(lambda: _answers(services.ports["--api-port"]), name="api")
    wait_until(lambda: _listens(services.ports["--tasks-port"]), name="tasks")
    tell(f"starting {labels}")
    supervisor.start(*services.apps())
    for service in services.team.services:
        is_worker, port = service is services.team.worker, services.ports[service.port_option]
        wait_until(functools.partial(_answers, port, is_healthy=is_worker), name=service.label)
    supervisor.start(services.cron())


def _say_ready(console: Console, services: Services, jobs: Sequence[CronJob], store: str) -> None:
    console.say()
    if services.team.frontend is not None:
        console.say(f"  Frontend      {services.url(services.team.frontend)}/")
    console.say(f"  Worker        {services.worker_url}/admin/")
    for service in services.team.others:
        console.say(f"  {service.name:<12}  {services.url(service)}/")
    console.say(f"  App Engine    {services.api_address}   API_HOST and API_PORT of other processes")
    console.say(f"  Cloud Tasks   {services.tasks_address}   their CLOUD_TASKS_EMULATOR_HOST")
    if store:
        console.say(f"  Store         {store}   where signals wait, in place of memcache")
    for job in jobs:
        often = services.options.cron_every_seconds
        when = job.schedule_text if often is None else f"every {often:g} seconds"
        console.say(f"  Cron          {when}: {job.service}{job.url}")
    if services.options.bind != LOOPBACK:
        console.say(f"  Whoever reaches {services.options.bind} may use all of it, the worker's page included")
    for notice in services.team.notices:
        console.say(f"  {notice}")
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
