"""Who may call what. Every route declares a door, every door has one rule, and a route without a door is closed.

Who calls is told by `callers`. Refusals carry no detail. The cause is in the log.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from flask import Flask, Request, current_app, redirect, request
from werkzeug.wrappers import Response

from ..answer import refuse, wants_page
from ..config import Environment, Settings
from ..log import escaped
from ..origin import Refused, check_local_name
from .callers import SAFE_METHODS, Callers, NotSignedIn, login_url
from .keys import Fetch, fetch_keys

logger = logging.getLogger("gaesignals.worker")

_DOOR = "signals_door"

View = TypeVar("View", bound=Callable[..., Any])


class Door(enum.Enum):
    """Who a route is for."""

    ANYONE = "anyone"
    CRON = "cron"
    TASKS = "tasks"
    RESCUES = "rescues"
    PLATFORM = "platform"
    SENDERS = "senders"
    ADMIN = "admin"


def door(which: Door) -> Callable[[View], View]:
    """Declare the door of a view."""

    def declare(view: View) -> View:
        setattr(view, _DOOR, which)
        return view

    return declare


def door_of(view: object) -> Door | None:
    return getattr(view, _DOOR, None)


class Doorkeeper:
    """Checks each request before its view runs. Tasks that deliver come from `queues`, or from that of the settings."""

    def __init__(self, settings: Settings, *, queues: Collection[str] = (), fetch_keys: Fetch = fetch_keys) -> None:
        self._settings = settings
        deliver = dict.fromkeys(queues, "a receiver's queue") | {settings.queue: "SIGNALS_QUEUE"}
        callers = Callers(settings, fetch_keys=fetch_keys)
        self._rules: dict[Door, Callable[[Request], None]] = {
            Door.ANYONE: lambda request: None,
            Door.CRON: callers.check_cron,
            Door.TASKS: lambda request: callers.check_task(request, deliver),
            Door.RESCUES: lambda request: callers.check_task(
                request,
                {settings.safety_queue: "SIGNALS_SAFETY_QUEUE", settings.later_queue: "SIGNALS_LATER_QUEUE"},
            ),
            Door.PLATFORM: callers.check_platform,
            Door.SENDERS: callers.check_sender,
            Door.ADMIN: callers.check_admin,
        }

    def guard(self, app: Flask) -> None:
        app.before_request(self.turn_away)

    def turn_away(self) -> Response | None:
        """Return the refusal for the current request, None if it may go on."""
        if request.routing_exception is not None or request.endpoint is None:
            return None  # no view will run
        which = door_of(current_app.view_functions[request.endpoint])
        try:
            self.check(which, request)
        except NotSignedIn as refused:
            return self._login(refused) or self._refuse(which, refused)
        except Refused as refused:
            return self._refuse(which, refused)
        return None

    def check(self, which: Door | None, request: Request) -> None:
        """Raise `Refused` unless `request` may pass that door."""
        if which is None:
            raise Refused("the route has no door")
        self._rules[which](request)

    def check_host(self, request: Request) -> None:
        """Raise `Refused` for pages of other sites whose name was pointed at the local server; nobody else has one."""
        if self._settings.environment is Environment.LOCALDEV:
            check_local_name(request)

    def _refuse(self, which: Door | None, refused: Refused) -> Response:
        self.log_refusal(request, which, refused)
        return refuse(403)

    def log_refusal(self, request: Request, which: Door | None, refused: Refused) -> None:
        """Tell the log what the caller is not told."""
        logger.warning(
            "request refused",
            extra={
                "door": which.value if which else None,
                "method": request.method,
                "path": escaped(request.path),
                "cause": str(refused),
                "caller": escaped(request.remote_addr or ""),
            },
        )

    def _login(self, refused: NotSignedIn) -> Response | None:
        if request.method not in SAFE_METHODS or not wants_page(request):
            return None
        try:
            return redirect(login_url(request.url))
        except Refused as no_page:
            return self._refuse(Door.ADMIN, Refused(f"{refused}; {no_page}"))
