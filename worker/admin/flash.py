"""What a page says was done: a form is answered by a redirect with an action and counts in its URL.

Nothing has to be kept in a session, and reloading repeats nothing. Anybody can make such a link, so nothing but a known
action and numbers is read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import redirect, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

MAX_NAMES = 10_000
ACTIONS = ("dispatched", "delivered", "requeued", "dropped", "paused", "resumed", "discarded", "sent", "run", "killed")
COUNTS = (
    "names",
    "tasks",
    "refused",
    "unmatched",
    "unreadable",
    "paused",
    "delivered",
    "failed",
    "retried",
    "dead",
    "lost",
    "overtaken",
    "expired",
    "remaining",
    "letters",
    "messages",
    "missing",
    "waiting",
    "leased",
)


# Where a browser is sent back to from where; all else gets the overview. The page that asks about names has the query
# of the overview that it was opened from.
_PAGES = {
    "admin.page": "admin.page",
    "admin.name_page": "admin.name_page",
    "admin.send_page": "admin.send_page",
    "admin.confirm_names": "admin.page",
}


def back(action: str, counts: Mapping[str, int], *, endpoint: str | None = None, **more: str) -> Response:
    """Send a browser to a page that says what was done: the one it came from, or that of `endpoint`."""
    path, fields = (url_for(endpoint), MultiDict(more)) if endpoint else _came_from()
    for key in COUNTS:
        if counts.get(key):
            fields[key] = str(counts[key])
    return redirect(f"{path}?{urlencode([('done', action), *fields.items(multi=True)])}", code=303)


def here() -> str:
    """The address of the page without what it says was done: for looking again."""
    return _with_query(request.path)


def behind() -> str:
    """The address of the page that a question was opened from: that of a name, or the overview."""
    if "of" in request.args:
        return url_for("admin.name_page", name=request.args["of"])
    return _with_query(url_for("admin.page"))


def _with_query(path: str) -> str:
    fields = _without_done(request.args)
    return path + (f"?{urlencode(list(fields.items(multi=True)))}" if fields else "")


def _came_from() -> tuple[str, MultiDict[str, str]]:
    """Path and query of the page that the form was on. Only our own pages count, and only as a path."""
    try:
        url = urlsplit(request.referrer or "")
    except ValueError:
        return url_for("admin.page"), MultiDict()
    paths = {url_for(asked): url_for(page) for asked, page in _PAGES.items()}
    if url.path not in paths:
        return url_for("admin.page"), MultiDict()
    fields = _without_done(MultiDict(parse_qsl(url.query)))
    if url.path == url_for("admin.confirm_names") and "of" in fields:
        return url_for("admin.name_page"), MultiDict({"name": fields["of"]})
    return paths[url.path], fields


def _without_done(args: MultiDict[str, str]) -> MultiDict[str, str]:
    return MultiDict([(key, value) for key, value in args.items(multi=True) if key not in ("done", *COUNTS)])


def done(args: MultiDict[str, str]) -> dict[str, Any] | None:
    """What the URL says was done, if anything."""
    action = args.get("done")
    if action not in ACTIONS:
        return None
    return {"action": action, "counts": {key: args.get(key, 0, type=int) for key in COUNTS}}
