"""Delivery before each request, without a worker: a WSGI middleware."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NoReturn

from .delivery.deliver import deliver, find_matches
from .delivery.limits import check_options
from .errors import InvalidMappingError, InvalidOptionError, reject_unknown
from .receivers import ReceiverMapping, Receivers, as_receivers
from .signal import Signal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger("gaesignals")

_SKIPPED: Final = "/_ah/"


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
        lease_seconds: float = 300.0,
        **unknown: NoReturn,
    ) -> None:
        """Raises an error of ours for a mapping or an option that cannot work."""
        reject_unknown(unknown, where="SignalsMiddleware()")
        if not callable(app):
            raise InvalidMappingError(f"app={app!r:.80} is not a WSGI application: it cannot be called")
        check_options(lease_seconds, None, max_seconds)
        self._app = app
        # Receivers stay as they are, so that what is connected to them later is delivered, too.
        self._mapping = mapping if isinstance(mapping, Receivers) else as_receivers(mapping, reliable=reliable)
        self._reliable = reliable
        self._max_seconds = max_seconds
        self._names = _checked_names(names)
        self._lease_seconds = lease_seconds
        find_matches(as_receivers(self._mapping, reliable=reliable), self._names)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Deliver, then let `app` answer."""
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if not path.startswith(_SKIPPED):
            self._deliver()
        return self._app(environ, start_response)

    def _deliver(self) -> None:
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


def _checked_names(names: Iterable[str | Signal] | None) -> tuple[str | Signal, ...] | None:
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise InvalidOptionError(f"names={names!r:.80} cannot be: give a list of names")
    return tuple(names)
