"""Which changes to a source root are seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devserver.processes.watcher import Watcher


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    for name in ("main.py", "app.yaml", "shop/a.py"):
        (tmp_path / name).write_text("x")
    return tmp_path


def test_nothing_is_seen_where_nothing_changes(root: Path) -> None:
    assert Watcher(root).look() == set()


def test_a_change_an_addition_and_a_removal_are_each_seen_once(root: Path) -> None:
    watcher = Watcher(root)
    (root / "main.py").write_text("longer")
    (root / "shop" / "new.py").write_text("")
    (root / "app.yaml").unlink()
    assert watcher.look() == {"main.py", os.path.join("shop", "new.py"), "app.yaml"}
    assert watcher.look() == set()


def test_a_change_that_keeps_the_size_is_seen(root: Path) -> None:
    watcher = Watcher(root)
    before = (root / "main.py").stat()
    (root / "main.py").write_text("y")
    os.utime(root / "main.py", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert watcher.look() == {"main.py"}


@pytest.mark.parametrize(
    "name", ["notes.txt", ".hidden.py", ".git/a.py", "node_modules/a.py", "env/lib/a.py", "__pycache__/a.py"]
)
def test_what_no_service_is_made_of_is_left_out(root: Path, name: str) -> None:
    (root / "env").mkdir()
    (root / "env" / "pyvenv.cfg").write_text("")
    watcher = Watcher(root)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("")
    assert watcher.look() == set()


def test_a_link_that_leads_nowhere_disturbs_nothing(root: Path) -> None:
    (root / "link.py").symlink_to(root / "gone.py")
    assert Watcher(root).look() == set()
