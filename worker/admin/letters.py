"""The administrator's routes to dead letters: list, show one payload, requeue, drop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from flask import Blueprint, jsonify, render_template, request
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response

from gaesignals.errors import LeftAloneError, StoreError
from gaesignals.format.letter import DeadLetter
from gaesignals.mailbox.dead import DeadCounts, DeadLetters

from ..access.callers import caller
from ..access.doors import Door, door
from ..answer import wants_page
from ..fields import any_fields, checked_name, checked_names, checked_number, checked_strings
from ..log import escaped
from . import rows
from .failure import failed_change
from .flash import MAX_NAMES, back, done
from .inspector import containing
from .payload import shown
from .status import at_seconds, iso

logger = logging.getLogger("gaesignals.worker")

# Each name takes a few calls to memcache.
MAX_CHANGED_NAMES = 1000
# A screenful of names with dead letters, and where it may start.
MAX_ROWS = 100
MAX_START = 1_000_000
# The fields that say which letters are to be changed, and whether there may be several of each.
_CHANGE = {"name": False, "names": True, "ids": True}


def add_routes(admin: Blueprint, dead_letters: DeadLetters) -> None:
    """Add the routes to the administrator's blueprint."""
    _add_looks(admin, dead_letters)
    _add_questions(admin, dead_letters)

    @admin.post("/dead/requeue")
    @door(Door.ADMIN)
    def requeue() -> Response:
        """To the receivers that failed, or, with `receivers=current`, to all that the name has today."""
        whom = any_fields(request, allowed=_CHANGE | {"receivers": False}).get("receivers", "failed")
        if whom not in ("failed", "current"):
            raise BadRequest("receivers has to be failed or current")
        return _change("requeued", dead_letters, partial(dead_letters.requeue, to_current=whom == "current"))

    @admin.post("/dead/drop")
    @door(Door.ADMIN)
    def drop() -> Response:
        return _change("dropped", dead_letters, dead_letters.drop)


def _add_looks(admin: Blueprint, dead_letters: DeadLetters) -> None:
    @admin.get("/dead")
    @door(Door.ADMIN)
    def dead() -> str | Response:
        """The names that have dead letters, those that contain `search`; with `name`, that name's letters.

        The letters come the newest first and without payloads. What only a later version can tell is left out.
        """
        name = checked_name(request.args["name"]) if "name" in request.args else None
        return _names(dead_letters.counts()) if name is None else _letters(dead_letters, name)

    @admin.get("/dead/payload")
    @door(Door.ADMIN)
    def payload() -> str | Response:
        """What was sent, for the person who has to understand it. Who asked is in the log."""
        name, id_ = _whose(request.args), request.args.get("id", "")
        letter = _find(dead_letters, name, id_)
        logger.info(
            "a dead letter's payload is shown",
            extra={"signals_name": escaped(name), "signals_message": letter.id, "caller": escaped(caller())},
        )
        data = shown(letter.record.payload)
        if wants_page(request):
            return render_template("payload.html", name=name, id=letter.id, data=data, behind="dead")
        return jsonify({"name": name, "id": letter.id, "data": data})


def _add_questions(admin: Blueprint, dead_letters: DeadLetters) -> None:
    @admin.get("/dead/confirm")
    @door(Door.ADMIN)
    def confirm() -> str:
        """Show what is about to be requeued or dropped: the letters with the `ids`, or all there are now."""
        name, action = _whose(request.args), request.args.get("action", "")
        action, _, which = action.partition("-")
        if action not in ("requeue", "drop") or which not in ("", "all"):
            raise BadRequest("action has to be requeue or drop")
        asked = set(request.args.getlist("ids"))
        letters = [each for each in dead_letters.peek(name)[::-1] if which or each.id in asked]
        ids = list(dict.fromkeys(letter.id for letter in letters))
        missing = 0 if which else len(asked) - len(ids)
        fields = [("ids", id_) for id_ in ids]
        return render_template(
            "confirm.html", name=name, action=action, letters=letters, ids=ids, pairs=fields, missing=missing
        )

    @admin.post("/dead/names/confirm")
    @door(Door.ADMIN)
    def confirm_dead_names() -> str:
        """Show of which names all letters are about to be requeued or dropped. Changes nothing."""
        action, chosen = request.form.get("action"), request.form.getlist("names")
        if action not in ("requeue", "drop"):
            raise BadRequest("action has to be requeue or drop")
        names = checked_names(chosen, at_most=MAX_CHANGED_NAMES) if chosen else ()
        pairs = [("names", name) for name in names]
        counts = dead_letters.counts().by_name
        return render_template(
            "dead_choice.html", action=action, names=names, counts=counts, pairs=pairs, max_shown=rows.MAX_ROWS
        )


