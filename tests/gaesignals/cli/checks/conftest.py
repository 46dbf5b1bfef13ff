"""A directory that deploys well, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.cli.entries import cron_entry, queue_entry, worker_yaml

GOOD = {
    "worker.yaml": worker_yaml("shop.receivers:receivers", "europe-west1"),
    "cron.yaml": f"cron:\n{cron_entry('worker')}",
    "queue.yaml": f"queue:\n{queue_entry()}",
    # What an app.yaml would serve, if there were one.
    "main.py": "import gaesignals\n",
    "requirements.txt": "gaesignals[worker]==0.1\n",
    "shop/__init__.py": "",
    "shop/receivers.py": (
        "from gaesignals import Receivers\n"
        "receivers = Receivers()\n"
        "receivers.connect('order_paid', lambda data: None, id='ship')\n"
    ),
}


class Directory:
    """The directory at `path`; it deploys well until it is changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for file, text in GOOD.items():
            self.write(file, text)

    def write(self, file: str, text: str) -> None:
        (self.path / file).parent.mkdir(exist_ok=True)
        (self.path / file).write_text(text)

    def change(self, file: str, old: str, new: str) -> None:
        text = (self.path / file).read_text()
        assert old in text, "the change changes nothing"
        self.write(file, text.replace(old, new))

    def remove(self, file: str) -> None:
        (self.path / file).unlink()

    def problems(self, check: Callable[[Project], Iterable[Problem]]) -> list[Problem]:
        project = Project.read(self.path)
        return [*project.problems, *check(project)]

    def only(self, check: Callable[[Project], Iterable[Problem]]) -> Problem:
        """The only problem that there is."""
        (problem,) = self.problems(check)
        assert problem.remedy
        assert "\n" not in problem.what
        return problem


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)
