"""Rescue tasks: what brings durable messages back, and delayed and transactional ones for the first time.

Their queues have no retry limits, so a task comes again until it is answered 2xx: then its messages are done, or in
memcache. 425 has the same task come again without slowing the queue down, 503 says that a service is away.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.rescue import rescue
from gaesignals.receivers import Receivers

from .access.doors import Door, door
from .queue import RESCUE_PATH


def blueprint(mailbox: Mailbox, receivers: Receivers) -> Blueprint:
    rescues = Blueprint("rescue", __name__)

    @rescues.post(RESCUE_PATH)
    @door(Door.RESCUES)
    def rescue_messages() -> tuple[Response, int]:
        """Do what one rescue task is for."""
        headers = request.headers
        rescued = rescue(
            mailbox,
            request.get_data(),
            task=headers.get("X-AppEngine-TaskName", ""),
            tries=_count(headers.get("X-AppEngine-TaskRetryCount")),
            kept_letters=receivers.max_dead_letters,
        )
        return jsonify({"rescue": rescued.answer.name.lower(), "sent": rescued.sent}), rescued.answer.value

    return rescues


def _count(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
