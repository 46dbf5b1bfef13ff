"""All checks of a directory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gaesignals.appyaml.jobs import CRON
from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import DISPATCH, Project
from gaesignals.appyaml.queues import QUEUE

from .cron import check_cron
from .queue import check_queue
from .requirements import check_requirements
from .routes import check_dispatch, check_handlers
from .runtime import check_runtime
from .settings import check_settings
from .store import check_store


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found: the problems by file, the worker's file first, and the files that were read."""

    problems: tuple[Problem, ...]
    files: tuple[str, ...]


def check_directories(*directories: Path, receivers: str | None = None) -> Findings:
    """Check all files of `directories`, and import the receivers, or those given as `receivers` instead.

    ConfigError if one is no directory.
    """
    project = Project.read(*directories)
    problems = [*project.problems, *_problems(project, receivers)]
    files = [service.file for service in (*project.workers, *project.others)]
    files += [project.name_of(name) for name in (CRON, QUEUE, DISPATCH) if name in project.files]
    order = list(dict.fromkeys([*files, *(problem.file for problem in problems)]))
    return Findings(tuple(sorted(problems, key=lambda problem: order.index(problem.file))), tuple(files))


def _problems(project: Project, receivers: str | None) -> Iterator[Problem]:
    if not project.workers:
        what = "no service here is the worker: none has SIGNALS_RECEIVERS among its env_variables"
        yield Problem("worker.yaml", "no-worker", what, "`gaesignals init` writes a worker.yaml")
    yield from check_runtime(project)
    yield from check_handlers(project)
    yield from check_settings(project, receivers)
    yield from check_store(project)
    yield from check_cron(project)
    yield from check_queue(project)
    yield from check_dispatch(project)
    yield from check_requirements(project)
