"""The administrator's pages: the overview, one name, chosen ones, deliveries. What they change, `admin` does."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, make_response, render_template, request, url_for
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from gaesignals.format.history import EVERYTHING
from gaesignals.format.letter import BURIED

from ..access.doors import Door, door
from ..config import Environment, Settings
from ..fields import checked_name, checked_names, checked_number
from ..labels import Labels
from ..past import WINDOWS, Window
from . import back_pages
from .commands import curl, resume_queue
from .flash import behind, done, here
from .inspector import MAX_NAMES, MAX_SORTED, Inspector
from .pictures import gallery
from .problems import problems
from .receivers import mark_of, receiver_rows
from .rows import MAX_ROWS, rows
from .status import Status

MAX_PAGE = 1_000_000
# The look at memcache is a handful of calls, so a page may ask often.
REFRESH_SECONDS = 5
CHOICES = ("drain", "pause", "resume", "discard")


def add_routes(admin: Blueprint, inspector: Inspector, labels: Labels) -> None:
    """Add the routes to the administrator's blueprint."""

    @admin.get("/")
    @door(Door.ADMIN)
    def page() -> Response:
        search, number = looked_for()
        status = inspector.look(search=search, page=number, size=MAX_SORTED, window=window_asked_for())
        is_unmatched = request.args.get("show") == "unmatched"
        names = status.mailbox.unmatched if is_unmatched else status.mailbox.names
        start = checked_number("start", request.args.get("start", "0"), least=0, most=MAX_SORTED)
        shown = rows(names, status.mailbox, start=start, page=number)
        place = {"page": number if number > 1 else None, "start": start or None}
        pictures = gallery(status.series)
        return _page(
            "overview.html", status, search=search, rows=shown, is_unmatched=is_unmatched, gallery=pictures, **place
        )

    @admin.get("/name")
    @door(Door.ADMIN)
    def name_page() -> Response:
        """One name: its mailbox, who listens, who is at it, and everything that can be done with it."""
        if "name" not in request.args:
            raise BadRequest("name is missing: which?")
        name = checked_name(request.args["name"])
        label = inspector.label_of(name)
        status = inspector.look(only=[name], window=window_asked_for(), label=label or EVERYTHING)
        template = labels.template_of(name)
        pictures = gallery(status.series) if label else None
        found = next(iter(status.mailbox.read), None)
        return _page(
            "name.html",
            status,
            name=name,
            written_out=ascii(name),
            found=found,
            brought=status.brought if label else None,
            gallery=pictures,
            counted_as=template,
        )

    @admin.post("/names/confirm")
    @door(Door.ADMIN)
    def confirm_names() -> Response:
        """Show what is about to be done with chosen names. Changes nothing: their names are too long for a URL."""
        action, chosen = request.form.get("action"), request.form.getlist("names")
        if action not in CHOICES:
            raise BadRequest(f"action has to be one of {', '.join(CHOICES)}")
        names = checked_names(chosen, at_most=MAX_NAMES) if chosen else ()
        status = inspector.look(only=names)
        found = {each.name: each for each in status.mailbox.read}
        text = render_template(
            "choice.html",
            action=action,
            names=names,
            pairs=[("names", name) for name in names],
            found=found,
            is_known=all(name in found and found[name].is_readable for name in names),
            messages=sum(each.waiting + each.retrying for each in found.values()),
            max_shown=MAX_ROWS,
            behind=behind(),
            of=request.args.get("of", ""),
        )
        return make_response(text, status_code(status))

    @admin.get("/receivers")
    @door(Door.ADMIN)
    def receivers_page() -> Response:
        search, id = looked_for()[0], request.args.get("id", "")
        start = checked_number("start", request.args.get("start", "0"), least=0, most=MAX_PAGE)
        status = inspector.look()
        shown = receiver_rows(status.receivers, search=search, start=start, id=id)
        return _page("receivers.html", status, search=search, shown=shown)

    @admin.get("/deliveries")
    @door(Door.ADMIN)
    def deliveries() -> Response:
        return _page("deliveries.html", inspector.look(), receivers_of=inspector.receivers_of)

    back_pages.add_routes(admin, inspector, labels, window=window_asked_for, show=_page)


def looked_for() -> tuple[str, int]:
    """What the URL searches for, and which page of many names."""
    search = request.args.get("search", "").strip()
    return search, checked_number("page", request.args.get("page", "1"), least=1, most=MAX_PAGE)


def window_asked_for() -> Window:
    """How far back the URL wants to look."""
    asked = request.args.get("window", Window.HOUR.label)
    if asked not in WINDOWS:
        raise BadRequest(f"window has to be one of {', '.join(WINDOWS)}")
    return WINDOWS[asked]


def status_code(status: Status) -> int:
    """A page that cannot show everything says so to scripts as well."""
    return 200 if status.health.is_memcache_up else 503


def template_names(settings: Settings) -> dict[str, Any]:
    """What templates, and the macros that they import, know and may call."""
    needs_token = settings.environment is not Environment.LOCALDEV

    def command(endpoint: str, *fields: tuple[str, str]) -> str:
        return curl(url_for(endpoint, _external=True), fields, needs_token=needs_token)

    resume = resume_queue(settings.queue, location=settings.location, project=settings.project)
    return {
        "curl": command,
        "resume_queue": resume,
        "needs_token": needs_token,
        "here": here,
        "buried": BURIED,
        "mark_of": mark_of,
        **back_pages.template_names(window_asked_for),
    }


def _page(template: str, status: Status, **values: Any) -> Response:
    text = render_template(
        template,
        status=status,
        now=status.looked_at,
        problems=problems(status),
        done=done(request.args),
        refresh_seconds=REFRESH_SECONDS,
        **values,
    )
    return make_response(text, status_code(status))
