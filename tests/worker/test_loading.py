"""Importing what a setting names, and one line for whatever keeps it from being imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaesignals.receivers import Receivers
from worker.config import SettingsError
from worker.loading import load_receivers


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = tmp_path / "team_signals"
    directory.mkdir()
    (directory / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield directory
    for name in [name for name in sys.modules if name.partition(".")[0] == "team_signals"]:
        del sys.modules[name]


def load_problem(path: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_receivers(path)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def test_receivers_are_imported(package: Path) -> None:
    (package / "mapping.py").write_text("from gaesignals.receivers import Receivers\nreceivers = Receivers()\n")
    assert isinstance(load_receivers("team_signals.mapping:receivers"), Receivers)


def test_a_missing_module_is_one_clear_line(package: Path) -> None:
    assert "there is no module team_signals.maping" in load_problem("team_signals.maping:receivers")
    assert "there is no module nowhere_at_all" in load_problem("nowhere_at_all.x:receivers")


def test_a_module_that_imports_something_missing_is_told_apart_from_a_missing_one(package: Path) -> None:
    (package / "mapping.py").write_text("import not_installed_here\n")
    assert "imports not_installed_here, which is not installed" in load_problem("team_signals.mapping:receivers")


def test_a_module_that_fails_to_import_says_with_what(package: Path) -> None:
    (package / "mapping.py").write_text("raise RuntimeError('no\\ndatabase')\n")
    problem = load_problem("team_signals.mapping:receivers")
    assert problem.endswith("importing it raised RuntimeError: no database (mapping.py, line 1)")


def test_what_is_refused_while_a_module_is_imported_says_where_in_it(package: Path) -> None:
    (package / "mapping.py").write_text(
        "from gaesignals import Receivers\nreceivers = Receivers()\nreceivers.connect('a', lambda: None)\n"
    )
    assert load_problem("team_signals.mapping:receivers").endswith("(mapping.py, line 3)")


@pytest.mark.parametrize(("source", "ending"), [("def f(:\n", "(mapping.py, line 1)"), ("\0", "null bytes")])
def test_the_place_of_what_cannot_be_read_is_said_once_at_most(package: Path, source: str, ending: str) -> None:
    (package / "mapping.py").write_text(source)
    assert load_problem("team_signals.mapping:receivers").endswith(ending)


def test_a_missing_attribute_is_told_what_the_module_has(package: Path) -> None:
    (package / "mapping.py").write_text("from gaesignals.receivers import Receivers\nsignals = Receivers()\n")
    assert "has no receivers; it has signals" in load_problem("team_signals.mapping:receivers")
    (package / "empty.py").touch()
    assert "add `receivers = Receivers()` there" in load_problem("team_signals.empty:receivers")


def test_something_else_than_receivers_is_refused(package: Path) -> None:
    (package / "mapping.py").write_text("receivers = {}\n")
    assert "that is a dict; name a gaesignals.Receivers" in load_problem("team_signals.mapping:receivers")
