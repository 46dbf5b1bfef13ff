"""The administrator's routes: look, drain, pause, resume, discard, send. Pages are plain HTML; scripts have JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import Blueprint, jsonify, make_response, request
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from gaesignals.errors import StoreError, TooManyPausedError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.discard import discard
from gaesignals.receivers import Receivers
from gaesignals.report import DeliveryReport

from ..access.callers import caller
from ..access.doors import Door, door
from ..answer import wants_page
from ..config import Settings
from ..deliveries import Source
from ..dispatcher import Dispatch, Dispatcher
from ..fields import any_fields, checked_flag, checked_names
from ..labels import Labels
from ..log import escaped, escaped_names
from ..pauses import KnownPauses
from ..tasks import Deliverer, Shift
from . import letters, messages, pages, sending
from .failure import failed_change
from .flash import MAX_NAMES, back
from .inspector import Inspector
from .pages import looked_for, status_code, window_asked_for
from .status import at_ms

logger = logging.getLogger("gaesignals.worker")

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
# Names of each kind in an answer to a drain.
MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class Desk:
    """What the administrator's routes work with. A drain that waits delivers for `wait_seconds`."""

    mailbox: Mailbox
    receivers: Receivers
    labels: Labels
    inspector: Inspector
    dispatcher: Dispatcher
    deliverer: Deliverer
    dead_letters: DeadLetters
    pauses: KnownPauses
    wait_seconds: float
    settings: Settings


def blueprint(desk: Desk) -> Blueprint:
    admin = Blueprint("admin", __name__, url_prefix="/admin")
    pages.add_routes(admin, desk.inspector, desk.labels)
    _add_status(admin, desk.inspector)
    _add_drain(admin, desk)
    _add_actions(admin, desk)
    sending.add_routes(admin, desk.mailbox)
    letters.add_routes(admin, desk.dead_letters)
    messages.add_routes(admin, messages.Moves(desk.mailbox, desk.receivers, desk.dispatcher))
    admin.add_app_template_filter(distance)
    admin.add_app_template_filter(at_ms)
    names = pages.template_names(desk.settings)
    admin.record_once(lambda state: state.app.jinja_env.globals.update(names))
    return admin


def _add_status(admin: Blueprint, inspector: Inspector) -> None:
    @admin.get("/status")
    @door(Door.ADMIN)
    def status() -> Response:
        search, page = looked_for()
        found = inspector.look(search=search, page=page, window=window_asked_for())
        return make_response(jsonify(found.to_json()), status_code(found))


def _add_drain(admin: Blueprint, desk: Desk) -> None:
    @admin.post("/drain")
    @door(Door.ADMIN)
    def drain() -> Response:
        """Dispatch now, or deliver right here; names that are paused are left alone and counted."""
        names, wait = _read_drain()
        _log("manual drain", names or (), wait=wait)
        unmatched = tuple(name for name in names or () if not desk.dispatcher.matches(name))
        if not wait:
            if names is None:
                return _drained(desk.dispatcher.fan_out_all())
            return _drained(replace(desk.dispatcher.fan_out_named(names), unmatched=unmatched))
        chosen = names if names is not None else desk.inspector.deliverable_names()
        shift = desk.deliverer.run(chosen, seconds=desk.wait_seconds, siblings=0, source=Source.MANUAL, by=caller())
        return _delivered(shift, unmatched)


def _add_actions(admin: Blueprint, desk: Desk) -> None:
    @admin.post("/pause")
    @door(Door.ADMIN)
    def pause() -> Response:
        """Leave names undelivered until they are resumed. Counts those that were not paused before."""
        return _change("paused", desk.pauses.pause)

    @admin.post("/resume")
    @door(Door.ADMIN)
    def resume() -> Response:
        """Deliver paused names again, from now on. Counts those that were paused."""

        def resume_and_dispatch(names: tuple[str, ...]) -> int:
            count = desk.pauses.resume(names)
            # Where every signal wakes, cron may run seldom. What is refused here goes out with its next run.
            desk.dispatcher.fan_out_named(names)
            return count

        return _change("resumed", resume_and_dispatch)

    @admin.post("/discard")
    @door(Door.ADMIN)
    def discard_names() -> Response:
        """Be rid of what waits or is to be retried under names. Counts messages; leases stay."""
        return _change("discarded", lambda names: discard(desk.mailbox, names), counted="messages")


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


def _change(action: str, change: Callable[[tuple[str, ...]], int], *, counted: str = "names") -> Response:
    """Do something with the names of the request, which have to be given: none does not stand for all."""
    fields = any_fields(request, allowed={"names": True})
    if "names" not in fields:
        raise BadRequest("names is missing: say which")
    names = checked_names(fields["names"], at_most=MAX_NAMES)
    try:
        count = change(names)
    except TooManyPausedError as error:
        raise BadRequest(str(error)) from error
    except StoreError as error:
        return failed_change("an administrator's change of names failed", error)
    _log("an administrator changed names", names, action=action, signals_count=count)
    return back(action, {counted: count}) if wants_page(request) else jsonify({action: count})


def _log(message: str, names: tuple[str, ...] | list[str], **fields: Any) -> None:
    logger.info(message, extra={"signals_names": escaped_names(names), "caller": escaped(caller()), **fields})


def _drained(dispatch: Dispatch) -> Response:
    """503 if the queue took nothing: then nothing was started. What waits is due all the same."""
    if wants_page(request):
        return back("dispatched", dispatch.counts())
    which = _which(refused=dispatch.refused, unmatched=dispatch.unmatched, paused=dispatch.paused)
    response = jsonify({**dispatch.counts(), "which": which})
    response.status_code = 503 if dispatch.has_failed else 200
    return response


def _which(**names: Sequence[str]) -> dict[str, list[str]]:
    """The first names of each kind that has some: what to look at, not all there is."""
    return {kind: list(some[:MAX_LISTED]) for kind, some in names.items() if some}


def _delivered(shift: Shift, unmatched: Sequence[str]) -> Response:
    """`unmatched` are those of the names that were asked for that have no receiver: they may be misspelt."""
    counts = {**shift.counts(), "unmatched": len(unmatched)}
    if wants_page(request):
        return back("delivered", counts)
    which = _which(refused=shift.refused, unmatched=unmatched, paused=shift.paused)
    return jsonify({**counts, "which": which, "more": list(shift.report.more), "errors": _errors(shift.report)})


def _errors(report: DeliveryReport) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "message_id": each.message_id, "receiver": each.receiver, "error": each.error}
        for each in report.errors
    ]
