"""Finding the `Receivers` of a source tree without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaesignals.cli.finding import find_receivers, imports_library, ways_of_sending


def write(directory: Path, **modules: str) -> None:
    for name, text in modules.items():
        path = directory.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_finds_every_name_at_the_top_of_a_module(tmp_path: Path) -> None:
    write(
        tmp_path,
        one="from gaesignals import Receivers\nreceivers = Receivers()\n",
        pack__two="import gaesignals\nmine: gaesignals.Receivers = gaesignals.Receivers(on_dead=print)\n",
    )
    (tmp_path / "pack/__init__.py").write_text("from gaesignals import Receivers\na = b = Receivers()\n")
    assert find_receivers(tmp_path) == ["one:receivers", "pack.two:mine", "pack:a", "pack:b"]


def test_finds_those_of_djangos_tasks(tmp_path: Path) -> None:
    write(tmp_path, pack__one="from gaesignals.integrations.django import task_receivers\nmine = task_receivers()\n")
    assert find_receivers(tmp_path) == ["pack.one:mine"]


def test_finds_in_which_ways_djangos_tasks_are_sent(tmp_path: Path) -> None:
    ours, other = '"gaesignals.integrations.django.SignalsBackend"', '"django.tasks.backends.dummy.DummyBackend"'
    write(
        tmp_path,
        settings=f"""TASKS = {{
            "default": {{"BACKEND": {ours}, "OPTIONS": {{"durable": True, "wake": False, **MORE}}}},
            "dummy": {{"BACKEND": {other}, "OPTIONS": {{"transactional": True}}}},
            "plain": {{"BACKEND": {ours}}},
        }}""",
    )
    assert list(ways_of_sending(tmp_path)) == ["durable"]
    write(tmp_path, views="ship.using(run_after=tomorrow).enqueue(7)\n")
    assert sorted(ways_of_sending(tmp_path)) == ["at", "durable"]


def test_leaves_out_what_is_not_deployed_or_not_there_when_the_module_is_imported(tmp_path: Path) -> None:
    found = "receivers = Receivers()\n"
    write(
        tmp_path,
        tests__one=found,
        venv__lib__site_packages__x=f"def f():\n    {found}",
        function=f"def f():\n    {found}",
        broken=f"{found}def",
        other="receivers = Senders()\nx = Receivers\ny: int\n",
    )
    hidden = tmp_path / ".venv"
    hidden.mkdir()
    (hidden / "x.py").write_text(found)
    assert find_receivers(tmp_path) == []


@pytest.mark.parametrize(
    ("app", "imports"),
    [
        ("direct:app", True),
        ("shop.main:app", True),
        ("shop.alone:app", False),
        ("alone:app", False),
        ("gone:app", False),
        ("mysite:application", True),
        (None, True),
    ],
)
def test_an_app_imports_the_library_if_one_of_its_modules_does(tmp_path: Path, app: str | None, imports: bool) -> None:
    write(
        tmp_path,
        direct="from gaesignals import Signal\n",
        alone="import alone\nimport json\n",
        mysite="import django\n",
        broken="import (\n",
        shop__main="import broken\nfrom . import views\n",
        shop__views="def view():\n    from .signals import paid\n",
        shop__signals="import gaesignals.testing\n",
        shop__alone="import shop.other\n",
    )
    assert imports_library(tmp_path, app) is imports


def test_nobody_imports_a_library_that_is_nowhere(tmp_path: Path) -> None:
    write(tmp_path, mysite="import django\n", gaesignals2="import gaesignals2\n")
    assert not imports_library(tmp_path, "mysite:application")
    assert not imports_library(tmp_path, None)
