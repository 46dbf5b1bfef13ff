"""The files of a directory that App Engine reads, as far as its own parsers take them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.sdk import parse_cron, parse_dispatch, parse_queues, parse_service
from gaesignals.cli.errors import CommandError

from .problem import Problem
from .service import Service

CRON, QUEUE, DISPATCH = "cron.yaml", "queue.yaml", "dispatch.yaml"
_REFERENCE = "https://cloud.google.com/appengine/docs/standard/reference"
_OTHERS = frozenset({CRON, QUEUE, DISPATCH, "index.yaml", "dos.yaml", "cloudbuild.yaml"})
_SERVICE = re.compile(r"^(runtime|service)\s*:", re.MULTILINE)

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Project:
    """What a directory deploys. A file that is missing, or that cannot be read, is None; `problems` has the latter."""

    directory: Path
    services: tuple[Service, ...] = ()
    jobs: tuple[Any, ...] | None = None
    queues: tuple[Any, ...] | None = None
    rules: tuple[Any, ...] | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def workers(self) -> tuple[Service, ...]:
        """The services that deliver signals: those that say so, or else the one that is called worker."""
        found = tuple(service for service in self.services if service.has_worker_signs)
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
        """Read the files of `directory`; CommandError if that is none."""
        if not directory.is_dir():
            raise CommandError(f"{directory} is no directory")
        reader = _Reader(directory)
        return cls(
            directory,
            services=tuple(reader.services()),
            jobs=reader.list(CRON, parse_cron, "cron-yaml"),
            queues=reader.list(QUEUE, parse_queues, "queue-yaml"),
            rules=reader.list(DISPATCH, parse_dispatch, "dispatch-yaml"),
            problems=tuple(reader.problems),
        )


class _Reader:
    """Reads files, and gathers what is wrong with them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.problems: list[Problem] = []

    def services(self) -> list[Service]:
        services = []
        for path in sorted(self._directory.glob("*.yaml")):
            if path.name in _OTHERS or not path.is_file():
                continue
            text = self._text(path)
            if text is None or not (path.name == "app.yaml" or _SERVICE.search(text)):
                continue
            info = self._parsed(text, path.name, parse_service, "app-yaml", "app-yaml")
            if info is not None:
                services.append(Service(path.name, info))
        return services

    def list(self, file: str, parse: Callable[..., list[Any]], page: str) -> tuple[Any, ...] | None:
        path = self._directory / file
        text = self._text(path) if path.exists() else None
        entries = None if text is None else self._parsed(text, file, parse, page, page)
        return None if entries is None else tuple(entries)

    def _parsed(self, text: str, file: str, parse: Callable[..., Parsed], code: str, page: str) -> Parsed | None:
        try:
            return parse(text, file=file)
        except ConfigError as error:
            what = f"App Engine refuses the file: {str(error).removeprefix(f'{file}: ')}"
            self.problems.append(Problem(file, code, what, f"correct it; {_REFERENCE}/{page} says what may be there"))
            return None

    def _text(self, path: Path) -> str | None:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8"
            self.problems.append(Problem(path.name, "unreadable", f"it cannot be read: {reason}", "correct that"))
            return None
