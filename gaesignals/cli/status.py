"""`gaesignals status`: what the worker says of itself and of what waits."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gaesignals.digits import whole_number

from .client import Client
from .context import Context
from .errors import CommandError, ExitCode
from .options import Commands, seconds
from .past import WINDOWS, say_instances, say_points, say_receivers, say_summary
from .terminal import Terminal
from .wording import NOT_KNOWN, age, clock_time, count_of, distance, number, parse_time

# What the worker lists of all names, and may not be able to read.
_LISTED = {"dead": "names with dead letters", "paused": "names that are paused"}
_TOTALS = ("waiting", "leased", "retrying", "dead", "unmatched", "paused")
# A worker that has just started has not been called by cron yet. What an older one does not say.
_STARTING_SECONDS = 180.0
# A person wants the head of the list, and the health above it, on one screen.
TERMINAL_LIMIT = 20
MAX_NUMBER = 1_000_000
WATCH_SECONDS = 5.0


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "status",
        run,
        help="show the worker's health and what waits",
        exits="the store does not answer, the fan-out is late, or the queue is not running",
    )
    parser.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"show it again every so often ({WATCH_SECONDS:g}) until Ctrl-C",
    )
    parser.add_argument("--search", metavar="TEXT", help="only names with TEXT in them, in any case")
    parser.add_argument("--window", choices=WINDOWS, help="show what was done in the last hour, day or fortnight")
    parser.add_argument("--receivers", action="store_true", help="show what each receiver did in the last day")
    parser.add_argument("--instances", action="store_true", help="show the instances, and what they are at")
    parser.add_argument("--page", type=_positive, metavar="N", help="another thousand of the names, from 1 on")
    parser.add_argument(
        "--limit",
        type=_positive,
        metavar="N",
        help=f"show so many names of each kind at most ({TERMINAL_LIMIT} on a terminal, else all)",
    )


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Show the status, once or over and over."""
    client = context.client(options)
    if options.watch is None:
        return _show(client, context.terminal, options)
    try:
        while True:
            context.terminal.clear()
            try:
                _show(client, context.terminal, options)
            except CommandError as error:
                # A worker that starts again will be there the next time.
                context.terminal.remark(str(error))
            context.terminal.flush()
            context.sleep(options.watch)
    except KeyboardInterrupt:
        return ExitCode.DONE


def _show(client: Client, terminal: Terminal, options: argparse.Namespace) -> ExitCode:
    asked = {"search": options.search, "page": options.page, "window": options.window}
    query = {name: str(value) for name, value in asked.items() if value is not None}
    status = client.get("/admin/status", having="totals", **query)
    problems = _problems(status)
    if options.json:
        terminal.say_json(status)
    else:
        _say_head(terminal, status, client.url)
        limit = options.limit or (TERMINAL_LIMIT if terminal.width else None)
        _say_names(terminal, status, is_search=options.search is not None, limit=limit)
        _say_past(terminal, status, options)
        for problem in [*problems, *_left_out(status)]:
            terminal.remark(problem)
    return ExitCode.FAILED if problems else ExitCode.DONE


def _say_past(terminal: Terminal, status: Mapping[str, Any], options: argparse.Namespace) -> None:
    if options.window:
        say_points(terminal, status)
    if options.receivers:
        say_receivers(terminal, status)
    if options.instances:
        say_instances(terminal, status)


def _positive(text: str) -> int:
    number = whole_number(text, most=MAX_NUMBER)
    if not number:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is not a number from 1 to {MAX_NUMBER:,}")
    return number


def _problems(status: Mapping[str, Any]) -> list[str]:
    health = status.get("health", {})
    problems = []
    if health.get("memcache") == "down":
        problems.append("the store does not answer")
    elif health.get("is_fan_out_late") and not _has_just_started(status):
        last = "there was no fan-out" if _fan_out(health) == "never" else f"the last fan-out was {_fan_out(health)}"
        problems.append(f"{last}: does cron call /cron/drain of this service?")
    if health.get("queue") in ("paused", "disabled"):
        problems.append(f"the queue is {health['queue']}: nothing is delivered until it is resumed")
    return problems


def _left_out(status: Mapping[str, Any]) -> list[str]:
    """What the worker cannot read and leaves out, which is no failure of it."""
    readable = status.get("readable", {})
    return [
        f"{what} may be left out: a later version has stored which they are"
        for kind, what in _LISTED.items()
        if not readable.get(kind, True)
    ]


