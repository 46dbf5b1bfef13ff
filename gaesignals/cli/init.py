"""`gaesignals init`: a worker.yaml for a team's source root, and what their project-wide files need.

cron.yaml and queue.yaml belong to the whole project: what they need is printed, and they are never written.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.service import DEFAULT_SERVICE, Service

from .checking import add_directory, receivers, say_problem
from .context import Context
from .entries import RUNTIMES, WORKER_FILE, cron_entry, queue_entry, worker_yaml
from .errors import CommandError, ExitCode, UsageError
from .finding import find_receivers
from .options import Commands
from .terminal import Terminal

_LOCATION = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PLACEHOLDER = "receivers:receivers"
_RUNTIMES = frozenset(f"python3{minor}" for minor in range(RUNTIMES[0], RUNTIMES[1] + 1))
_ENTRIES = {"cron.yaml": cron_entry("worker"), "queue.yaml": queue_entry()}
# The problems that the printed entry is the remedy of.
_ENTRY_MISSING: Mapping[str, frozenset[str]] = {
    "cron.yaml": frozenset({"cron-missing", "cron-drain"}),
    "queue.yaml": frozenset({"queue-missing", "queue-unknown"}),
}
_PROJECT_WIDE = {
    "cron.yaml": "deploying it replaces every cron job of the project",
    "queue.yaml": "deploying it pauses every queue of the project that it does not list",
}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "init",
        run,
        help="write a worker.yaml, and print what cron.yaml and queue.yaml need",
        exits="nothing was written, since there is a worker already or the file cannot be written",
        calls_worker=False,
    )
    add_directory(parser)
    parser.add_argument(
        "--receivers",
        type=receivers,
        metavar="MODULE:NAME",
        help="your Receivers (default: the only one in the directory)",
    )
    parser.add_argument("--location", type=_location, help="the region of the queue, such as europe-west1")


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Write the file, and say what is left to do."""
    # The SDK's parsers take seconds to import, and most commands do without.
    from gaesignals.appyaml.project import Project

    from .checks.everything import check_directory

    directory: Path = options.directory
    path = directory / WORKER_FILE
    project = Project.read(directory)
    _refuse_second_worker(directory, project.workers)
    found = options.receivers or _only(find_receivers(directory))
    _write(path, worker_yaml(found or _PLACEHOLDER, options.location or "", runtime=_runtime(project.services)))
    problems = check_directory(directory).problems
    codes = {each.code for each in problems}
    entries = {file: entry for file, entry in _ENTRIES.items() if codes & _ENTRY_MISSING[file]}
    left = [each for each in problems if each.code not in _ENTRY_MISSING.get(each.file, ())]
    if options.json:
        answer = {"written": str(path), "entries": entries, "problems": [each.to_json() for each in left]}
        context.terminal.say_json(answer)
    else:
        context.terminal.say(f"wrote {path}")
        _say_entries(context.terminal, entries)
        _say_left(context.terminal, left)
    return ExitCode.DONE


def _refuse_second_worker(directory: Path, workers: Sequence[Service]) -> None:
    files = [service.file for service in workers]
    files += [WORKER_FILE] if (directory / WORKER_FILE).exists() else []
    if files:
        raise CommandError(f"{directory / files[0]} is there already, and stays as it is")


def _runtime(services: Sequence[Service]) -> str:
    """The one that the senders have, the default service first; empty if the worker cannot run on any of theirs."""
    theirs = [service.runtime for service in sorted(services, key=lambda service: service.name != DEFAULT_SERVICE)]
    return next((runtime for runtime in theirs if runtime in _RUNTIMES), "")


def _only(found: Sequence[str]) -> str | None:
    if len(found) > 1:
        raise UsageError(
            f"there are several Receivers: {', '.join(found)}; choose with --receivers, nothing was written"
        )
    return found[0] if found else None


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error


def _say_entries(terminal: Terminal, entries: Mapping[str, str]) -> None:
    for file, entry in entries.items():
        terminal.say()
        terminal.say(f"Add to {file}, which is project-wide ({_PROJECT_WIDE[file]}):")
        terminal.say()
        for line in (f"{file.removesuffix('.yaml')}:", *entry.splitlines()):
            terminal.say(f"    {line}")


def _say_left(terminal: Terminal, problems: Sequence[Problem]) -> None:
    if problems:
        terminal.say()
        terminal.say("What is left to do, as `gaesignals check` says:")
    for problem in problems:
        say_problem(terminal, problem)


def _location(text: str) -> str:
    if not _LOCATION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no region; it looks like europe-west1")
    return text
