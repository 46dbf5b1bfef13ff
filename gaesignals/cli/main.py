"""The command line's entry point: reads it, runs the command, and answers with its exit code."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from gaesignals.errors import SignalsError

from . import checking, dead, draining, init, local, messages, pausing, sending, status
from .client import RefusedError
from .context import Context
from .errors import CommandError, ExitCode, UnreachableError
from .options import Commands, Parser
from .terminal import OutputError, Terminal

_EXIT_CODES = """\
exit codes:
  0    done
  1    the worker, or the check, says that something failed; each command's --help says what that is
  2    the command line cannot be used as it is
  3    no worker answers, or it does not let the caller in
  130  interrupted with Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = Parser(
        prog="gaesignals",
        description="Look at a worker, operate it, and check what is deployed.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gaesignals {_version()}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands = Commands(subparsers)
    for module in (status, draining, sending, pausing):
        module.add(commands)
    letters = subparsers.add_parser("dead", help="list, read, requeue or drop dead letters")
    dead.add(Commands(letters.add_subparsers(title="actions", metavar="ACTION", required=True)))
    each = subparsers.add_parser(
        "messages", help="list or read what waits, and run, drop or kill what is to be retried"
    )
    messages.add(Commands(each.add_subparsers(title="actions", metavar="ACTION", required=True)))
    for module in (checking, init):
        module.add(commands)
    local.add(subparsers)
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("gaesignals")
    except importlib.metadata.PackageNotFoundError:
        return "(run from its source)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments`, by default those of the process; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is no reason to fail.
        getattr(stream, "reconfigure", lambda **options: None)(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    context = Context(Terminal(input=sys.stdin, output=sys.stdout, errors=sys.stderr))
    try:
        code = run(options, context)
        context.terminal.flush()
    except OutputError as error:
        # A reader that has seen enough, as `head` has, is nothing to speak of; a full disk is.
        if not isinstance(error.__cause__, BrokenPipeError):
            context.terminal.remark(f"gaesignals: the result cannot be written: {error.__cause__}")
        # What Python flushes at its end must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    return code


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Run the command; an error is one line on standard error."""
    try:
        code: ExitCode = options.run(options, context)
    except KeyboardInterrupt:
        context.terminal.remark("interrupted")
        return ExitCode.INTERRUPTED
    except RefusedError as error:
        if options.json:
            context.terminal.say_json(error.fields)
        return _fail(context, error, error.exit_code)
    except CommandError as error:
        return _fail(context, error, error.exit_code)
    except (SignalsError, OSError) as error:
        return _fail(context, error, ExitCode.FAILED)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        if not hasattr(options, "url"):
            raise
        # Of the worker's answer, nothing but its being a mapping was looked at.
        return _fail(context, UnreachableError(_senseless(error)), ExitCode.UNREACHABLE)
    return code


def _senseless(error: Exception) -> str:
    said = f"{type(error).__name__}: {error}"[:100]
    return f"the answer makes no sense ({said}): is this a worker, of this version? --url names it"


def _fail(context: Context, error: Exception, code: ExitCode) -> ExitCode:
    context.terminal.remark(f"gaesignals: {' '.join(str(error).split())}")
    return code
