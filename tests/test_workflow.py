"""The public workflow runs what a developer runs, on every Python that is supported."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]


def targets() -> set[str]:
    commands = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    assert all(command.startswith("make ") for command in commands)
    return {command.split()[-1] for command in commands}


def test_it_runs_targets_of_the_makefile_alone() -> None:
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"test", "check", "build", "wheel-test"} <= targets() <= known


def test_it_runs_the_tests_on_every_python_that_the_package_names() -> None:
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert JOBS["test"]["strategy"]["matrix"]["python"] == named


def test_every_target_that_the_contributors_guide_names_is_there() -> None:
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert named <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
