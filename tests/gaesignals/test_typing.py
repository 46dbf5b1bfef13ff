"""A type checker sees the type of a signal's data where it is sent and where it is handled."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
USAGE = ROOT / "tests" / "typed" / "usage.py"


def marked() -> set[int]:
    lines = USAGE.read_text().splitlines()
    found = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    assert len(found) >= 20
    return found


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_mypy_refuses_what_is_marked_so_and_nothing_else() -> None:
    output = output_of(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(USAGE))
    refused = {int(error[1]) for error in re.finditer(r"usage\.py:(\d+): error:", output)}
    assert refused == marked(), output


def test_pyright_refuses_what_is_marked_so_and_nothing_else(tmp_path: Path) -> None:
    """As its rules are in editors: the package that is used here has stricter ones of its own by default."""
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(
        json.dumps({"include": [str(USAGE)], "extraPaths": [str(ROOT)], "typeCheckingMode": "standard"})
    )
    options = ("--project", str(settings), "--pythonpath", sys.executable, "--outputjson")
    output = output_of(sys.executable, "-m", "basedpyright", *options)
    found = json.loads(output)["generalDiagnostics"]
    assert {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"} == marked(), output
