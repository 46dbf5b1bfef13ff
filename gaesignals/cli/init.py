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

from .checking import receivers, say_problem
from .context import Context
from .entries import RUNTIMES, cron_entry, queue_entry, worker_yaml
from .errors import CommandError, ExitCode, UsageError
from .finding import find_receivers
from .options import Commands
from .regions import advice_on
from .terminal import Terminal

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FILE = re.compile(r"[\w.-]+\.ya?ml")
_PLACEHOLDER = "receivers:receivers"
_RUNTIMES = frozenset(f"python3{minor}" for minor in range(RUNTIMES[0], RUNTIMES[1] + 1))
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
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="the source root (default: this directory)",
    )
    parser.add_argument(
        "--receivers",
        type=receivers,
        metavar="MODULE:NAME",
        help="your Receivers (default: the only one in the directory)",
    )
    parser.add_argument("--location", type=_location, help="the region of the queue, such as europe-west1")
    parser.add_argument(
        "--service", type=_service, default="worker", metavar="NAME", help="what the service is called (%(default)s)"
    )
    parser.add_argument(
        "--file", type=_file, metavar="NAME", help="what its file is called (default: the service's name with .yaml)"
    )


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Write the file, and say what is left to do."""
    # The SDK's parsers take seconds to import, and most commands do without.
    from gaesignals.appyaml.project import Project

    from .checks.everything import check_directories

    directory, service = options.directory, options.service
    path = directory / (options.file or f"{service}.yaml")
    project = Project.read(directory)
    _refuse_second(path, service, project.services)
    found = options.receivers or _only(find_receivers(directory))
    text = worker_yaml(
        found or _PLACEHOLDER,
        options.location or "",
        runtime=_runtime(project.services),
        service=service,
        file=path.name,
    )
    _write(path, text)
    problems = check_directories(directory).problems
    missing = {file for file, codes in _ENTRY_MISSING.items() if codes & {each.code for each in problems}}
    wanted = {"cron.yaml": cron_entry(service), "queue.yaml": queue_entry()}
    entries = {file: entry for file, entry in wanted.items() if file in missing}
    left = [each for each in problems if not any(each.code in codes for codes in _ENTRY_MISSING.values())]
    if options.json:
        answer = {"written": str(path), "entries": entries, "problems": [each.to_json() for each in left]}
        context.terminal.say_json(answer)
    else:
        context.terminal.say(f"wrote {path}")
        _say_entries(context.terminal, entries, project.files)
        _say_left(context.terminal, left)
    return ExitCode.DONE


def _refuse_second(path: Path, name: str, services: Sequence[Service]) -> None:
    ours = next((service.file for service in services if service.is_ours), None)
    if ours or path.exists():
        raise CommandError(f"{path.parent / ours if ours else path} is there already, and stays as it is")
    same = next((service.file for service in services if service.name == name), None)
    if same:
        raise CommandError(
            f"{path.parent / same} has a service {name} that is no worker of gaesignals; "
            "choose another name with --service NAME, nothing was written"
        )


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


def _say_entries(terminal: Terminal, entries: Mapping[str, str], files: Mapping[str, Path]) -> None:
    """As they can be pasted at the end of a file that is there, or into a new one with its head."""
    for file, entry in entries.items():
        head = f"{file.removesuffix('.yaml')}:"
        indent = _indent(files[file], head) if file in files else None
        do = "Make" if indent is None else "Paste at the end of"
        terminal.say()
        terminal.say(f"{do} {files.get(file, Path(file)).name}, which is project-wide ({_PROJECT_WIDE[file]}):")
        terminal.say()
        for line in (*([head] if indent is None else ()), *entry.splitlines()):
            terminal.say((indent or "") + line)


def _indent(path: Path, head: str) -> str | None:
    """What stands before the dashes of a list that has its head in `path`; None if the head is not there."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeError):
        return ""
    heads = [number for number, line in enumerate(lines) if line.startswith(head)]
    dashes = (line for line in lines[heads[0] :] if line.lstrip().startswith("-")) if heads else iter(())
    return None if not heads else next((line[: len(line) - len(line.lstrip())] for line in dashes), "")


def _say_left(terminal: Terminal, problems: Sequence[Problem]) -> None:
    if problems:
        terminal.say()
        terminal.say("What is left to do, as `gaesignals check` says:")
    for problem in problems:
        say_problem(terminal, problem)


def _location(text: str) -> str:
    if advice := advice_on(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no region of Cloud Tasks: {advice}")
    return text


def _service(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no service's name: use a-z 0-9 -")
    return text


def _file(text: str) -> str:
    if not _FILE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no file's name, such as signals.yaml")
    return text
