"""Who may call what. Every route declares a door, every door has one rule, and a route without a door is closed.

Headers that begin with X-Appengine count only where they cannot be forged: on App Engine, whose front end takes them
off requests from outside, and under the local server, for a caller on this machine. Such a header opens a door; it
never decides what is done behind it. Refusals carry no detail. The cause is in the log.
"""

from __future__ import annotations

import enum
import ipaddress
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Request, current_app, g, redirect, request
from google.appengine.api import users
from google.appengine.runtime import apiproxy_errors
from werkzeug.wrappers import Response

from .answer import refuse, wants_page
from .config import Environment, Settings
from .log import escaped

logger = logging.getLogger("gaesignals.worker")

# Where `remember_peer` leaves the address of who connected. App Engine's middleware replaces REMOTE_ADDR by a header.
PEER = "gaesignals.peer"
_DOOR = "signals_door"
_CALLER = "signals_caller"
# App Engine's own address for the requests that start and stop an instance.
_PLATFORM_IP = "0.1.0.3"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_USUAL_PORTS = {"http": 80, "https": 443}

View = TypeVar("View", bound=Callable[..., Any])


class Door(enum.Enum):
    """Who a route is for."""

    ANYONE = "anyone"
    CRON = "cron"
    TASKS = "tasks"
    PLATFORM = "platform"
    ADMIN = "admin"


class Refused(Exception):
    """A caller is turned away. The reason is for the log alone."""


class NotSignedIn(Refused):
    """A caller is turned away who may be an administrator; a person is sent to the login page."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    email: str
    is_admin: bool


def door(which: Door) -> Callable[[View], View]:
    """Declare the door of a view."""

    def declare(view: View) -> View:
        setattr(view, _DOOR, which)
        return view

    return declare


def door_of(view: object) -> Door | None:
    return getattr(view, _DOOR, None)


def remember_peer(environ: dict[str, Any]) -> None:
    """Note who connected, before any middleware changes it."""
    environ[PEER] = environ.get("REMOTE_ADDR", "")


class Doorkeeper:
    """Checks each request before its view runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules: dict[Door, Callable[[Request], None]] = {
            Door.ANYONE: lambda request: None,
            Door.CRON: self._check_cron,
            Door.TASKS: self._check_task,
            Door.PLATFORM: self._check_platform,
            Door.ADMIN: self._check_admin,
        }

    def guard(self, app: Flask) -> None:
        app.before_request(self.turn_away)

    def turn_away(self) -> Response | None:
        """Return the refusal for the current request, None if it may go on."""
        if request.routing_exception is not None or request.endpoint is None:
            return None  # no view will run
        which = door_of(current_app.view_functions[request.endpoint])
        try:
            self._check(which)
        except NotSignedIn as refused:
            return self._login(refused) or self._refuse(which, refused)
        except Refused as refused:
            return self._refuse(which, refused)
        return None

    def _check(self, which: Door | None) -> None:
        if which is None:
            raise Refused("the route has no door")
        self._rules[which](request)

    def _refuse(self, which: Door | None, refused: Refused) -> Response:
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
        return refuse(403)

    def _login(self, refused: NotSignedIn) -> Response | None:
        if request.method not in _SAFE_METHODS or not wants_page(request):
            return None
        try:
            url = users.create_login_url(request.url)
        except (apiproxy_errors.Error, users.Error) as error:
            cause = f"{refused}; the login page has no URL: {type(error).__name__}"
            return self._refuse(Door.ADMIN, Refused(cause))
        return redirect(url)

    def _check_cron(self, request: Request) -> None:
        self._check_headers_count(request)
        if request.headers.get("X-Appengine-Cron") != "true":
            raise Refused("not called by cron: X-Appengine-Cron is missing")

    def _check_task(self, request: Request) -> None:
        self._check_headers_count(request)
        queue = request.headers.get("X-AppEngine-QueueName")
        if queue is None:
            raise Refused("not called by Cloud Tasks: X-AppEngine-QueueName is missing")
        if queue != self._settings.queue:
            raise Refused(f"a task of another queue, {escaped(queue)}; SIGNALS_QUEUE is {self._settings.queue}")

    def _check_platform(self, request: Request) -> None:
        self._check_headers_count(request)
        if self._settings.environment is Environment.STANDARD:
            if request.headers.get("X-Appengine-User-Ip") != _PLATFORM_IP:
                raise Refused("not called by App Engine itself")
        else:
            check_same_site(request)

    def _check_admin(self, request: Request) -> None:
        self._check_headers_count(request)
        if self._settings.environment is Environment.STANDARD:
            self._check_person(signed_in_person())
        if request.method not in _SAFE_METHODS:
            check_same_site(request)

    def _check_person(self, person: Person | None) -> None:
        if person is None:
            raise NotSignedIn("nobody is signed in")
        setattr(g, _CALLER, person.email)
        if not (person.is_admin or person.email.casefold() in self._settings.admins):
            raise Refused(f"{escaped(person.email)} is neither an administrator of the app nor in SIGNALS_ADMINS")

    def _check_headers_count(self, request: Request) -> None:
        """Refuse where a header could be anybody's."""
        match self._settings.environment:
            case Environment.STANDARD:
                return
            case Environment.LOCALDEV:
                check_local(request)
            case _:
                raise Refused("neither on App Engine nor under the local server: GAE_ENV says so")


def caller() -> str:
    """The e-mail of whoever makes the current request, empty where the door did not have to find out."""
    email: str = g.get(_CALLER, "")
    return email


def signed_in_person() -> Person | None:
    """Who the users API says is signed in."""
    try:
        user = users.get_current_user()
    except AssertionError:
        logger.exception("the users API has no request: wrap the app with google.appengine.api.wrap_wsgi_app")
        return None
    return Person(user.email(), users.is_current_user_admin()) if user else None


def check_local(request: Request) -> None:
    """Refuse callers from other machines, and pages of other sites whose name was pointed at this machine."""
    if not _is_loopback(request.environ.get(PEER, "")):
        raise Refused("the local server answers callers on this machine only")
    if not _is_loopback(_hostname(f"//{request.host}")):
        raise Refused(f"the local server was called by another name, {escaped(request.host)}; use localhost")


def check_same_site(request: Request) -> None:
    """Refuse what a page of another site made a browser send.

    A browser says where a request comes from. A request that says nothing is a script's, which has no cookies that
    another site could abuse.
    """
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        if fetch_site not in ("same-origin", "none"):
            raise Refused(f"a cross-site request: Sec-Fetch-Site is {escaped(fetch_site)}")
        return
    for header in ("Origin", "Referer"):
        source = request.headers.get(header)
        if source is not None:
            host = _host(source)
            if host is None or host != _host(request.host_url):
                raise Refused(f"a cross-site request: {header} is {escaped(source)}")
            return


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _host(url: str) -> tuple[str, int | None] | None:
    """Host and port of `url`, the port None where it is the usual one; None if it has no host."""
    try:
        parts = urlsplit(url)
        port = None if parts.port == _USUAL_PORTS.get(parts.scheme) else parts.port
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None
