"""`gaesignals drain`: what waits is handed to the queue now, or delivered while one waits."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from .client import Client
from .context import Context
from .errors import ExitCode
from .options import Commands, signal_name
from .terminal import Terminal
from .wording import count_of, counts_line, distance, listed

_DONE = ("delivered", "failed", "retried", "dead", "lost", "overtaken", "expired")
# With an answer that takes up to 50 s this is a long night.
MAX_ROUNDS = 1000
# Of all rounds; no person reads more.
MAX_ERRORS = 1000
# What each answer says anew, rather than adds to what the earlier ones said.
_LATEST = ("remaining", "more", "unmatched", "paused", "which")
_BAD = ("failed", "retried", "dead", "lost", "refused", "unreadable", "remaining")
# A name that was asked for and is not delivered: misspelt, or paused.
_BAD_NAMES = ("unmatched", "paused")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add(
        "drain",
        run,
        help="hand what waits to the queue now, or with --wait deliver it and wait for that",
        exits="not all of it was taken or delivered: a message failed, is dead, lost or left over, the queue refused a "
        "name, or a NAME has no receiver or is paused",
    )
    parser.add_argument("names", nargs="*", type=signal_name, metavar="NAME", help="only these; patterns are not known")
    parser.add_argument("--wait", action="store_true", help="deliver, and repeat until nothing remains")


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Drain, and say what came of it."""
    client, terminal = context.client(options), context.terminal
    if options.wait:
        counts, is_done = _deliver(client, terminal, options.names)
    else:
        counts, is_done = client.post("/admin/drain", _fields(options.names), having="tasks"), True
    if options.json:
        terminal.say_json(counts)
    elif options.wait:
        _say_delivered(terminal, counts)
    else:
        _say_dispatched(terminal, counts)
    bad = (*_BAD, *(_BAD_NAMES if options.names else ()))
    return ExitCode.DONE if is_done and not any(counts.get(name) for name in bad) else ExitCode.FAILED


def _fields(names: Sequence[str]) -> dict[str, Any]:
    return {"names": list(dict.fromkeys(names))} if names else {}


def _deliver(client: Client, terminal: Terminal, names: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Have it delivered until nothing more can be done at once; the answers added up, and whether it came to that."""
    total: dict[str, Any] = {}
    so_far = "delivering"
    client.waiting = lambda seconds: terminal.show_wait(f"{so_far}; waiting for the worker, {distance(seconds)}")
    for _ in range(MAX_ROUNDS):
        answer = client.post("/admin/drain", {**_fields(names), "wait": True}, having="delivered")
        total = _added(total, answer)
        is_left = bool(answer.get("remaining") or answer.get("more"))
        if not is_left or not any(answer.get(name) for name in _DONE):
            return total, True
        left = count_of(answer.get("remaining", 0), "message")
        so_far = f"delivered {total.get('delivered', 0):,}, {left} left"
        terminal.show_progress(so_far)
    terminal.remark(f"it was asked {MAX_ROUNDS:,} times, and there is more")
    return total, False


def _added(total: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _sum(total[name], value)
        if name in total and name not in _LATEST and not isinstance(value, bool)
        else value
        for name, value in answer.items()
    }


def _sum(before: Any, value: Any) -> Any:
    return (before + value)[:MAX_ERRORS] if isinstance(value, list) else before + value


def _say_dispatched(terminal: Terminal, counts: Mapping[str, Any]) -> None:
    terminal.say(f"handed {count_of(counts['names'], 'name')} to the queue in {count_of(counts['tasks'], 'task')}")
    _remark_names(terminal, counts)
    if counts.get("refused"):
        terminal.remark(f"the queue refused {_which(counts, 'refused')}, which cron tries again")
    if counts.get("unreadable"):
        terminal.remark(f"the store did not answer for {count_of(counts['unreadable'], 'slot')} of the index")


def _say_delivered(terminal: Terminal, counts: Mapping[str, Any]) -> None:
    terminal.say(counts_line(counts, always="delivered", others=(*_DONE[1:], "remaining", "handed_over", "refused")))
    for error in counts.get("errors", []):
        message = f" {error['message_id']}" if error.get("message_id") else ""
        by = f" {error['receiver']}:" if error.get("receiver") else ""
        terminal.remark(f"{error['name']}{message}:{by} {error['error']}")
    _remark_names(terminal, counts)
    if counts.get("remaining"):
        terminal.remark("what remains is leased by somebody else or not due yet; `gaesignals status` shows it")


def _remark_names(terminal: Terminal, counts: Mapping[str, Any]) -> None:
    if counts.get("unmatched"):
        terminal.remark(f"no receiver of the worker listens to {_which(counts, 'unmatched')}")
    if counts.get("paused"):
        terminal.remark(f"paused: {_which(counts, 'paused')}; `gaesignals resume` ends that")


def _which(counts: Mapping[str, Any], kind: str) -> str:
    return listed(counts.get("which", {}).get(kind, []), counts[kind], "name")
