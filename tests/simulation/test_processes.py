"""A few worlds of real processes over real servers; `python -m tests.simulation.processes` runs any number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import program

from .processes import KINDS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_or_repeated_by_processes_that_die_and_servers_that_are_killed(kind: str) -> None:
    """In a process of its own: what forks has no threads beside it."""
    program()
    command = [sys.executable, "-m", "tests.simulation.processes", "1000", "--count", "8", "--on", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
