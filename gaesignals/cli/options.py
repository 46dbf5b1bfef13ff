"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any, NoReturn

from gaesignals.errors import InvalidNameError
from gaesignals.template import check_name

from .address import LOCAL_WORKER
from .context import URL_VARIABLE, Context
from .errors import ExitCode
from .text import printable
from .token import TOKEN_VARIABLE

# A drain that waits is answered after 50 seconds.
DEFAULT_TIMEOUT_SECONDS = 90.0
MAX_TIMEOUT_SECONDS = 3600.0

Run = Callable[[argparse.Namespace, Context], ExitCode]


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line."""

    def error(self, message: str) -> NoReturn:
        """Print it and exit with 2."""
        self.exit(ExitCode.USAGE, f"{printable(f'{self.prog}: {message}')} (--help says more)\n")


class Commands:
    """Makes the parsers of commands, each with what it runs."""

    def __init__(self, subparsers: Any) -> None:
        self._subparsers = subparsers

    def add(self, name: str, run: Run, *, help: str, exits: str, calls_worker: bool = True) -> argparse.ArgumentParser:
        """Add a command. `exits` says what its exit code 1 means."""
        parser: argparse.ArgumentParser = self._subparsers.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", epilog=f"Exit code 1: {exits}."
        )
        parser.set_defaults(run=run)
        parser.add_argument(
            "--json", action="store_true", help="print JSON: the worker's own answer, where there is one"
        )
        if calls_worker:
            add_worker_options(parser)
        return parser


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Say which worker, and how to be let in."""
    group = parser.add_argument_group("the worker")
    group.add_argument(
        "--url", help=f"its address (or else {URL_VARIABLE}, or {LOCAL_WORKER}, where the local cloud has it)"
    )
    group.add_argument(
        "--token", help=f"the identity token to send (or else {TOKEN_VARIABLE}, which others cannot list)"
    )
    group.add_argument("--audience", help="have gcloud print an identity token for this audience, and send that")
    group.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="how long to wait for all of an answer (%(default)g)",
    )


def signal_name(text: str) -> str:
    """Read the name of a signal."""
    try:
        return check_name(text)
    except InvalidNameError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def seconds(text: str) -> float:
    """Read a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= MAX_TIMEOUT_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no time: give seconds from 0.01 to {MAX_TIMEOUT_SECONDS:g}")
    return value


def json_value(text: str) -> Any:
    """Read any JSON value."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r:.60} is no JSON ({error}); a text takes quotes: '\"text\"'"
        ) from error


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
