"""`gaesignals messages`: look at the messages of a name, and run, drop or kill those that are to be retried."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from . import payload
from .context import Context
from .errors import ExitCode
from .options import Commands, signal_name
from .pausing import add_yes
from .terminal import Terminal
from .wording import NOT_KNOWN, age, count_of, distance, parse_time

STATES = ("retrying", "leased", "waiting")


def add(commands: Commands) -> None:
    """Add the five commands."""
    look = commands.add("list", run_list, help="list the first hundred messages of a name", exits="never")
    look.add_argument("--state", choices=STATES, help="only those that are to be retried, are leased or wait")
    payload.add(
        commands,
        "/admin/messages/payload",
        what="a message that is listed",
        exits="the message is not among the first hundred any more, or the store evicted what it carries",
    )
    gone = "not all of the given IDs are to be retried: run, drop and kill are for nothing else"
    now = commands.add("run", run_now, help="run retries of a name now, whenever they were to be run", exits=gone)
    drop = commands.add(
        "drop",
        run_drop,
        help="throw retries of a name away, for good",
        exits=f"{gone}, or the answer was no",
    )
    kill = commands.add("kill", run_kill, help="make dead letters of retries of a name", exits=gone)
    for parser in (look, now, drop, kill):
        parser.add_argument("name", type=signal_name, metavar="NAME")
    for parser in (now, drop, kill):
        parser.add_argument("ids", nargs="+", metavar="ID", help="the messages, at most a hundred")
    add_yes(drop)


def run_list(options: argparse.Namespace, context: Context) -> ExitCode:
    """List messages."""
    state = {"state": options.state} if options.state else {}
    answer = context.client(options).get("/admin/messages", having="messages", name=options.name, **state)
    if options.json:
        context.terminal.say_json(answer)
    else:
        _say_messages(context.terminal, options.name, answer)
    return ExitCode.DONE


def run_now(options: argparse.Namespace, context: Context) -> ExitCode:
    """Have retries run now."""
    return _change("run", "run", "due now:", options, context)


def run_drop(options: argparse.Namespace, context: Context) -> ExitCode:
    """Drop retries, if that is wanted."""
    which = count_of(len(set(options.ids)), "message")
    question = f"Drop {which} of {options.name}?"
    if not context.terminal.confirm(question, is_agreed=options.yes, otherwise="nothing was dropped"):
        return ExitCode.FAILED
    return _change("drop", "dropped", "dropped", options, context)


def run_kill(options: argparse.Namespace, context: Context) -> ExitCode:
    """Make dead letters of retries."""
    return _change("kill", "killed", "dead letters now:", options, context)


def _change(action: str, done: str, said: str, options: argparse.Namespace, context: Context) -> ExitCode:
    fields = {"name": options.name, "ids": list(dict.fromkeys(options.ids))}
    answer = context.client(options).post(f"/admin/messages/{action}", fields, having=done)
    missing = answer.get("missing", 0)
    if options.json:
        context.terminal.say_json(answer)
    else:
        context.terminal.say(f"{said} {count_of(answer[done], 'message')} of {options.name}")
    _remark_others(context.terminal, action, missing, answer.get("which", {}))
    return ExitCode.FAILED if missing else ExitCode.DONE


def _remark_others(terminal: Terminal, action: str, missing: int, which: Mapping[str, Sequence[str]]) -> None:
    """Say why nothing was done with messages that are not to be retried."""
    waiting, leased = (len(which.get(state, ())) for state in ("waiting", "leased"))
    if waiting:
        what = f"{count_of(waiting, 'message')} not run yet: {action} is for what failed and is to be retried"
        terminal.remark(f"{what}; see `gaesignals drain` and `gaesignals discard`, which take all of a name")
    if leased:
        terminal.remark(f"{count_of(leased, 'message')} left to the delivery that has it: {action} is for retries")
    if gone := missing - waiting - leased:
        terminal.remark(f"{count_of(gone, 'message')} not there any more, or done")


def _say_messages(terminal: Terminal, name: str, answer: Mapping[str, Any]) -> None:
    now = parse_time(answer["looked_at"])
    if answer["messages"]:
        rows = [_row(each, now) for each in answer["messages"]]
        terminal.say_table(rows, headings=("ID", "STATE", "ATTEMPT", "AGE", "NEXT", "ERROR"), whole="ID")
    elif not (answer["omitted"] or answer["missing"]):
        terminal.say(f"no messages of {name}" if answer["readable"] else NOT_KNOWN)
    if answer["omitted"]:
        terminal.say(f"and about {answer['omitted']:,} more")
    if answer["missing"]:
        terminal.remark(f"{count_of(answer['missing'], 'message')} cannot be read: the store has forgotten them")
    if not answer["readable"]:
        terminal.remark("the store did not answer for all of them: there may be more")


def _row(message: Mapping[str, Any], now: datetime | None) -> list[str]:
    return [
        message["id"],
        message["state"],
        str(message["attempt"]),
        age(message["sent_at"], now),
        _next(message, now),
        message["error"] or "",
    ]


def _next(message: Mapping[str, Any], now: datetime | None) -> str:
    """What comes next: the next try, or the end of the lease."""
    if message["next_try_at"]:
        return _when(message["next_try_at"], now, ahead="in {}", behind="due {} ago")
    if message["lease_expires_at"]:
        by = f" by {message['instance']}" if message["instance"] else ""
        return f"leased{by}, " + _when(message["lease_expires_at"], now, ahead="for {}", behind="until {} ago")
    return ""


def _when(text: object, now: datetime | None, *, ahead: str, behind: str) -> str:
    at = parse_time(text)
    if at is None or now is None:
        return NOT_KNOWN
    seconds = (at - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return (ahead if seconds > 0 else behind).format(distance(seconds))
