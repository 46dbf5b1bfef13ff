"""`gaesignals send`: a signal from the command line."""

from __future__ import annotations

import argparse

from gaesignals.digits import whole_number
from gaesignals.tasks.queue import MAX_AHEAD_SECONDS

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
    parser.add_argument("--wake", action="store_true", help="have it handled at once, not with the next fan-out")
    parser.add_argument("--durable", action="store_true", help="have it survive whatever the store forgets")
    parser.add_argument("--latest", action="store_true", help="let only the newest of the name count")
    parser.add_argument("--delay", type=_delay, metavar="SECONDS", help="send it so much later, up to 29 days")


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Send, and say under which ids."""
    fields = {"name": options.name, "data": options.data, "count": options.count, **_way(options)}
    answer = context.client(options).post("/admin/send", fields, having="sent")
    if options.json:
        context.terminal.say_json(answer)
        return ExitCode.DONE
    ids = answer.get("ids", [])
    which = f": {ids[0]}" if len(ids) == 1 else ""
    context.terminal.say(f"sent {count_of(answer['sent'], 'message')} to {options.name}{which}")
    return ExitCode.DONE


def _way(options: argparse.Namespace) -> dict[str, object]:
    """How it is to travel; nothing where nothing is said, which a worker of an earlier version takes as well."""
    flags = {name: getattr(options, name) or None for name in ("wake", "durable", "latest")}
    given = {**flags, "delay_seconds": options.delay}
    return {field: value for field, value in given.items() if value is not None}


def _delay(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_AHEAD_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no number of seconds from 0 to 29 days")
    return seconds


def _count(text: str) -> int:
    count = whole_number(text, most=MAX_COUNT)
    if not count:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is not a number from 1 to {MAX_COUNT}")
    return count
