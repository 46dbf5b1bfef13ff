"""The built packages installed in an environment of their own, with a copy of the tests and without the sources.

The tests import `worker` and `devserver`, as a checkout has them; in that environment these names are aliases of what
the wheel has, in every process, so the very same files test the installed packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
IS_FRESH = os.environ.get("WHEEL_TEST") == "fresh"
PACKAGES = ("gaesignals", "worker", "devserver")
TOOLS = (
    "beautifulsoup4",
    "greenlet",
    "hypothesis",
    "mypy",
    "opentelemetry-sdk",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "webtest",
)

_GUNICORN = """\
#!{python}
from gunicorn.app.wsgiapp import run
run()
"""

_ALIASES = '''
"""Makes `worker` another name of `gaesignals_worker`, and `devserver` of `gaesignals_devserver`."""
import importlib, importlib.abc, importlib.util, sys

class Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("worker", "devserver"):
            return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec):
        module = importlib.import_module("gaesignals_" + spec.name)
        self.specs[module] = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.specs.pop(module)

    specs = {}

# The first: the package's path would lead others to a second copy of its modules.
sys.meta_path.insert(0, Alias())
'''


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and a directory with the tests; both outside the checkout."""

    python: Path
    directory: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this environment's Python with these arguments; settings of the outer tests do not reach it."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.directory,
            env=self.environ(),
            capture_output=True,
            text=True,
            check=False,
        )

    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
        return kept | {"NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}


def build(directory: Path) -> tuple[Path, Path]:
    """Build the sdist, and from that the wheel; return both."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ((sdist,), (wheel,)) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return sdist, wheel


def install(wheel: Path, directory: Path, *, is_fresh: bool) -> Installed:
    """Install the wheel in a new environment.

    If that is to be fresh, pip gets what the wheel asks for, and nothing else is there. If not, dependencies are those
    of this environment, which takes seconds and no network: its packages are on the path, without what is linked there.
    """
    environment = directory / "environment"
    venv.create(environment)
    python = environment / "bin" / "python"
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    wanted = [f"{wheel}[local,valkey]", *TOOLS] if is_fresh else ["--no-deps", "--no-index", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if not is_fresh:
        (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        script = python.parent / "gunicorn"
        script.write_text(_GUNICORN.format(python=python))
        script.chmod(0o755)
    (site_packages / "aliases.py").write_text(_ALIASES)
    (site_packages / "aliases.pth").write_text("import aliases\n")
    return Installed(python, _copy_without_packages(directory / "project"))


def _copy_without_packages(target: Path) -> Path:
    never = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
    target.mkdir()
    for path in ROOT.iterdir():
        if path.name in ("tests", "examples", "benchmarks", "docs"):
            shutil.copytree(path, target / path.name, ignore=never)
        elif path.suffix in (".toml", ".yaml", ".md"):
            shutil.copy(path, target)
    return target
