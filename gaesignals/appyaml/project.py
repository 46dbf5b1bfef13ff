"""The files of a directory that App Engine reads, as far as its own parsers take them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
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
_OTHERS = frozenset({CRON, QUEUE, DISPATCH, "index.yaml", "dos.yaml", "cloudbuild.yaml"})
_SERVICE = re.compile(r"^(runtime|service)\s*:", re.MULTILINE)

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Project:
    """What a directory deploys. A file that is missing, or that cannot be read, is None.

    `problems` has what App Engine would refuse, file by file.
    """

    directory: Path
    services: tuple[Service, ...] = ()
    jobs: Jobs | None = None
    queues: Queues | None = None
    rules: tuple[Any, ...] | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def workers(self) -> tuple[Service, ...]:
        """The services that deliver signals: those that say so, or else the one that is called worker."""
        found = tuple(service for service in self.services if service.is_ours)
        return found or tuple(service for service in self.services if service.name == "worker")

    @property
    def others(self) -> tuple[Service, ...]:
        """The services that are no worker."""
        return tuple(service for service in self.services if service not in self.workers)

    def has(self, file: str) -> bool:
        """Whether there is such a file, readable or not."""
        return (self.directory / file).exists()

    @classmethod
    def read(cls, directory: Path) -> Project:
        """Read the files of `directory`; ConfigError if that is none."""
        if not directory.is_dir():
            raise ConfigError(f"{directory} is no directory")
        reader = _Reader(directory)
        services = tuple(reader.services())
        jobs = reader.file(CRON, Jobs.parse, "cron-yaml")
        queues = reader.file(QUEUE, Queues.parse, "queue-yaml")
        rules = reader.file(DISPATCH, _parse_rules, "dispatch-yaml")
        problems = [*reader.problems, *(jobs.problems if jobs else ()), *(queues.problems if queues else ())]
        return cls(directory, services, jobs, queues, rules, tuple(problems))


def _parse_service(text: str, *, file: str) -> Service:
    return Service(file, parse_service(text, file=file))


def _parse_rules(text: str, *, file: str) -> tuple[Any, ...]:
    return tuple(parse_dispatch(text, file=file))


class _Reader:
    """Reads files, and gathers what is wrong with them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.problems: list[Problem] = []

    def services(self) -> list[Service]:
        services = []
        for path in sorted([*self._directory.glob("*.yaml"), *self._directory.glob("*.yml")], key=_precedence):
            if path.name in _OTHERS or not path.is_file():
                continue
            text = self._text(path)
            if text is None or not (path.name == "app.yaml" or _SERVICE.search(text)):
                continue
            service = self._parsed(text, path.name, _parse_service, "app-yaml")
            if service is not None:
                services.append(service)
        return services

    def file(self, name: str, parse: Callable[..., Parsed], page: str) -> Parsed | None:
        path = self._directory / name
        text = self._text(path) if path.exists() else None
        return None if text is None else self._parsed(text, name, parse, page)

    def _parsed(self, text: str, file: str, parse: Callable[..., Parsed], page: str) -> Parsed | None:
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
            self.problems.append(Problem(path.name, "unreadable", f"it cannot be read: {reason}", "correct that"))
            return None


def _precedence(path: Path) -> tuple[bool, int, str]:
    """Of several files for one service, the plainest name counts: app.yaml, not app-staging.yaml."""
    return path.stem != "app", len(path.stem), path.name
