"""`gaesignals pause`, `resume` and `discard`: names that are held back, let go, or emptied."""

from __future__ import annotations

import argparse
from typing import Any

from .context import Context
from .errors import ExitCode
from .options import Commands, signal_name
from .wording import count_of


def add(commands: Commands) -> None:
    """Add the three commands."""
    refused = "the worker did not do it"
    pause = commands.add("pause", run_pause, help="stop handing names to receivers; they can be sent to", exits=refused)
    resume = commands.add("resume", run_resume, help="hand paused names to receivers again", exits=refused)
    discard = commands.add(
        "discard",
        run_discard,
        help="throw away what waits for names and is to be retried, for good; what runs goes on",
        exits=f"{refused}, or the answer was no",
    )
    for parser in (pause, resume, discard):
        parser.add_argument("names", nargs="+", type=signal_name, metavar="NAME")
    add_yes(discard)


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add the option that answers the question beforehand."""
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal to ask on")


def run_pause(options: argparse.Namespace, context: Context) -> ExitCode:
    """Pause names."""
    answer = _post("pause", "paused", options, context)
    if not options.json:
        context.terminal.say(f"paused {count_of(answer['paused'], 'name')}, as long as the store remembers it")
    return ExitCode.DONE


def run_resume(options: argparse.Namespace, context: Context) -> ExitCode:
    """Resume names."""
    answer = _post("resume", "resumed", options, context)
    if not options.json:
        context.terminal.say(f"resumed {count_of(answer['resumed'], 'name')}")
    return ExitCode.DONE


def run_discard(options: argparse.Namespace, context: Context) -> ExitCode:
    """Discard what waits, if that is wanted."""
    which = ", ".join(options.names[:3]) + (f" and {len(options.names) - 3} more" if len(options.names) > 3 else "")
    question = f"Discard everything that waits for {which}?"
    if not context.terminal.confirm(question, is_agreed=options.yes, otherwise="nothing was discarded"):
        return ExitCode.FAILED
    answer = _post("discard", "discarded", options, context)
    if not options.json:
        context.terminal.say(f"discarded {count_of(answer['discarded'], 'message')}")
    return ExitCode.DONE


def _post(action: str, done: str, options: argparse.Namespace, context: Context) -> dict[str, Any]:
    fields = {"names": list(dict.fromkeys(options.names))}
    answer = context.client(options).post(f"/admin/{action}", fields, having=done)
    if options.json:
        context.terminal.say_json(answer)
    return answer
