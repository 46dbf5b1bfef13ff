"""`gaesignals check` as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from .checks.conftest import Directory
from .conftest import Shell

ROOT = Path(__file__).parents[3]


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_what_deploys_well_is_0(shell: Shell, directory: Directory) -> None:
    outcome = shell("check", str(directory.path))
    assert outcome.code == 0
    assert outcome.lines == ["no problem found (worker.yaml, cron.yaml, queue.yaml)"]


def test_what_is_deployed_from_here_deploys_well(shell: Shell) -> None:
    outcome = shell("check", str(ROOT))
    assert (outcome.code, outcome.lines) == (0, ["no problem found (app.yaml, cron.yaml, queue.yaml)"])


def test_each_problem_is_a_line_with_its_remedy_below_and_makes_it_1(shell: Shell, directory: Directory) -> None:
    directory.change("queue.yaml", "  rate: 50/s\n", "")
    directory.change("cron.yaml", "every 1 minutes", "every banana\x07")
    outcome = shell("check", str(directory.path))
    assert outcome.code == 1
    assert outcome.lines[0].startswith("cron.yaml: App Engine refuses the file")
    assert outcome.lines[2:] == [
        "queue.yaml: queue signals has no rate, without which it cannot be deployed",
        "    -> add `rate: 50/s`",
        "2 problems (worker.yaml, cron.yaml, queue.yaml)",
    ]


def test_json_has_every_field(shell: Shell, directory: Directory) -> None:
    directory.change("queue.yaml", "  rate: 50/s\n", "")
    outcome = shell("check", "--json", str(directory.path))
    assert outcome.code == 1
    assert outcome.json == {
        "files": ["worker.yaml", "cron.yaml", "queue.yaml"],
        "problems": [
            {
                "file": "queue.yaml",
                "code": "queue-rate",
                "what": "queue signals has no rate, without which it cannot be deployed",
                "remedy": "add `rate: 50/s`",
            }
        ],
    }


def test_a_directory_without_a_worker_is_told_how_to_get_one(shell: Shell, directory: Directory) -> None:
    directory.remove("worker.yaml")
    outcome = shell("check", str(directory.path))
    assert outcome.code == 1
    assert "no service here is the worker" in outcome.lines[0]
    assert "gaesignals init" in outcome.lines[1]


def test_other_receivers_can_be_looked_at(shell: Shell, directory: Directory) -> None:
    outcome = shell("check", "--receivers", "shop.nowhere:receivers", str(directory.path))
    assert outcome.code == 1
    assert "there is no module shop.nowhere" in outcome.output


def test_what_is_no_directory_is_one_line(shell: Shell, directory: Directory) -> None:
    outcome = shell("check", str(directory.path / "nowhere"))
    assert (outcome.code, outcome.output) == (1, "")
    assert outcome.errors == f"gaesignals: {directory.path / 'nowhere'} is no directory\n"


def test_receivers_that_cannot_be_named_so_are_a_usage_error(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        shell("check", "--receivers", "shop/receivers.py")
    assert ended.value.code == 2
    assert "is not package.module:name" in capsys.readouterr().err
