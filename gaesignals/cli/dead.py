"""`gaesignals dead`: look at dead letters and what they carry, send them again, or drop them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from gaesignals.format.letter import BURIED

from . import payload
from .context import Context
from .errors import ExitCode
from .options import Commands, signal_name
from .pausing import add_yes
from .terminal import Terminal
from .wording import clock_time, count_of


def add(commands: Commands) -> None:
    """Add the five commands."""
    look = commands.add("list", run_list, help="list the names with dead letters, or those of a name", exits="never")
    look.add_argument("name", nargs="?", type=signal_name, metavar="NAME")
    show = commands.add(
        "show",
        run_show,
        help="show a dead letter with its whole error, without its payload",
        exits="the letter is not there any more",
    )
    show.add_argument("name", type=signal_name, metavar="NAME")
    show.add_argument("id", metavar="ID")
    payload.add(
        commands,
        "/admin/dead/payload",
        what="a dead letter",
        exits="the letter is not there any more, or the store evicted its payload",
    )
    requeue = commands.add(
        "requeue",
        run_requeue,
        help="send dead letters of a name again, with their attempts counted anew",
        exits="not all of the given IDs are there any more",
    )
    drop = commands.add(
        "drop",
        run_drop,
        help="throw dead letters of a name away, for good",
        exits="not all of the given IDs are there any more, or the answer was no",
    )
    requeue.add_argument(
        "--to-current",
        action="store_true",
        help="to all receivers that the name has today, and not to those that failed: one was renamed, say",
    )
    for parser in (requeue, drop):
        parser.add_argument("name", type=signal_name, metavar="NAME")
        parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    add_yes(drop)


def run_list(options: argparse.Namespace, context: Context) -> ExitCode:
    """List names, or letters."""
    client, terminal = context.client(options), context.terminal
    if options.name is None:
        answer = client.get("/admin/dead", having="names")
    else:
        answer = client.get("/admin/dead", having="letters", name=options.name)
    is_readable = answer.get("readable", True)
    if options.json:
        terminal.say_json(answer)
    elif options.name is None:
        _say_names(terminal, answer["names"], is_whole=is_readable)
    else:
        _say_letters(terminal, options.name, answer["letters"], is_whole=is_readable)
    _remark_left_out(terminal, answer)
    return ExitCode.DONE


def run_show(options: argparse.Namespace, context: Context) -> ExitCode:
    """Show the letters of one message, of which each receiver that failed with it may have one."""
    terminal = context.terminal
    answer = context.client(options).get("/admin/dead", having="letters", name=options.name)
    letters = [letter for letter in answer["letters"] if letter["id"] == options.id]
    if options.json:
        terminal.say_json({**answer, "letters": letters})
    else:
        for number, letter in enumerate(letters):
            if number:
                terminal.say()
            _say_letter(terminal, letter)
    _remark_left_out(terminal, answer)
    if not letters:
        terminal.remark(f"no such dead letter of {options.name}: it may have been requeued, dropped or evicted")
    return ExitCode.DONE if letters else ExitCode.FAILED


def run_requeue(options: argparse.Namespace, context: Context) -> ExitCode:
    """Send letters again."""
    fields = {"receivers": "current"} if options.to_current else {}
    return _change("requeue", "requeued", options, context, fields)


def run_drop(options: argparse.Namespace, context: Context) -> ExitCode:
    """Drop letters, if that is wanted."""
    which = count_of(len(options.ids), "dead letter") if options.ids else "all dead letters"
    question = f"Drop {which} of {options.name}?"
    if not context.terminal.confirm(question, is_agreed=options.yes, otherwise="nothing was dropped"):
        return ExitCode.FAILED
    return _change("drop", "dropped", options, context)


def _change(
    action: str, done: str, options: argparse.Namespace, context: Context, also: Mapping[str, str] | None = None
) -> ExitCode:
    ids = list(dict.fromkeys(options.ids))
    fields = {"name": options.name, **({"ids": ids} if ids else {}), **(also or {})}
    answer = context.client(options).post(f"/admin/dead/{action}", fields, having=done)
    gone = answer.get("missing", 0)
    # Of one message several letters may have been changed; one whose payload was evicted cannot be sent again.
    kept = max(0, len(ids) - gone - answer[done])
    if options.json:
        context.terminal.say_json(answer)
    else:
        context.terminal.say(f"{done} {count_of(answer[done], 'dead letter')} of {options.name}")
    if gone:
        context.terminal.remark(f"{count_of(gone, 'dead letter')} not there any more")
    if kept:
        context.terminal.remark(f"{count_of(kept, 'dead letter')} without the payload, which was evicted")
    return ExitCode.FAILED if gone or kept else ExitCode.DONE


def _say_names(terminal: Terminal, names: Mapping[str, int], *, is_whole: bool) -> None:
    if not names:
        if is_whole:
            terminal.say("no dead letters")
        return
    rows = [(name, f"{count:,}") for name, count in sorted(names.items(), key=lambda item: (-item[1], item[0]))]
    terminal.say_table(rows, headings=("NAME", "DEAD"))


def _remark_left_out(terminal: Terminal, answer: Mapping[str, Any]) -> None:
    if not answer.get("readable", True):
        terminal.remark("some are left out: a later version of gaesignals has stored them, and it alone can show them")


def _say_letter(terminal: Terminal, letter: Mapping[str, Any]) -> None:
    facts = (
        ("message", letter["id"]),
        ("sent", f"{clock_time(letter.get('sent_at'))} UTC"),
        ("died", f"{clock_time(letter.get('died_at'))} UTC"),
        ("attempts", str(letter["attempts"])),
        ("receivers", ", ".join(letter.get("receivers", []))),
    )
    for label, fact in facts:
        terminal.say(f"{label:<10} {fact}")
    # Whatever else ends a line somewhere is escaped.
    for line in letter["error"].rstrip("\n").split("\n"):
        terminal.say(line)


def _last_line(traceback: str) -> str:
    """What a traceback comes to, whoever ended the attempts; `dead show` has all of it."""
    lines = traceback.strip().splitlines() or [""]
    return f"{lines[-2]} ({BURIED})" if lines[-1] == BURIED and len(lines) > 1 else lines[-1]


def _say_letters(terminal: Terminal, name: str, letters: Sequence[Mapping[str, Any]], *, is_whole: bool) -> None:
    if not letters:
        if is_whole:
            terminal.say(f"no dead letters of {name}")
        return
    rows = [
        (
            letter["id"],
            clock_time(letter.get("died_at")),
            str(letter["attempts"]),
            ", ".join(letter.get("receivers", [])),
            _last_line(letter["error"]),
        )
        for letter in letters
    ]
    terminal.say_table(rows, headings=("ID", "DIED (UTC)", "ATTEMPTS", "RECEIVERS", "ERROR"), whole="ID")
