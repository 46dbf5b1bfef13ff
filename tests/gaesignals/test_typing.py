"""A type checker sees the type of a signal's data where it is sent and where it is handled."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
USAGE = ROOT / "tests" / "typed" / "usage.py"


def test_mypy_refuses_what_is_marked_so_and_nothing_else() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(USAGE)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    lines = USAGE.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    refused = {int(error[1]) for error in re.finditer(r"usage\.py:(\d+): error:", output)}
    assert len(marked) >= 20
    assert refused == marked, output
