"""What is published: built, looked into, and installed where no source is.

`make wheel-test` does it with the wheel's own dependencies, in a fresh environment, and runs all tests of the library
and the worker there. Without that, some of them run, and dependencies come from this environment.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .installed import IS_FRESH, PACKAGES, ROOT, Installed

NAMES = {"gaesignals": "gaesignals", "worker": "gaesignals_worker", "devserver": "gaesignals_devserver"}
ALL_TESTS = ["tests/gaesignals", "tests/contract", "tests/worker"]
SOME_TESTS = [
    "tests/gaesignals/test_signal.py",
    "tests/gaesignals/test_middleware.py",
    "tests/contract",
    "tests/worker/test_app.py",
]
# One reads the repository, not the package.
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--ignore", "tests/worker/test_deployment.py")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class TestWheel:
    def test_has_every_file_of_the_packages_and_nothing_else(self, built: tuple[Path, Path]) -> None:
        sources = {
            f"{NAMES[package]}/{path.relative_to(ROOT / package).as_posix()}": path.read_bytes()
            for package in PACKAGES
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        shipped = contents(built[1])
        assert {name: data for name, data in shipped.items() if ".dist-info/" not in name} == sources

    def test_says_of_each_package_that_it_is_typed(self, built: tuple[Path, Path]) -> None:
        assert {f"{name}/py.typed" for name in NAMES.values()} <= contents(built[1]).keys()

    def test_has_its_licence_and_the_readme(self, built: tuple[Path, Path]) -> None:
        metadata = {name.rpartition("/")[2]: data for name, data in contents(built[1]).items() if ".dist-info" in name}
        assert metadata["LICENSE"] == (ROOT / "LICENSE").read_bytes()
        assert (ROOT / "README.md").read_text() in metadata["METADATA"].decode()

    def test_asks_a_sender_for_three_packages(self, built: tuple[Path, Path]) -> None:
        (text,) = (data.decode() for name, data in contents(built[1]).items() if name.endswith("/METADATA"))
        needed = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", text, re.MULTILINE)
        assert sorted(needed) == ["appengine-python-standard", "cbor2", "opentelemetry-api"]
        assert set(re.findall(r"^Provides-Extra: (.*)$", text, re.MULTILINE)) >= {"worker", "local", "valkey"}

    def test_is_the_same_from_the_sdist_and_from_a_checkout(self, built: tuple[Path, Path], tmp_path: Path) -> None:
        command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        (direct,) = tmp_path.glob("*.whl")
        assert contents(direct) == contents(built[1])


def test_the_sdist_has_no_tests_no_examples_and_no_deployment(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    files = {"pyproject.toml", "PKG-INFO", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore"}
    assert tops == {*PACKAGES, *files}


class TestInstalled:
    def test_packages_are_imported_from_the_environment_under_their_own_names(self, installed: Installed) -> None:
        imported = "[importlib.import_module(name).__file__ for name in sys.argv[1:]]"
        code = f"import importlib, json, sys; print(json.dumps({imported}))"
        done = installed.run("-c", code, *NAMES.values(), "gaesignals_devserver.place")
        assert done.returncode == 0, done.stderr
        for path in json.loads(done.stdout):
            assert path.startswith(str(installed.python.parents[1]))

    @pytest.mark.parametrize("name", ["worker", "devserver"])
    def test_names_that_a_team_may_have_itself_are_left_alone(self, installed: Installed, name: str) -> None:
        done = installed.run("-S", "-c", f"import sys; sys.path.append({str(site(installed))!r}); import {name}")
        assert f"No module named '{name}'" in done.stderr

    def test_commands_answer(self, installed: Installed) -> None:
        scripts = [path for path in installed.python.parent.iterdir() if path.name == "gaesignals"]
        usages = {("-m", "gaesignals_devserver"): "gaesignals local", ("-m", "gaesignals"): "gaesignals"}
        for command, usage in (usages | {(str(path),): "gaesignals" for path in scripts}).items():
            done = installed.run(*command, "--help")
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith(f"usage: {usage} [-h]")

    def test_tests_of_the_library_and_the_worker_find_all_that_they_need(self, installed: Installed) -> None:
        done = installed.run(*PYTEST, *ALL_TESTS, "--collect-only")
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr

    def test_tests_of_the_library_and_the_worker_pass(self, installed: Installed) -> None:
        tests = [*ALL_TESTS, "-n", "2"] if IS_FRESH else SOME_TESTS
        done = installed.run(*PYTEST, *tests)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr
        assert re.search(r"^\d+ passed", done.stdout.splitlines()[-1]), done.stdout

    def test_the_local_cloud_runs_the_shop(self, shop: tuple[str, str]) -> None:
        frontend, worker = shop
        assert post(f"{frontend}send", b"name=order_paid&count=3")["sent"] == 3
        assert post(f"{worker}drain", b"wait=1")["delivered"] == 3


def site(installed: Installed) -> Path:
    (path,) = installed.python.parents[1].glob("lib/python*/site-packages")
    return path


def post(url: str, body: bytes) -> dict[str, int]:
    with urllib.request.urlopen(url, body, timeout=60) as answer:
        found: dict[str, int] = json.load(answer)
        return found


@pytest.fixture
def shop(installed: Installed) -> Iterator[tuple[str, str]]:
    """The addresses of the shop and of its worker's administration, as the installed local cloud prints them."""
    root = installed.directory / "examples" / "shop"
    command = [installed.python, "-m", "gaesignals", "local", root, "--frontend-port", "0", "--worker-port", "0"]
    with subprocess.Popen(
        command, cwd=root.parent, env=installed.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ready."):
                break
        try:
            text = "".join(lines)
            found = re.findall(r"^  (?:Frontend|Worker) +(\S+)$", text, re.MULTILINE)
            assert len(found) == 2, text
            yield found[0], found[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()
    assert process.returncode == 0
