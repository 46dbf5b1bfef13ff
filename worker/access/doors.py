"""Who may call what. Every route declares a door, every door has one rule, and a route without a door is closed.

Headers that begin with X-Appengine count only where they cannot be forged: on App Engine, whose front end takes them
off requests from outside, and under the local server, for a caller on this machine. Such a header opens a door; it
never decides what is done behind it. A token that Google signed opens the doors of administrators and of senders, for
those whose address is listed for that door. Refusals carry no detail. The cause is in the log.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Request, current_app, g, redirect, request
from google.appengine.api import users
from google.appengine.runtime import apiproxy_errors
from werkzeug.wrappers import Response

from ..answer import refuse, wants_page
from ..config import Environment, Settings, comparable
from ..log import escaped
from ..origin import Refused, check_local, check_local_name, check_same_site
from .keys import Fetch, fetch_keys
from .tokens import GOOGLE, IAP, TokenError, Tokens

logger = logging.getLogger("gaesignals.worker")

_DOOR = "signals_door"
# App Engine's own address for the requests that start and stop an instance.
_PLATFORM_IP = "0.1.0.3"
_IAP_HEADER = "X-Goog-IAP-JWT-Assertion"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

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


class Doorkeeper:
    """Checks each request before its view runs. Tasks that deliver come from `queues`, or from that of the settings."""

    def __init__(self, settings: Settings, *, queues: Collection[str] = (), fetch_keys: Fetch = fetch_keys) -> None:
        self._settings = settings
        deliver = dict.fromkeys(queues, "a receiver's queue") | {settings.queue: "SIGNALS_QUEUE"}
        self._iap = Tokens(IAP, audience=settings.iap_audience, fetch=fetch_keys)
        self._bearers = Tokens(GOOGLE, audience=settings.oidc_audience, fetch=fetch_keys)
        self._rules: dict[Door, Callable[[Request], None]] = {
            Door.ANYONE: lambda request: None,
            Door.CRON: self._check_cron,
            Door.TASKS: lambda request: self._check_task(request, deliver),
            Door.RESCUES: lambda request: self._check_task(
                request,
                {settings.safety_queue: "SIGNALS_SAFETY_QUEUE", settings.later_queue: "SIGNALS_LATER_QUEUE"},
            ),
            Door.PLATFORM: self._check_platform,
            Door.SENDERS: self._check_sender,
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

    def _check_task(self, request: Request, queues: Mapping[str, str]) -> None:
        """`queues` are those whose tasks come here, with the settings that name them."""
        self._check_headers_count(request)
        queue = request.headers.get("X-AppEngine-QueueName")
        if queue is None:
            raise Refused("not called by Cloud Tasks: X-AppEngine-QueueName is missing")
        if queue not in queues:
            known = ", ".join(f"{setting} is {name}" for name, setting in queues.items())
            raise Refused(f"a task of another queue, {escaped(queue)}; {known}")

    def _check_platform(self, request: Request) -> None:
        self._check_headers_count(request)
        if self._settings.environment is Environment.STANDARD:
            if request.headers.get("X-Appengine-User-Ip") != _PLATFORM_IP:
                raise Refused("not called by App Engine itself")
        else:
            check_same_site(request)

    def _check_sender(self, request: Request) -> None:
        """A token of a listed service, wherever the request comes from; nobody is one by being an administrator."""
        if self._settings.environment is Environment.LOCALDEV:
            check_local(request)
        else:
            bearer = _bearer_token(request)
            if bearer is None:
                raise Refused("no bearer token, and only a token of SIGNALS_OIDC_SENDERS counts")
            self._check_listed(_vouched_for(self._bearers, bearer), self._settings.oidc_senders, "SIGNALS_OIDC_SENDERS")
        check_same_site(request)

    def _check_admin(self, request: Request) -> None:
        if self._settings.environment is Environment.LOCALDEV:
            check_local(request)
        else:
            g.signals_caller = self._identify(request)
        if request.method not in _SAFE_METHODS:
            # Whoever it is, and with a bearer token too: a proxy may add that to whatever a browser sends.
            check_same_site(request)

    def _identify(self, request: Request) -> str:
        """The e-mail address of the administrator or script that calls. A bad token is not made up for by anything."""
        is_on_app_engine = self._settings.environment is Environment.STANDARD
        assertion = request.headers.get(_IAP_HEADER) if is_on_app_engine else None
        visitor = ""
        if assertion is not None and self._iap.is_expected:
            visitor = _vouched_for(self._iap, assertion)
            if self._is_listed(visitor):
                return visitor
        bearer = _bearer_token(request)
        if bearer is not None:
            # Its signature and audience say who sent it to whom, so it does not matter who stands in front.
            email = _vouched_for(self._bearers, bearer)
            self._check_listed(email, self._settings.oidc_callers, "SIGNALS_OIDC_CALLERS")
            return email
        self._check_headers_count(request)
        return self._check_person(signed_in_person(), visitor)

    def _check_listed(self, email: str, listed: Collection[str], setting: str) -> None:
        if comparable(email) not in listed:
            raise Refused(f"{escaped(email)} has a good bearer token and is not in {setting}")

    def _check_person(self, person: Person | None, visitor: str) -> str:
        """`visitor` has come through IAP, which says who somebody is and not what they may do."""
        if person is None and not visitor:
            raise NotSignedIn("nobody is signed in" + self._unused_token(request))
        if person is None or not (person.is_admin or self._is_listed(person.email)):
            email = person.email if person else visitor
            raise Refused(f"{escaped(email)} is neither an administrator of the app nor in SIGNALS_ADMINS")
        return person.email

    def _unused_token(self, request: Request) -> str:
        if _IAP_HEADER not in request.headers or self._iap.is_expected:
            return ""
        return f"; there is an IAP token, which counts only where {IAP.setting} is set"

    def _is_listed(self, email: str) -> bool:
        return comparable(email) in self._settings.admins

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
    """The e-mail address of who was let in by the administrators' door; empty under the local server."""
    email: str = g.get("signals_caller", "")
    return email


def _vouched_for(tokens: Tokens, token: str) -> str:
    try:
        return tokens.email(token)
    except TokenError as error:
        raise Refused(str(error)) from error


def _bearer_token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def signed_in_person() -> Person | None:
    """Who the users API says is signed in."""
    try:
        user = users.get_current_user()
    except AssertionError:
        logger.exception("the users API has no request: wrap the app with google.appengine.api.wrap_wsgi_app")
        return None
    return Person(user.email(), users.is_current_user_admin()) if user else None
