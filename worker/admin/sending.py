"""Sending a signal to try a receiver out: by the page's form, by a script, by `gaesignals send`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, jsonify, make_response, render_template, request
from werkzeug.exceptions import BadRequest, ServiceUnavailable
from werkzeug.wrappers import Response

from gaesignals.data import codec
from gaesignals.due import due_of
from gaesignals.errors import InvalidDataError, InvalidOptionError, StoreError
from gaesignals.mailbox.box import Mailbox
from gaesignals.way import Way

from ..access.callers import caller
from ..access.doors import Door, door
from ..answer import wants_page
from ..fields import any_fields, checked_name, checked_number, checked_seconds, checked_way, json_value
from ..log import escaped, escaped_names
from .flash import back, done

logger = logging.getLogger("gaesignals.worker")

MAX_SENT = 1000
MAX_SENT_BYTES = 16_000_000
_FIELDS = ("name", "data", "count", "wake", "durable", "latest", "delay_seconds")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be sent, how often, how it travels, and when it is due (seconds since 1970; None: at once)."""

    name: str
    payload: bytes
    count: int
    way: Way
    due: float | None


def add_routes(admin: Blueprint, mailbox: Mailbox) -> None:
    """Add the routes to the administrator's blueprint."""

    @admin.get("/send")
    @door(Door.ADMIN)
    def send_page() -> str:
        """The form; for the `name` in the URL, if there is one."""
        name = checked_name(request.args["name"]) if "name" in request.args else ""
        return render_template("send.html", name=name, given={}, done=done(request.args), error="")

    @admin.post("/send")
    @door(Door.ADMIN)
    def send() -> Response:
        """Send a signal to try a receiver out. A person whose form was not sent has it back as it was filled in."""
        try:
            return _send(mailbox)
        except (BadRequest, ServiceUnavailable) as error:
            if not wants_page(request):
                raise
            text = render_template("send.html", name="", given=request.form, done=None, error=error.description)
            return make_response(text, error.code)


def _send(mailbox: Mailbox) -> Response:
    wanted = _read(mailbox.clock())
    outgoing, ways = [(wanted.name, wanted.payload)] * wanted.count, [wanted.way] * wanted.count
    try:
        ids = mailbox.send(outgoing, ways=ways, due=wanted.due)
    except InvalidDataError as error:
        raise BadRequest(str(error)) from error
    except StoreError as error:
        # Our errors say what became of the messages, and hold nothing of them.
        logger.error("test signals were not all sent", extra={"detail": str(error), "caller": escaped(caller())})
        raise ServiceUnavailable(f"Not everything was sent: {error}") from error
    logger.info(
        "test signals sent",
        extra={
            "signals_names": escaped_names([wanted.name]),
            "caller": escaped(caller()),
            "signals_count": len(ids),
        },
    )
    return back("sent", {"messages": len(ids)}) if wants_page(request) else jsonify({"sent": len(ids), "ids": ids})


def _read(now: float) -> _Wanted:
    fields = any_fields(request, allowed=dict.fromkeys(_FIELDS, False))
    if "name" not in fields:
        raise BadRequest("name is missing: whom to send to?")
    name = checked_name(fields["name"])
    count = checked_number("count", fields.get("count", 1), least=1, most=MAX_SENT)
    payload = _payload(fields)
    if len(payload) * count > MAX_SENT_BYTES:
        raise BadRequest(f"{count} messages of {len(payload):,} bytes are too much at a time; send fewer")
    return _Wanted(name, payload, count, checked_way(fields), _due(fields, now))


def _payload(fields: Mapping[str, Any]) -> bytes:
    try:
        return codec.dumps(json_value(request, "data", fields))
    except InvalidDataError as error:
        raise BadRequest(str(error)) from error


def _due(fields: Mapping[str, Any], now: float) -> float | None:
    delay_seconds = checked_seconds("delay_seconds", fields.get("delay_seconds"))
    try:
        return due_of(delay_seconds=delay_seconds, at=None, now=now)
    except InvalidOptionError as error:
        raise BadRequest(str(error)) from error
