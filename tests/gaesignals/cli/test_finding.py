"""Finding the `Receivers` of a source tree without importing it."""

from __future__ import annotations

from pathlib import Path

from gaesignals.cli.finding import find_receivers


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
