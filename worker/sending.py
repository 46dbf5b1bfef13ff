"""Sending over HTTP: for services in other languages, which know who they are by a token that Google signed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from gaesignals.data.codec import dumps
from gaesignals.errors import InvalidDataError, InvalidOptionError, SendError
from gaesignals.mailbox.box import Mailbox
from gaesignals.way import Way

from .access.doors import Door, door
from .fields import checked_fields, checked_name, json_body
from .log import escaped_names

logger = logging.getLogger("gaesignals.worker")

SEND_PATH = "/send"
MAX_MESSAGES = 1000
_OPTIONS = ("wake", "durable", "latest")
_FIELDS = ("name", "data", *_OPTIONS)


def blueprint(mailbox: Mailbox) -> Blueprint:
    sending = Blueprint("sending", __name__)

    @sending.post(SEND_PATH)
    @door(Door.SENDERS)
    def send() -> tuple[Response, int]:
        """Send what the body says, one message or a list of them; 200 only once all are stored.

        503 says how many are stored: those that may be, sent again, may come twice.
        """
        outgoing, ways = _read(json_body(request))
        names = escaped_names(dict.fromkeys(name for name, _ in outgoing))
        try:
            ids = mailbox.send(outgoing, ways=ways)
        except InvalidDataError as error:
            raise BadRequest(str(error)) from error
        except SendError as error:
            logger.error("messages of a sender were not stored", extra={"detail": str(error), "signals_names": names})
            counts = {"stored": len(error.stored), "unsure": len(error.unsure), "failed": len(error.failed)}
            return jsonify({"error": "not all messages were stored", **counts}), 503
        logger.info("messages of a sender", extra={"signals_count": len(ids), "signals_names": names})
        return jsonify({"sent": len(ids), "ids": ids}), 200

    return sending


def _read(body: object) -> tuple[list[tuple[str, bytes]], list[Way]]:
    messages = body if isinstance(body, list) else [body]
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise BadRequest(f"the list has {len(messages)} messages; send 1 to {MAX_MESSAGES} at a time")
    read = [_message(each) for each in messages]
    return [(name, payload) for name, payload, _ in read], [way for _, _, way in read]


def _message(each: object) -> tuple[str, bytes, Way]:
    fields: Mapping[str, Any] = checked_fields(each, allowed=_FIELDS, what="a message")
    if "name" not in fields:
        raise BadRequest("name is missing: whom to send to?")
    try:
        way = Way.of(**{option: fields.get(option, False) for option in _OPTIONS})
        return checked_name(fields["name"]), dumps(fields.get("data")), way
    except (InvalidDataError, InvalidOptionError) as error:
        raise BadRequest(str(error)) from error
