"""What App Engine's cron calls: the fan-out, every minute, and signals that are sent on a schedule."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest

from gaesignals.data.codec import dumps
from gaesignals.errors import InvalidNameError, StoreError
from gaesignals.mailbox.box import Mailbox
from gaesignals.template import check_name
from gaesignals.way import Way

from .access.doors import Door, door
from .dispatcher import Dispatch, Dispatcher
from .log import escaped_names

logger = logging.getLogger("gaesignals.worker")

REPAIR_SECONDS = 600.0
SEND_PATH = "/cron/send"


class Periodic:
    """Runs `action` when asked to, unless it succeeded less than `seconds` ago in this process."""

    def __init__(self, action: Callable[[], object], *, seconds: float, clock: Callable[[], float]) -> None:
        self._action = action
        self._seconds = seconds
        self._clock = clock
        self._last: float | None = None

    def run_if_due(self) -> None:
        now = self._clock()
        if self._last is None or now - self._last >= self._seconds:
            self._action()
            self._last = now


def blueprint(
    dispatcher: Dispatcher, repairs: Periodic, mailbox: Mailbox, *, note: Callable[[Dispatch], None]
) -> Blueprint:
    """`repairs` looks for names whose home page was evicted; what it finds goes out with the same run.

    `note` is called at the end of each fan-out that did not fail. Signals that cron sends go to `mailbox`.
    """
    cron = Blueprint("cron", __name__)

    @cron.get("/cron/drain")
    @door(Door.CRON)
    def drain() -> tuple[Response, int]:
        """Hand what waits to the queue. 503 if the queue took nothing, so that cron shows a failed run."""
        try:
            repairs.run_if_due()
        except StoreError as error:
            logger.warning("fixed names were not looked at", extra={"detail": str(error)})
        dispatch = dispatcher.fan_out()
        if not dispatch.has_failed:
            note(dispatch)
        counts = dispatch.counts()
        logger.log(logging.INFO if any(counts.values()) else logging.DEBUG, "fan-out", extra=counts)
        return jsonify(counts), 503 if dispatch.has_failed else 200

    @cron.get(f"{SEND_PATH}/<path:name>")
    @door(Door.CRON)
    def send(name: str) -> Response:
        """Send a signal with the query as its data: a dict of texts, None without one."""
        try:
            check_name(name)
        except InvalidNameError as error:
            raise BadRequest(str(error)) from error
        data = request.args.to_dict() or None
        (message_id,) = mailbox.send([(name, dumps(data))], ways=[Way(wake_ms=0)])
        logger.info("a signal of cron's was sent", extra={"signals_names": escaped_names([name])})
        return jsonify({"id": message_id})

    return cron
