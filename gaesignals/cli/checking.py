"""`gaesignals check`: what would fail after deployment, before it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from gaesignals.appyaml.problem import Problem

from .context import Context
from .errors import ExitCode
from .options import Commands
from .terminal import Terminal
from .wording import count_of

_RECEIVERS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "check",
        run,
        help="find what would fail after deployment, in the yaml files of a directory and the receivers they name",
        exits="there is a problem",
        calls_worker=False,
    )
    parser.add_argument(
        "directories",
        nargs="*",
        type=Path,
        metavar="DIR",
        help="the source roots, all that one project deploys (default: this directory)",
    )
    parser.add_argument(
        "--receivers",
        type=receivers,
        metavar="MODULE:NAME",
        help="these, instead of those that SIGNALS_RECEIVERS names",
    )


def receivers(text: str) -> str:
    """Read where a `Receivers` is."""
    if not _RECEIVERS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not package.module:name, such as shop.signals:receivers")
    return text


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Check, and say each problem with its remedy."""
    # The SDK's parsers take seconds to import, and most commands do without.
    from .checks.everything import check_directories

    found = check_directories(*(options.directories or [Path()]), receivers=options.receivers)
    if options.json:
        problems = [problem.to_json() for problem in found.problems]
        context.terminal.say_json({"files": list(found.files), "problems": problems})
    else:
        for problem in found.problems:
            say_problem(context.terminal, problem)
        checked = ", ".join(found.files) or "no file"
        result = count_of(len(found.problems), "problem") if found.problems else "no problem found"
        context.terminal.say(f"{result} ({checked})")
    return ExitCode.FAILED if found.problems else ExitCode.DONE


def say_problem(terminal: Terminal, problem: Problem) -> None:
    """Write one problem."""
    terminal.say(f"{problem.file}: {' '.join(problem.what.split())}")
    terminal.say(f"    -> {' '.join(problem.remedy.split())}")
