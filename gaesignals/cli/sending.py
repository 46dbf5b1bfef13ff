"""`gaesignals send`: a signal from the command line."""

from __future__ import annotations

import argparse

from .context import Context
from .errors import ExitCode
from .options import Commands, json_value, signal_name
from .wording import count_of

MAX_COUNT = 1000


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("send", run, help="send a signal through the worker", exits="the worker did not take it")
    parser.add_argument("name", type=signal_name, metavar="NAME")
    parser.add_argument("--data", type=json_value, metavar="JSON", help="what it carries (null)")
    parser.add_argument("--count", type=_count, default=1, metavar="N", help=f"how often, 1 to {MAX_COUNT} (1)")


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Send, and say under which ids."""
    fields = {"name": options.name, "data": options.data, "count": options.count}
    answer = context.client(options).post("/admin/send", fields, having="sent")
    if options.json:
        context.terminal.say_json(answer)
        return ExitCode.DONE
    ids = answer.get("ids", [])
    which = f": {ids[0]}" if len(ids) == 1 else ""
    context.terminal.say(f"sent {count_of(answer['sent'], 'message')} to {options.name}{which}")
    return ExitCode.DONE


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_COUNT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_COUNT}")
    return int(text)
