"""What can go wrong with a command, and the exit code that scripts see of it."""

from __future__ import annotations

import enum

from gaesignals.errors import SignalsError


class ExitCode(enum.IntEnum):
    """What a command came to; `gaesignals --help` says the same."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class CommandError(SignalsError):
    """A command cannot do what it was asked; the message is one line for the person who asked."""

    exit_code = ExitCode.FAILED


class UsageError(CommandError):
    """The command line asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class UnreachableError(CommandError):
    """There is no answer of a worker: nobody is there, somebody else is, or the caller is not let in."""

    exit_code = ExitCode.UNREACHABLE
