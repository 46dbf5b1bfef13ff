"""The pages of the past: of everything, of a receiver, of a name or pattern; and what templates need for pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from gaesignals.format.counts import Field
from gaesignals.format.history import EVERYTHING

from ..access.doors import Door, door
from ..labels import Labels
from ..past import Window
from .inspector import Inspector
from .pictures import TITLES, gallery, number, seconds
from .status import Status

# No window has more columns.
ALL_ROWS = 1000

Show = Callable[..., Response]


def add_routes(
    admin: Blueprint, inspector: Inspector, labels: Labels, *, window: Callable[[], Window], show: Show
) -> None:
    """Add the page of the history. `window` is what the URL asks for, `show` renders a page of a look."""

    @admin.get("/history")
    @door(Door.ADMIN)
    def history() -> Response:
        """What all instances did: altogether, of `receiver=`, of `name=`, or of a receiver with a name."""
        receiver, name = request.args.get("receiver"), request.args.get("name")
        title, label, note = "", EVERYTHING, ""
        if receiver is not None:
            title, label = _of_receiver(receiver, name, labels)
        elif name is not None:
            title, label, note = _of_name(name, labels)
        status: Status = inspector.look(only=(), window=window(), label=label)
        has_waiting = receiver is None
        pictures = gallery(status.series, has_waiting=has_waiting)
        full = gallery(status.series, has_waiting=has_waiting, rows=ALL_ROWS)
        return show("history.html", status, gallery=pictures, full=full, title=title, note=note)


def _of_receiver(id: str, name: str | None, labels: Labels) -> tuple[str, bytes]:
    """What is shown of a receiver; where one id is connected to several names, with the one that is given."""
    label = labels.of_receiver(id, name or "")
    if label not in labels.receivers or (name is not None and not labels.listens(id, name)):
        raise NotFound("no receiver here has that id, or several have it and it is for you to say of which name")
    return labels.titles[label], label


def _of_name(name: str, labels: Labels) -> tuple[str, bytes, str]:
    """What is shown of a name, or of a pattern as it stands in the code."""
    template = name if name in labels.templates else labels.template_of(name)
    label = labels.of_template(template) if template is not None else None
    if template is None or label is None:
        raise NotFound("nobody here listens to that name, so nothing was counted of it")
    note = "" if template == name else "A name made at run time is counted under the pattern that it matches."
    return template, label, note


def template_names(window: Callable[[], Window]) -> dict[str, Any]:
    """What the templates of pictures know and may call."""

    def windows() -> list[tuple[str, str, bool]]:
        """How far back one may look from the page at hand: what it is called, its address, whether that is here."""
        kept: dict[str, Any] = {
            key: value for key, value in request.args.items() if key in ("search", "show", "name", "receiver")
        }
        endpoint = request.endpoint or "admin.page"
        return [
            (title, url_for(endpoint, **kept, window=None if each is Window.HOUR else each.label), each is window())
            for each, title in TITLES.items()
        ]

    return {"windows": windows, "number": number, "seconds": seconds, "fields": Field}
