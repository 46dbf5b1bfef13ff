"""The administrator's routes: look, drain, requeue and drop. The page is plain HTML and forms; scripts have JSON.

A form is answered by a redirect back to the page, with what was done in the URL as counts: nothing has to be kept in a
session, and reloading repeats nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Blueprint, jsonify, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from gaesignals.deadletter import DeadLetters
from gaesignals.report import DeliveryReport

from .answer import wants_page
from .auth import Door, door
from .fanout import Dispatch, Dispatcher
from .fields import any_fields, checked_flag, checked_name, checked_names, checked_strings
from .log import escaped, escaped_names
from .status import Observer
from .tasks import Deliverer, Shift

logger = logging.getLogger("gaesignals.worker")

MAX_NAMES = 10_000
# What a redirect may report back; anything else in the URL is ignored.
_ACTIONS = ("dispatched", "delivered", "requeued", "dropped")
_DISPATCH_COUNTS = ("names", "tasks", "refused", "unmatched", "unreadable")
_COUNTS = (*_DISPATCH_COUNTS, "delivered", "failed", "retried", "dead", "lost", "remaining", "letters")
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def blueprint(
    observer: Observer, dispatcher: Dispatcher, deliverer: Deliverer, dead_letters: DeadLetters, *, wait_seconds: float
) -> Blueprint:
    admin = Blueprint("admin", __name__, url_prefix="/admin")

    @admin.get("/")
    @door(Door.ADMIN)
    def page() -> str:
        return render_template("status.html", status=observer.look(), done=_done(request.args))

    @admin.get("/status")
    @door(Door.ADMIN)
    def status() -> Response:
        return jsonify(observer.look().to_json())

    @admin.get("/dead")
    @door(Door.ADMIN)
    def dead() -> str:
        name = _whose(request.args)
        return render_template("dead.html", name=name, letters=dead_letters.list(name), done=_done(request.args))

    @admin.post("/drain")
    @door(Door.ADMIN)
    def drain() -> Response:
        names, wait = _read_drain()
        logger.info("manual drain", extra={"wait": wait, "signals_names": escaped_names(names or ())})
        unmatched = tuple(name for name in names or () if not dispatcher.matches(name))
        if not wait:
            dispatch = dispatcher.fan_out(only=names, force=True)
            return _drained(dispatch if names is None else replace(dispatch, unmatched=unmatched))
        chosen = names if names is not None else observer.deliverable_names()
        return _delivered(deliverer.run(chosen, seconds=wait_seconds, siblings=0), unmatched=len(unmatched))

    @admin.post("/dead/requeue")
    @door(Door.ADMIN)
    def requeue() -> Response:
        name, ids = _read_letters()
        logger.info("dead letters requeued", extra={"signals_name": escaped(name)})
        return _letters("requeued", name, dead_letters.requeue(name, ids))

    @admin.post("/dead/drop")
    @door(Door.ADMIN)
    def drop() -> Response:
        name, ids = _read_letters()
        logger.info("dead letters dropped", extra={"signals_name": escaped(name)})
        return _letters("dropped", name, dead_letters.drop(name, ids))

    admin.add_app_template_filter(distance)
    return admin


def distance(at: datetime, now: datetime) -> str:
    """How long ago `at` was, or how long until it is, roughly: "3 min ago", "in 2 h"."""
    seconds = (at - now).total_seconds()
    size = abs(seconds)
    if size < 1:
        return "now"
    unit, length = next((each for each in _UNITS if size >= each[1]), _UNITS[-1])
    rough = f"{int(size // length)} {unit}"
    return f"in {rough}" if seconds > 0 else f"{rough} ago"


def _read_drain() -> tuple[tuple[str, ...] | None, bool]:
    fields = any_fields(request, allowed={"names": True, "wait": False})
    names = checked_names(fields["names"], at_most=MAX_NAMES) if "names" in fields else None
    return names, checked_flag("wait", fields.get("wait", False))


def _read_letters() -> tuple[str, tuple[str, ...] | None]:
    fields = any_fields(request, allowed={"name": False, "ids": True})
    name = _whose(fields)
    ids = checked_strings("ids", fields["ids"], at_most=MAX_NAMES) if "ids" in fields else None
    return name, ids


def _whose(fields: Mapping[str, Any]) -> str:
    if "name" not in fields:
        raise BadRequest("name is missing: whose dead letters?")
    return checked_name(fields["name"])


def _drained(dispatch: Dispatch) -> Response:
    """503 if the queue took nothing: then nothing was started. What waits is due all the same."""
    if wants_page(request):
        return _back("dispatched", dispatch.counts())
    response = jsonify(dispatch.counts())
    response.status_code = 503 if dispatch.has_failed else 200
    return response


def _delivered(shift: Shift, *, unmatched: int) -> Response:
    """`unmatched` of the names that were asked for have no receiver: they may be misspelt."""
    counts = {**shift.counts(), "unmatched": unmatched}
    if wants_page(request):
        return _back("delivered", counts)
    return jsonify({**counts, "more": list(shift.report.more), "errors": _errors(shift.report)})


def _errors(report: DeliveryReport) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "message_id": each.message_id, "receiver": each.receiver, "error": each.error}
        for each in report.errors
    ]


def _letters(action: str, name: str, count: int) -> Response:
    if wants_page(request):
        return _back(action, {"letters": count}, endpoint="admin.dead", name=name)
    return jsonify({action: count})


def _back(action: str, counts: dict[str, int], *, endpoint: str = "admin.page", **more: str) -> Response:
    values: dict[str, Any] = {**more, **{key: counts[key] for key in _COUNTS if counts.get(key)}}
    return redirect(url_for(endpoint, done=action, **values), code=303)


def _done(args: MultiDict[str, str]) -> dict[str, Any] | None:
    """What the URL says was done: a known action and numbers, nothing else, since anybody can make a link."""
    action = args.get("done")
    if action not in _ACTIONS:
        return None
    return {"action": action, "counts": {key: args.get(key, 0, type=int) for key in _COUNTS}}
