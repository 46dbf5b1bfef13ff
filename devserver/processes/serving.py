"""What the processes of the local cloud that are no gunicorn have in common: how they begin, serve and end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from gaesignals.appyaml.errors import ConfigError

from .lifeline import end_on_signals

ServerT = TypeVar("ServerT", bound=AbstractContextManager[object])


def command_line(module: str, doc: str) -> argparse.ArgumentParser:
    """The parser of `python -m module`, described by the first line of `doc`, with the one option that all have."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc.split("\n")[0])
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    return parser


def serve(begin: Callable[[], ServerT], line: Callable[[ServerT], str], *, supervised: bool) -> int:
    """Serve with what `begin` makes until SIGTERM or Ctrl-C, and return the exit code.

    Prints the `line` that says what serves, unless this is `supervised`: then the starter does. Where `begin` cannot,
    prints why, and returns 2.
    """
    ended = end_on_signals(supervised=supervised)
    try:
        server = begin()
    except (ConfigError, OSError, UnicodeError) as error:
        print(f"{error}", file=sys.stderr)
        return 2
    with server:
        if not supervised:
            print(line(server), flush=True)
        ended.wait()
    return 0
