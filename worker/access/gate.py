"""What stands in front of everything else, the SDK's middleware included: it sees a request first and an answer last.

The SDK's middleware answers some addresses by itself, fails in ways of its own, and copies the whole WSGI environment
into the thread's `os.environ`, where it stays for whoever serves the thread's next request.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Request
from werkzeug.wrappers import Response

from ..answer import HEADERS, explanation
from ..log import escaped
from ..origin import Refused, remember_peer
from .doors import Door, Doorkeeper

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("gaesignals.worker")

# What the SDK answers before the app is asked: background threads, the end of an instance, and transactional tasks.
_OF_THE_SDK = {
    "/_ah/background": Door.PLATFORM,
    "/_ah/stop": Door.PLATFORM,
    "/_ah/cloudtask/sweep": Door.CRON,
}


class Gate:
    """Lets requests through to an app, by the rules of `doorkeeper` where the app's own doors come too late."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    def answer(self, app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as `app` does, with the headers that every answer has."""
        remember_peer(environ)
        _disarm(environ)
        response = self._refusal(environ) or _response_of(app, environ)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _refusal(self, environ: WSGIEnvironment) -> Response | None:
        request = Request(environ)
        if not request.host:
            return _plain(400)
        which = _OF_THE_SDK.get(environ.get("PATH_INFO", ""))
        try:
            self._doorkeeper.check_host(request)
            if which is not None:
                self._doorkeeper.check(which, request)
        except Refused as refused:
            self._doorkeeper.log_refusal(request, which, refused)
            return _plain(403)
        return None


def _disarm(environ: WSGIEnvironment) -> None:
    """Take from a request what would mean something else as a variable of the environment.

    gunicorn takes a header SCRIPT_NAME for the path at which an app is mounted, and so a variable of that name: one
    request would break all that the thread serves after it. HTTP_PROXY, a header Proxy, is what clients call through.
    And a message's namespace is its own: the SDK would take one from a header, or fail over it.
    """
    mounted_at = environ.get("SCRIPT_NAME", "")
    environ["SCRIPT_NAME"] = ""
    if mounted_at:
        environ["PATH_INFO"] = mounted_at + environ.get("PATH_INFO", "")
    environ.pop("HTTP_PROXY", None)
    environ.pop("HTTP_X_APPENGINE_CURRENT_NAMESPACE", None)


def _response_of(app: WSGIApplication, environ: WSGIEnvironment) -> Response:
    """The whole answer of `app`: one that fails half-way is not begun."""
    try:
        response = Response.from_app(app, environ, buffered=True)
        # The SDK's own answers repeat the exception, in the status line even.
        is_sdks = environ.get("PATH_INFO", "") in _OF_THE_SDK and response.status_code >= 500
        return _plain(500) if is_sdks else response
    except Exception:
        logger.exception("a request failed outside the app", extra={"path": escaped(environ.get("PATH_INFO", ""))})
        return _plain(500)


def _plain(status: int) -> Response:
    body = json.dumps({"error": explanation(status)}, separators=(",", ":"))
    return Response(f"{body}\n", status, content_type="application/json")
