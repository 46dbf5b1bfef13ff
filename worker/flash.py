"""What a page says was done: a form is answered by a redirect with an action and counts in its URL.

Nothing has to be kept in a session, and reloading repeats nothing. Anybody can make such a link, so nothing but a known
action and numbers is read from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import redirect, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

MAX_NAMES = 10_000
ACTIONS = ("dispatched", "delivered", "requeued", "dropped", "paused", "resumed", "discarded", "sent")
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
    "remaining",
    "letters",
    "messages",
)


def back(action: str, counts: Mapping[str, int], *, endpoint: str = "admin.page", **more: str) -> Response:
    """Send a browser back to a page that says what was done."""
    values: dict[str, Any] = {**more, **{key: counts[key] for key in COUNTS if counts.get(key)}}
    return redirect(url_for(endpoint, done=action, **values), code=303)


def done(args: MultiDict[str, str]) -> dict[str, Any] | None:
    """What the URL says was done, if anything."""
    action = args.get("done")
    if action not in ACTIONS:
        return None
    return {"action": action, "counts": {key: args.get(key, 0, type=int) for key in COUNTS}}
