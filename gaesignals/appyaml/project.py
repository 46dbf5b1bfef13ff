"""The files of one or several directories that App Engine reads, as far as its own parsers take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError
from .jobs import CRON, Jobs
from .problem import Problem
from .queues import QUEUE, Queues
from .sdk import parse_dispatch, parse_service
from .service import Service

DISPATCH = "dispatch.yaml"
_REFERENCE = "https://cloud.google.com/appengine/docs/standard/reference"
_EFFECTS = {
    CRON: "deploying one replaces the jobs of the other",
    QUEUE: "deploying one pauses the queues of the other",
    DISPATCH: "deploying one replaces the rules of the other",
}
# Files that have a `runtime:` or `service:` too, and are another tool's.
_OTHERS = frozenset({"cron", "queue", "dispatch", "index", "dos", "cloudbuild", "pulumi", "serverless"})
_SERVICE = re.compile(r"^(runtime|service)\s*:", re.MULTILINE)
_SUFFIXES = (".yaml", ".yml")

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Project:
    """What directories deploy together. A file that is missing, or that cannot be read, is None.

    `files` has the project-wide files that are there, readable or not: the path of cron.yaml, queue.yaml and
    dispatch.yaml. `problems` has what App Engine would refuse, file by file. With several directories, a file is called
    by its path, otherwise by its name.
    """

    directories: tuple[Path, ...]
    services: tuple[Service, ...] = ()
    jobs: Jobs | None = None
    queues: Queues | None = None
    rules: tuple[Any, ...] | None = None
    problems: tuple[Problem, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def workers(self) -> tuple[Service, ...]:
        """The services that deliver signals: those that say so, or else the one that is called worker."""
        found = tuple(service for service in self.services if service.is_ours)
        return found or tuple(service for service in self.services if service.name == "worker")

    @property
    def others(self) -> tuple[Service, ...]:
        """The services that are no worker."""
        return tuple(service for service in self.services if service not in self.workers)

    def name_of(self, file: str) -> str:
        """What a project-wide file is called here; its usual name if there is none."""
        return self.name(self.files[file]) if file in self.files else file

    def name(self, path: Path) -> str:
        """What a file is called here."""
        return _name(path, self.directories)

    @classmethod
    def read(cls, *directories: Path) -> Project:
        """Read the files of `directories`; ConfigError if one is none."""
        for directory in directories:
            if not directory.is_dir():
                raise ConfigError(f"{directory} is no directory")
        reader = _Reader(directories)
        services = tuple(reader.services())
        jobs = reader.file(CRON, Jobs.parse, "cron-yaml")
        queues = reader.file(QUEUE, Queues.parse, "queue-yaml")
        rules = reader.file(DISPATCH, _parse_rules, "dispatch-yaml")
        problems = [*reader.problems, *(jobs.problems if jobs else ()), *(queues.problems if queues else ())]
        return cls(directories, services, jobs, queues, rules, tuple(problems), reader.files)


def _parse_rules(text: str, *, file: str) -> tuple[Any, ...]:
    return tuple(parse_dispatch(text, file=file))


class _Reader:
    """Reads files, and gathers what is wrong with them."""

    def __init__(self, directories: tuple[Path, ...]) -> None:
        self._directories = directories
        self.problems: list[Problem] = []
        self.files: dict[str, Path] = {}

    def services(self) -> Iterator[Service]:
        for directory in self._directories:
            paths = [path for suffix in _SUFFIXES for path in directory.glob(f"*{suffix}") if path.is_file()]
            for path in sorted(paths, key=_precedence):
                text = None if path.stem.lower() in _OTHERS else self._text(path)
                if text is None or not (path.stem == "app" or _SERVICE.search(text)):
                    continue

                def parse(text: str, *, file: str, directory: Path = directory) -> Service:
                    return Service(file, parse_service(text, file=file, directory=directory), directory)

                service = self._parsed(text, path, parse, "app-yaml")
                if service is not None:
                    yield service

    def file(self, name: str, parse: Callable[..., Parsed], page: str) -> Parsed | None:
        """Read a project-wide file, which only one of the directories may have."""
        stem = Path(name).stem
        paths = [directory / f"{stem}{suffix}" for directory in self._directories for suffix in _SUFFIXES]
        found = [path for path in paths if path.exists()]
        if not found:
            return None
        self.files[name] = found[0]
        for other in found[1:]:
            what = f"it belongs to the whole project, as {self._name(found[0])} does, and {_EFFECTS[name]}"
            self.problems.append(Problem(self._name(other), "project-wide", what, "keep one, with all entries"))
        text = self._text(found[0])
        return None if text is None else self._parsed(text, found[0], parse, page)

    def _parsed(self, text: str, path: Path, parse: Callable[..., Parsed], page: str) -> Parsed | None:
        file = self._name(path)
        try:
            return parse(text, file=file)
        except ConfigError as error:
            what = f"App Engine refuses the file: {str(error).removeprefix(f'{file}: ')}"
            self.problems.append(Problem(file, page, what, f"correct it; {_REFERENCE}/{page} says what may be there"))
            return None

    def _text(self, path: Path) -> str | None:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8"
            self.problems.append(
                Problem(self._name(path), "unreadable", f"it cannot be read: {reason}", "correct that")
            )
            return None

    def _name(self, path: Path) -> str:
        return _name(path, self._directories)


def _name(path: Path, directories: tuple[Path, ...]) -> str:
    return path.name if len(directories) == 1 else str(path)


def _precedence(path: Path) -> tuple[bool, int, str]:
    """Of several files for one service, the plainest name counts: app.yaml, not app-staging.yaml."""
    return path.stem != "app", len(path.stem), path.name
