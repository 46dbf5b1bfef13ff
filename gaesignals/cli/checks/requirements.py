"""requirements.txt: what App Engine installs for the worker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.stores.opening import is_memcache

FILE = "requirements.txt"
# Other files that App Engine's build reads in its place.
_OTHER_FILES = ("pyproject.toml", "Pipfile", "poetry.lock", "uv.lock")
# The SDK brings the rest of what the worker imports.
_WORKER_EXTRA = ("flask", "gunicorn")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_INCLUDE = re.compile(r"(?:-r|--requirement)[ =]\s*(\S+)")


def check_requirements(project: Project) -> Iterator[Problem]:
    """What the workers would not find installed."""
    for directory in dict.fromkeys(service.directory for service in project.workers):
        needs_client = any(not is_memcache(each.store) for each in project.workers if each.directory == directory)
        yield from _check(directory, project.name(directory / FILE), needs_client=needs_client)


def _check(directory: Path, file: str, *, needs_client: bool) -> Iterator[Problem]:
    if not (directory / FILE).exists():
        if not any((directory / name).exists() for name in _OTHER_FILES):
            what = "there is none, so App Engine would install nothing for the worker"
            yield Problem(file, "requirements-missing", what, "write one with the line gaesignals[worker]")
        return
    lines = list(_lines(directory / FILE))
    ours = [line for line in lines if re.search(r"\bgaesignals\b", line)]
    # A source tree of its own is imported without being installed.
    if not ours and not (directory / "gaesignals").is_dir():
        yield Problem(file, "requirements", "gaesignals is not in it", "add the line gaesignals[worker]")
        return
    found = {_distribution(line) for line in lines}
    if needs_client and not (_is_extra("valkey", ours) or "redis" in found):
        what = "the store is a Valkey or Redis server, and its client is not in it"
        yield Problem(file, "requirements-valkey", what, "write gaesignals[worker,valkey]")
    missing = sorted(set(_WORKER_EXTRA) - found)
    if missing and not _is_extra("worker", ours):
        what = f"the worker needs {' and '.join(missing)}, and it has no such line"
        remedy = "write gaesignals[worker], which brings all that the worker needs"
        yield Problem(file, "requirements-worker", what, remedy)


def _is_extra(name: str, requirements: Iterable[str]) -> bool:
    return any(re.search(rf"\[[^\]]*\b{name}\b", requirement) for requirement in requirements)


def _lines(path: Path, depth: int = 0) -> Iterator[str]:
    """The requirements, those of included files too."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeError):
        return
    for line in text.splitlines():
        requirement = re.sub(r"(^|\s)#.*", "", line).strip()
        if (included := _INCLUDE.match(requirement)) and depth < 3:
            yield from _lines(path.parent / included[1], depth + 1)
        elif requirement:
            yield requirement


def _distribution(requirement: str) -> str:
    name = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""
