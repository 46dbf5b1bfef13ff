"""What a message carries, shown: `payload` of `gaesignals messages` and of `gaesignals dead`."""

from __future__ import annotations

import argparse
from functools import partial

from .context import Context
from .errors import ExitCode
from .options import Commands, signal_name


def add(commands: Commands, path: str, *, what: str, exits: str) -> None:
    """Add the command that asks the worker's `path` for the payload of `what`."""
    payload = commands.add(
        "payload", partial(_run, path), help=f"show what {what} carries; the worker logs who asks", exits=exits
    )
    payload.add_argument("name", type=signal_name, metavar="NAME")
    payload.add_argument("id", metavar="ID")


def _run(path: str, options: argparse.Namespace, context: Context) -> ExitCode:
    """Show one payload, as Python writes it."""
    answer = context.client(options).find(path, having="data", name=options.name, id=options.id)
    if options.json:
        context.terminal.say_json(answer)
    else:
        context.terminal.say(answer["data"])
    return ExitCode.DONE
