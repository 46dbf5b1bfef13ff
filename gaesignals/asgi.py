"""ASGI: App Engine's services in coroutines, and delivery before each request without a worker.

The SDK serves WSGI alone: its `wrap_wsgi_app` takes a thread for one request's, and an ASGI server runs many in one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NoReturn, TypeAlias

from .errors import reject_unknown
from .limits import LEASE_SECONDS
from .middleware import BeforeRequests, checked_app
from .receivers import ReceiverMapping
from .signal import Signal
from .threads import in_this_request

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

# What App Engine's front end, or Google's own development server, gives each request for its calls.
_TICKETS: Final = (b"x-appengine-api-ticket", b"x-appengine-dev-request-id")


class AsyncSignalsMiddleware:
    """Lets an ASGI `app` send and deliver signals on App Engine, where it is for ASGI what `wrap_wsgi_app` is for WSGI.

    What is called in a request then belongs to it: `asend` in its coroutines, `send` in the functions that a framework
    runs in threads, and anything of App Engine's in `in_this_request`. Elsewhere it changes nothing.

    With a `mapping` it is to ASGI what `SignalsMiddleware` is to WSGI, with the same options: a delivery before each
    request but App Engine's own (`/_ah/...`), in a thread, while other requests go on.
    """

    def __init__(
        self,
        app: ASGIApp,
        mapping: ReceiverMapping | None = None,
        *,
        reliable: bool | None = None,
        max_seconds: float | None = 1.0,
        names: Iterable[str | Signal] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        **unknown: NoReturn,
    ) -> None:
        """Raises an error of ours for a mapping or an option that cannot work."""
        reject_unknown(unknown, where="AsyncSignalsMiddleware()")
        self._app = checked_app(app, "an ASGI application")
        self._before = BeforeRequests(
            {} if mapping is None else mapping,
            reliable=reliable,
            max_seconds=max_seconds,
            names=names,
            lease_seconds=lease_seconds,
        )
        self._is_delivering = mapping is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Deliver, if there is a mapping, then let `app` answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        with _serving(scope) as is_served:
            if self._is_delivering and scope["type"] == "http" and self._before.is_wanted(scope["path"]):
                deliver = in_this_request(self._before.deliver) if is_served else self._before.deliver
                await asyncio.to_thread(deliver)
            await self._app(scope, receive, send)


def _serving(scope: Scope) -> AbstractContextManager[bool]:
    """Make the request's ticket, if it has one, that of calls inside the block."""
    headers: dict[bytes, bytes] = _local() | dict(scope["headers"])
    if not any(headers.get(ticket) for ticket in _TICKETS):
        return nullcontext(False)
    # Imported here so that whoever has no use for it needs no SDK.
    from . import request

    return request.serving(_environ(scope, headers))


def _local() -> dict[bytes, bytes]:
    """What stands for the front end's headers where a server runs beside the local cloud."""
    if os.environ.get("GAE_ENV") != "localdev":
        return {}
    hostname = os.environ.get("DEFAULT_VERSION_HOSTNAME", "")
    return {_TICKETS[0]: b"local", b"x-appengine-default-version-hostname": hostname.encode()}


def _environ(scope: Scope, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """What the SDK reads of a request, by the names of CGI."""
    host, port = scope.get("server") or ("", None)
    environ = {f"HTTP_{_text(name).upper().replace('-', '_')}": _text(value) for name, value in headers.items()}
    return environ | {
        "PATH_INFO": scope["path"],
        "QUERY_STRING": _text(scope.get("query_string", b"")),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
    }


def _text(value: bytes) -> str:
    return value.decode("latin-1")