def _letters(dead_letters: DeadLetters, name: str) -> str | Response:
    letters: Sequence[DeadLetter] = ()
    is_readable = True
    try:
        letters = dead_letters.peek(name)[::-1]
    except LeftAloneError:
        is_readable = False
    if wants_page(request):
        now = at_seconds(time.time())
        return render_template(
            "dead.html", name=name, letters=letters, is_readable=is_readable, now=now, done=done(request.args)
        )
    return jsonify({"name": name, "letters": [_letter_json(letter) for letter in letters], "readable": is_readable})


def _names(found_counts: DeadCounts) -> str | Response:
    search = request.args.get("search", "").strip()
    counts, is_readable = found_counts.by_name, not found_counts.hidden
    found = containing(search, list(counts))
    if not wants_page(request):
        return jsonify({"names": {name: counts[name] for name in found}, "readable": is_readable})
    start = checked_number("start", request.args.get("start", "0"), least=0, most=MAX_START)
    start = min(start, max(0, len(found) - 1)) // MAX_ROWS * MAX_ROWS
    most_first = sorted(found, key=lambda name: (-counts[name], name))
    return render_template(
        "dead_names.html",
        shown={name: counts[name] for name in most_first[start : start + MAX_ROWS]},
        names_count=len(found),
        is_readable=is_readable,
        search=search,
        start=start,
        rows=MAX_ROWS,
        done=done(request.args),
    )


def _letter_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "sent_at": iso(letter.sent_at),
        "died_at": iso(letter.died_at),
        "attempts": letter.attempt,
        "receivers": list(letter.receivers),
        "error": letter.error,
    }


def _find(dead_letters: DeadLetters, name: str, id_: str) -> DeadLetter:
    """The newest letter of that message, with its payload: several receivers may have failed with the same one."""
    if not id_:
        raise BadRequest("id is missing: which message?")
    found = [letter for letter in dead_letters.peek(name) if letter.id == id_]
    if not found:
        raise NotFound("there is no such dead letter; it may have been requeued, dropped or evicted")
    return dead_letters.with_payloads(found[-1:])[0]


def _change(action: str, dead_letters: DeadLetters, change: Callable[[str, tuple[str, ...] | None], int]) -> Response:
    fields = any_fields(request, allowed=_CHANGE | ({"receivers": False} if action == "requeued" else {}))
    names = _all_of(fields) if "names" in fields else (_whose(fields),)
    ids = checked_strings("ids", fields["ids"], at_most=MAX_NAMES) if "ids" in fields else None
    missing = None if ids is None else len(set(ids).difference(letter.id for letter in dead_letters.peek(names[0])))
    count = 0
    for name in names:
        try:
            changed = change(name, ids)
        except StoreError as error:
            done_before = f"; {count} letters were changed before" if count else ""
            return failed_change("an administrator's change of dead letters failed", error, done=done_before)
        count += changed
        logger.info(
            "an administrator changed dead letters",
            extra={
                "action": action,
                "signals_name": escaped(name),
                "signals_count": changed,
                "caller": escaped(caller()),
            },
        )
    if wants_page(request):
        whose = {} if "names" in fields else {"name": names[0]}
        return back(action, {"letters": count}, endpoint="admin.dead", **whose)
    return jsonify({action: count} if missing is None else {action: count, "missing": missing})


def _all_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Several names, of which all letters are meant."""
    if "name" in fields or "ids" in fields:
        raise BadRequest("names stands for all letters of several names, so neither name nor ids goes with it")
    return checked_names(fields["names"], at_most=MAX_CHANGED_NAMES)


def _whose(fields: Mapping[str, Any]) -> str:
    if "name" not in fields:
        raise BadRequest("name is missing: whose dead letters?")
    return checked_name(fields["name"])
