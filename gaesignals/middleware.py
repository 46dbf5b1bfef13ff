"""Delivery before each request, without a worker: a WSGI middleware."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from .delivery.deliver import deliver, find_matches
from .errors import InvalidMappingError, InvalidOptionError, brief, reject_unknown
from .limits import LEASE_SECONDS, check_bounds
from .receivers import ReceiverMapping, Receivers, as_receivers
from .signal import Signal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("gaesignals")

AppT = TypeVar("AppT")

_SKIPPED: Final = "/_ah/"


class BeforeRequests:
    """Delivers what waits for `mapping` before requests, for the middlewares of WSGI and of ASGI; it never raises."""

    def __init__(
        self,
        mapping: ReceiverMapping,
        *,
        reliable: bool | None,
        max_seconds: float | None,
        names: Iterable[str | Signal] | None,
        lease_seconds: float,
    ) -> None:
        check_bounds(lease_seconds, None, max_seconds)
        # Receivers stay as they are, so that what is connected to them later is delivered, too.
        self._mapping = mapping if isinstance(mapping, Receivers) else as_receivers(mapping, reliable=reliable)
        self._reliable = reliable
        self._max_seconds = max_seconds
        self._names = _checked_names(names)
        self._lease_seconds = lease_seconds
        find_matches(as_receivers(self._mapping, reliable=reliable), self._names)

    def is_wanted(self, path: str) -> bool:
        """Whether a request to `path`, from the root, is not one of App Engine's own."""
        return not path.startswith(_SKIPPED)

    def deliver(self) -> None:
        """Deliver, and log what goes wrong."""
        try:
            deliver(
                self._mapping,
                names=self._names,
                reliable=self._reliable,
                lease_seconds=self._lease_seconds,
                max_seconds=self._max_seconds,
            )
        except Exception:
            logger.exception("signals could not be delivered before a request, which goes on without")


class SignalsMiddleware:
    """Delivers what waits for `mapping`, then calls `app`, for each request but App Engine's own (`/_ah/...`).

    It never fails the request: what goes wrong in a handler is logged and counted by the delivery, and anything else is
    logged here. It goes inside `google.appengine.api.wrap_wsgi_app`, without which memcache cannot be reached.

    `reliable` and `lease_seconds` are those of `deliver`. A request is held up for about `max_seconds`, looked at
    before each handler; the rest stays for the next request. `names` limits the deliveries to these names, and is
    needed where `mapping` has patterns.
    """

    def __init__(
        self,
        app: WSGIApplication,
        mapping: ReceiverMapping,
        *,
        reliable: bool | None = None,
        max_seconds: float | None = 1.0,
        names: Iterable[str | Signal] | None = None,
        lease_seconds: float = LEASE_SECONDS,
        **unknown: NoReturn,
    ) -> None:
        """Raises an error of ours for a mapping or an option that cannot work."""
        reject_unknown(unknown, where="SignalsMiddleware()")
        self._app = checked_app(app, "a WSGI application")
        self._before = BeforeRequests(
            mapping, reliable=reliable, max_seconds=max_seconds, names=names, lease_seconds=lease_seconds
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Deliver, then let `app` answer."""
        if self._before.is_wanted(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")):
            self._before.deliver()
        return self._app(environ, start_response)


def checked_app(app: AppT, kind: str) -> AppT:
    """Return `app`; raises `InvalidMappingError` where it cannot be called."""
    if not callable(app):
        raise InvalidMappingError(f"app={brief(app)} is not {kind}: it cannot be called")
    return app


def _checked_names(names: Iterable[str | Signal] | None) -> tuple[str | Signal, ...] | None:
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise InvalidOptionError(f"names={brief(names)} cannot be: give a list of names")
    return tuple(names)
