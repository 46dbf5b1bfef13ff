"""The quickstart, followed in an empty directory as it is written: its files, its commands, and what they print."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, Cloud, wait_until

PAGE = (ROOT / "docs" / "quickstart.md").read_text()
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
PROJECT_WIDE = ("cron.yaml", "queue.yaml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory after step 2."""
    for name, text in FILES.items():
        if name not in PROJECT_WIDE:
            (tmp_path / name).write_text(text)
    return tmp_path


def run(root: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shown(command: str) -> str:
    """What the page shows for a command."""
    found = re.search(rf"^\$ {re.escape(command)}\n(.*?)^(?:\$|```)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, command
    return found[1]


def prepare(root: Path) -> str:
    """Step 3; what `init` prints."""
    printed = run(root, "gaesignals", "init", "--location", "europe-west1")
    for name in PROJECT_WIDE:
        (root / name).write_text(FILES[name])
    return printed


def test_has_the_files_that_it_speaks_of() -> None:
    assert list(FILES) == [
        "app.yaml",
        "requirements.txt",
        "signals.py",
        "main.py",
        "cron.yaml",
        "queue.yaml",
        "test_orders.py",
    ]


def test_init_prints_the_entries_that_the_page_shows_and_check_finds_no_problem(root: Path) -> None:
    printed = prepare(root)
    for name in PROJECT_WIDE:
        assert FILES[name] in printed
    assert "SIGNALS_RECEIVERS: signals:receivers\n" in (root / "worker.yaml").read_text()
    assert run(root, "gaesignals", "check") == shown("gaesignals check")


def test_the_local_cloud_runs_it_and_a_change_is_loaded(root: Path, start: Callable[..., Cloud]) -> None:
    prepare(root)
    cloud = start(str(root), "--cron-every", "86400", program=("gaesignals", "local"))
    cloud.wait_until_ready()
    answer = cloud.request("Frontend", "POST", "/orders/7/pay")
    assert answer == shown("curl -X POST http://localhost:8080/orders/7/pay")
    lines = re.findall(r"^(?:frontend|worker  ) \| .*$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    wait_until(lambda: all(cloud.has_printed(line) for line in lines))


def test_its_test_passes(root: Path) -> None:
    printed = run(root, "pytest", "-q", "-p", "gaesignals.pytest_plugin", "-p", "no:cacheprovider", "test_orders.py")
    assert shown("python -m pytest -q test_orders.py").strip() in printed
