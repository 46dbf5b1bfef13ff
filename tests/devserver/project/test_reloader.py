"""A change is checked before it is loaded; the processes are recorded here, and the checks are real."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devserver.options import read_options
from devserver.processes.child import Command
from devserver.processes.watcher import Watcher
from devserver.project.commands import Services
from devserver.project.reloader import Reloader
from devserver.project.team import Service, read_team
from gaesignals.appyaml.errors import ConfigError

from ..conftest import wait_until

PORTS = dict.fromkeys(["--frontend-port", "--worker-port", "--api-port", "--tasks-port", "api"], 1)


class Supervisor:
    """Records what it is told to do."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.has_all = True

    def load_again(self, command: Command) -> None:
        self.did.append(f"load {command.name}")

    def start_again(self, command: Command) -> None:
        self.did.append(f"start {command.name}")

    def drop(self, name: str) -> None:
        self.did.append(f"drop {name}")

    def runs(self, command: Command) -> bool:
        return self.has_all


class Quick(Services):
    """Services whose check is over at once, with the verdict that is in a file of the root."""

    def preflights(self) -> dict[str, Command]:
        code = "import json; problems = open('verdict.py').readlines(); "
        code += "print('preflight:', json.dumps({'problems': problems}))"
        return {"app.yaml": Command("main:app", [sys.executable, "-c", code], {}, self.options.roots[0])}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "verdict.py").write_text("")
    return tmp_path


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def services(root: Path) -> Quick:
    options = read_options(["--root", str(root), "--frontend", "main:app", "--receivers", "r:receivers"])
    return Quick(options, read_team(options, {}), PORTS, {})


@pytest.fixture
def make(supervisor: Any, services: Quick, root: Path, told: list[str]) -> Callable[..., Reloader]:
    def make(read: Callable[[Services], Services] = lambda services: services) -> Reloader:
        return Reloader(supervisor, services, watcher=Watcher(root), read=read, tell=told.append)

    return make


def poll_until_told(reloader: Reloader, told: list[str]) -> None:
    before = len(told)
    wait_until(lambda: (reloader.poll(), len(told) > before)[1])
    reloader.close()


def test_nothing_is_done_where_nothing_changes(make: Any, supervisor: Supervisor, told: list[str]) -> None:
    make().poll()
    assert (supervisor.did, told) == ([], [])


def test_a_good_change_is_loaded(make: Any, root: Path, supervisor: Supervisor, told: list[str]) -> None:
    reloader = make()
    (root / "a.py").write_text("")
    poll_until_told(reloader, told)
    assert told == ["a.py changed: loading worker, frontend again"]
    assert supervisor.did == ["load worker", "load frontend"]


def test_a_broken_change_is_one_line_and_the_next_good_one_is_loaded(
    make: Any, root: Path, supervisor: Supervisor, told: list[str]
) -> None:
    reloader = make()
    (root / "verdict.py").write_text("it is broken")
    poll_until_told(reloader, told)
    assert (told, supervisor.did) == (["not loaded: it is broken (app.yaml)"], [])
    (root / "verdict.py").write_text("")
    poll_until_told(reloader, told)
    assert supervisor.did == ["load worker", "load frontend"]


def test_files_that_cannot_be_read_are_one_line(make: Any, root: Path, supervisor: Supervisor, told: list[str]) -> None:
    def refuse(services: Services) -> Services:
        raise ConfigError("app.yaml: line 1: no")

    reloader = make(refuse)
    (root / "app.yaml").write_text("[")
    reloader.poll()
    reloader.poll()
    assert (told, supervisor.did) == (["not loaded: app.yaml: line 1: no"], [])


@pytest.mark.parametrize(("file", "did"), [("queue.yaml", "start tasks"), ("cron.yaml", "start cron")])
def test_what_reads_a_file_is_started_again_for_it(
    make: Any, root: Path, supervisor: Supervisor, told: list[str], file: str, did: str
) -> None:
    reloader = make()
    (root / file).write_text("")
    poll_until_told(reloader, told)
    assert supervisor.did == ["load worker", "load frontend", did]


def test_a_service_that_is_gone_is_ended_and_others_learn_of_it(
    supervisor: Any, services: Quick, root: Path, told: list[str]
) -> None:
    api = Service("api", "main:app", "api.yaml", "api service", "api")
    before = replace(services, team=replace(services.team, others=(api,)))
    reloader = Reloader(supervisor, before, watcher=Watcher(root), read=lambda _: services, tell=told.append)
    supervisor.has_all = False
    (root / "api.yaml").write_text("")
    poll_until_told(reloader, told)
    assert supervisor.did == ["drop api service", "load worker", "load frontend", "start tasks", "start cron"]
