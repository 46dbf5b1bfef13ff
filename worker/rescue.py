"""Rescue tasks: what brings durable messages back, and delayed and transactional ones for the first time.

Their queues have no retry limits, so a task comes again until it is answered 2xx: then its messages are done, or in
memcache. 425 has the same task come again without slowing the queue down, 503 says that a service is away.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.rescue import rescue

from .access.doors import Door, door
from .queue import RESCUE_PATH


def blueprint(mailbox: Mailbox) -> Blueprint:
    rescues = Blueprint("rescue", __name__)

    @rescues.post(RESCUE_PATH)
    @door(Door.RESCUES)
    def rescue_messages() -> tuple[Response, int]:
        """Do what one rescue task is for."""
        answer = rescue(mailbox, request.get_data())
        return jsonify({"rescue": answer.name.lower()}), answer.value

    return rescues