def _has_just_started(status: Mapping[str, Any]) -> bool:
    started = parse_time(status.get("version", {}).get("started_at"))
    now = parse_time(status.get("looked_at"))
    if status["health"].get("last_fan_out_at") or started is None or now is None:
        return False
    grace: float = status["health"].get("late_after_seconds", _STARTING_SECONDS)
    return (now - started).total_seconds() < grace


def _fan_out(health: Mapping[str, Any]) -> str:
    seconds = health.get("last_fan_out_age_seconds")
    return "never" if seconds is None else f"{distance(seconds)} ago"


def _say_head(terminal: Terminal, status: Mapping[str, Any], url: str) -> None:
    version = status.get("version", {})
    deployed = f", version {version['deployed']}" if version.get("deployed") else ""
    software = f" (gaesignals {version['gaesignals']}{deployed})" if version.get("gaesignals") else ""
    terminal.say(f"{version.get('service') or 'worker'} at {url}{software}, {clock_time(status.get('looked_at'))} UTC")
    if health := status.get("health"):
        flushed = ", flushed since the last look" if health.get("flushed") else ""
        terminal.say(
            f"store {health.get('memcache')}{flushed}; last fan-out {_fan_out(health)}; queue {health.get('queue')}"
        )
    totals = status["totals"]
    terminal.say(", ".join(f"{name} {number(totals[name])}" for name in _TOTALS if name in totals))
    say_summary(terminal, status)
    _say_safety(terminal, status.get("safety", {}))


def _say_safety(terminal: Terminal, safety: Mapping[str, Any]) -> None:
    """What stands behind durable messages and those for later, where there is any of it."""
    if any(safety.values()):
        terminal.say(
            f"safety tasks {number(safety.get('tasks'))}, tasks for later {number(safety.get('later'))}, "
            f"brought back in the last day {number(safety.get('brought'))}"
        )


def _say_names(terminal: Terminal, status: Mapping[str, Any], *, is_search: bool, limit: int | None) -> None:
    now = parse_time(status.get("looked_at"))
    names = [each for each in status["names"] if is_search or _has_something(each)]
    _say_table(terminal, names[:limit], now, has_receivers=True)
    _say_cut(terminal, names, limit)
    if status["unmatched"]:
        terminal.say()
        terminal.say("No receiver of this worker listens to these; a middleware or another service may:")
        _say_table(terminal, status["unmatched"][:limit], now, has_receivers=False)
        _say_cut(terminal, status["unmatched"], limit)
    if not names and not status["unmatched"]:
        nothing = "nothing waits" if status.get("health", {}).get("memcache") != "down" else "what waits is not known"
        terminal.say("no such name" if is_search else nothing)
    if status.get("omitted"):
        terminal.say(f"{count_of(status['omitted'], 'more name')} not looked at: see --page and --search")


def _say_cut(terminal: Terminal, names: Sequence[Mapping[str, Any]], limit: int | None) -> None:
    if limit is not None and len(names) > limit:
        terminal.say(f"and {count_of(len(names) - limit, 'less busy name')}; --limit shows more")


def _say_table(
    terminal: Terminal, names: Sequence[Mapping[str, Any]], now: datetime | None, *, has_receivers: bool
) -> None:
    if not names:
        return
    headings = ["NAME", "WAITING", "LEASED", "RETRYING", "DEAD", "OLDEST", "RECEIVERS"]
    rows = [_row(each, now) for each in names]
    columns = len(headings) if has_receivers else len(headings) - 1
    terminal.say()
    terminal.say_table([row[:columns] for row in rows], headings=headings[:columns])


def _row(name: Mapping[str, Any], now: datetime | None) -> list[str]:
    # What memcache did not answer for is not known, whatever stands there.
    counts = [number(name[count] if name["readable"] else None) for count in ("waiting", "leased", "retrying")]
    oldest = age(name["oldest_sent_at"], now)
    if oldest == "-" and (not name["readable"] or name["waiting"]):
        oldest = NOT_KNOWN
    label = f"{name['name']} (paused)" if name.get("paused") else name["name"]
    return [label, *counts, number(name["dead"]), oldest, ", ".join(name["receivers"])]


def _has_something(name: Mapping[str, Any]) -> bool:
    counts = (name[count] for count in ("waiting", "leased", "retrying", "dead"))
    return bool(not name["readable"] or name.get("paused") or any(counts))
