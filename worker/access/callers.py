"""Who calls: cron, Cloud Tasks, App Engine itself, a service that sends, or an administrator.

Headers that begin with X-Appengine count only where they cannot be forged: on App Engine, whose front end takes them
off requests from outside, and under the local server, for a caller on this machine. Such a header opens a door; it
never decides what is done behind it. A token that Google signed opens the doors of administrators and of senders, for
those whose address is listed for that door.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flask import Request, g
from google.appengine.api import users
from google.appengine.runtime import apiproxy_errors

from ..config import Environment, Settings, comparable
from ..log import escaped
from ..origin import Refused, check_local, check_same_site
from .keys import Fetch
from .tokens import GOOGLE, IAP, TokenError, Tokens

logger = logging.getLogger("gaesignals.worker")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# App Engine's own address for the requests that start and stop an instance.
_PLATFORM_IP = "0.1.0.3"
_IAP_HEADER = "X-Goog-IAP-JWT-Assertion"


class NotSignedIn(Refused):
    """A caller is turned away who may be an administrator; a person is sent to the login page."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is signed in."""

    email: str
    is_admin: bool


class Callers:
    """Tells callers apart. Each check raises `Refused`, with the cause, unless `request` comes from whom it is for."""

    def __init__(self, settings: Settings, *, fetch_keys: Fetch) -> None:
        self._settings = settings
        self._iap = Tokens(IAP, audience=settings.iap_audience, fetch=fetch_keys)
        self._bearers = Tokens(GOOGLE, audience=settings.oidc_audience, fetch=fetch_keys)

    def check_cron(self, request: Request) -> None:
        self._check_headers_count(request)
        if request.headers.get("X-Appengine-Cron") != "true":
            raise Refused("not called by cron: X-Appengine-Cron is missing")

    def check_task(self, request: Request, queues: Mapping[str, str]) -> None:
        """`queues` are those whose tasks come here, with the settings that name them."""
        self._check_headers_count(request)
        queue = request.headers.get("X-AppEngine-QueueName")
        if queue is None:
            raise Refused("not called by Cloud Tasks: X-AppEngine-QueueName is missing")
        if queue not in queues:
            known = ", ".join(f"{setting} is {name}" for name, setting in queues.items())
            raise Refused(f"a task of another queue, {escaped(queue)}; {known}")

    def check_platform(self, request: Request) -> None:
        self._check_headers_count(request)
        if self._settings.environment is Environment.STANDARD:
            if request.headers.get("X-Appengine-User-Ip") != _PLATFORM_IP:
                raise Refused("not called by App Engine itself")
        else:
            check_same_site(request)

    def check_sender(self, request: Request) -> None:
        """A token of a listed service, wherever the request comes from; nobody is one by being an administrator."""
        if self._settings.environment is Environment.LOCALDEV:
            check_local(request)
        else:
            bearer = _bearer_token(request)
            if bearer is None:
                raise Refused("no bearer token, and only a token of SIGNALS_OIDC_SENDERS counts")
            self._check_listed(_vouched_for(self._bearers, bearer), self._settings.oidc_senders, "SIGNALS_OIDC_SENDERS")
        check_same_site(request)

    def check_admin(self, request: Request) -> None:
        if self._settings.environment is Environment.LOCALDEV:
            check_local(request)
        else:
            g.signals_caller = self._identify(request)
        if request.method not in SAFE_METHODS:
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
        return self._check_person(request, signed_in_person(), visitor)

    def _check_listed(self, email: str, listed: Collection[str], setting: str) -> None:
        if comparable(email) not in listed:
            raise Refused(f"{escaped(email)} has a good bearer token and is not in {setting}")

    def _check_person(self, request: Request, person: Person | None, visitor: str) -> str:
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


def login_url(url: str) -> str:
    """Where somebody signs in to come back to `url`. Raises `Refused` if the users API does not say."""
    try:
        return str(users.create_login_url(url))
    except (apiproxy_errors.Error, users.Error) as error:
        raise Refused(f"the login page has no URL: {type(error).__name__}") from error
