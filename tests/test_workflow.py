"""The public workflow runs what a developer runs, on every Python that is supported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]


PROGRAMS = "sudo apt-get update -q && sudo apt-get install -y -q --no-install-recommends "
# What the image of a runner has already.
ON_THE_IMAGE = {"chromium", "fonts-dejavu-core"}


def commands(job: str) -> list[str]:
    return [step["run"] for step in JOBS[job]["steps"] if "run" in step]


def targets() -> set[str]:
    made = [command for job in JOBS for command in commands(job) if not command.startswith(PROGRAMS)]
    assert all(command.startswith("make ") for command in made)
    return {command.split()[-1] for command in made}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_that_runs_tests_installs_first_what_they_start(job: str) -> None:
    installed = re.findall(r"--no-install-recommends (.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    wanted = {program for line in installed for program in line.split()} - ON_THE_IMAGE
    assert "redis-server" in wanted
    assert set(commands(job)[0].removeprefix(PROGRAMS).split()) == wanted


def test_it_runs_targets_of_the_makefile_alone() -> None:
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"test", "check", "build", "site", "wheel-test"} <= targets() <= known


def test_it_runs_the_tests_on_every_python_that_the_package_names() -> None:
    named = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    assert JOBS["test"]["strategy"]["matrix"]["python"] == named


def test_every_target_that_the_contributors_guide_names_is_there() -> None:
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert named <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_contributors_guide_lists_what_the_makefile_has_and_make_help_prints() -> None:
    listed = re.findall(r"^make ([\w-]+) +#", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    made = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(set(made) - {"help", "clean"})
    for path in re.findall(r"ARGS='(tests/\S+)", (ROOT / "CONTRIBUTING.md").read_text()):
        assert (ROOT / path).exists(), path
