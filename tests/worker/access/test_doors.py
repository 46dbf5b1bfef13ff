"""Every route there is, found by walking the app: whoever adds one has it tried here, without a line of test for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.appengine.ext import testbed
from webtest import TestResponse

from gaesignals import Receivers
from worker.access.callers import caller
from worker.access.doors import Door, door, door_of
from worker.access.tokens import GOOGLE, IAP, Issuer
from worker.config import Environment
from worker.origin import LOCAL_CALLERS, LOCAL_NAMES

from ..conftest import CRON_HEADERS, TASK_HEADERS, Client, MakeClient
from ..signing import IAP_AUDIENCE, OIDC_AUDIENCE, KeyServer, signed_with_the_public_key, token, unsigned

STANDARD, LOCALDEV, OTHER = Environment.STANDARD, Environment.LOCALDEV, Environment.OTHER
ADMIN, SCRIPT = "ada@example.com", "deployer@shop-1.iam.gserviceaccount.com"
# The only views that answer anybody. A route that is added to them is seen here.
OPEN_TO_ALL = {"static", "is_up"}
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Referer": "https://evil.example/"},
]


@dataclass(frozen=True)
class Route:
    """One method of one route. `view` is the name of its endpoint."""

    method: str
    path: str
    view: str
    door: Door | None


def routes(client: Client) -> list[Route]:
    """Every route and method of the app, with something in place of its arguments."""
    adapter = client.worker.url_map.bind("localhost:80")
    found = []
    for rule in client.worker.url_map.iter_rules():
        path = adapter.build(rule.endpoint, dict.fromkeys(rule.arguments, "1")) if rule.arguments else rule.rule
        which = door_of(client.worker.view_functions[rule.endpoint])
        found += [Route(method, path, rule.endpoint, which) for method in sorted(rule.methods or ())]
    assert len(found) > 20
    return found


def call(client: Client, route: Route, headers: dict[str, str] | None = None, **environ: str) -> TestResponse:
    environ = {"REMOTE_ADDR": "203.0.113.9", "HTTP_HOST": "localhost:80", **environ}
    return client.http.request(
        route.path, method=route.method, headers=headers or {}, environ=environ, status="*", expect_errors=True
    )


def is_refused(response: TestResponse) -> bool:
    return bool(response.status_int == 403)


def sign_in(bed: testbed.Testbed, email: str, *, is_admin: bool = False) -> None:
    bed.setup_env(
        user_email=email, user_is_admin="1" if is_admin else "0", user_id="1", auth_domain="gmail.com", overwrite=True
    )


def with_token(issuer: Issuer, text: str) -> dict[str, str]:
    return {"X-Goog-IAP-JWT-Assertion": text} if issuer is IAP else {"Authorization": f"Bearer {text}"}


@pytest.fixture
def keys() -> KeyServer:
    return KeyServer()


@pytest.fixture
def make_guarded(make_client: MakeClient, keys: KeyServer) -> MakeClient:
    """A client of a worker that knows both kinds of token."""

    def make(environment: Environment = STANDARD, **settings: object) -> Client:
        known = {
            "admins": frozenset({ADMIN}),
            "iap_audience": IAP_AUDIENCE,
            "oidc_audience": OIDC_AUDIENCE,
            "oidc_callers": frozenset({SCRIPT}),
        }
        return make_client(Receivers(), environment=environment, fetch_keys=keys, **{**known, **settings})

    return make


@pytest.fixture
def guarded(make_guarded: MakeClient) -> Client:
    return make_guarded()


class TestEveryRoute:
    def test_has_a_door(self, guarded: Client) -> None:
        assert [route for route in routes(guarded) if route.door is None] == []

    @pytest.mark.parametrize("environment", list(Environment))
    def test_refuses_who_brings_nothing(self, make_guarded: MakeClient, environment: Environment) -> None:
        client = make_guarded(environment)
        admitted = {route.view for route in routes(client) if not is_refused(call(client, route))}
        assert admitted == OPEN_TO_ALL
        assert {route.view for route in routes(client) if route.door is Door.ANYONE} == OPEN_TO_ALL

    @pytest.mark.parametrize("environment", [STANDARD, OTHER])
    def test_sends_a_person_who_is_not_signed_in_nowhere_but_to_the_login_page(
        self, make_guarded: MakeClient, environment: Environment
    ) -> None:
        client = make_guarded(environment)
        for route in routes(client):
            answer = call(client, route, {"Accept": "text/html"})
            if route.door is Door.ADMIN and environment is STANDARD and route.method in SAFE_METHODS:
                assert answer.status_int == 302
                assert answer.location.startswith("https://www.google.com/accounts/Login?")
            else:
                assert is_refused(answer) or route.door is Door.ANYONE

    def test_that_changes_something_for_an_administrator_refuses_pages_of_other_sites(
        self, guarded: Client, app_engine: testbed.Testbed
    ) -> None:
        sign_in(app_engine, ADMIN, is_admin=True)
        changing = [
            route
            for route in routes(guarded)
            if route.method not in SAFE_METHODS and (route.door is Door.ADMIN or route.path.startswith("/admin"))
        ]
        assert {"/admin/drain", "/admin/dead/requeue", "/admin/dead/drop"} <= {route.path for route in changing}
        for route in changing:
            for elsewhere in ELSEWHERE:
                assert is_refused(call(guarded, route, elsewhere)), (route, elsewhere)
            assert not is_refused(call(guarded, route, {"Origin": "http://localhost:80"})), route

    def test_refuses_without_saying_why(self, guarded: Client) -> None:
        refused = [call(guarded, route) for route in routes(guarded) if route.door is not Door.ANYONE]
        bodies = {answer.body for answer in refused}
        # Nothing for HEAD, the same sentence for all others.
        assert bodies <= {b"", b'{"error":"You may not do this."}\n'}

    def test_answers_with_the_headers_that_keep_browsers_in_check(
        self, guarded: Client, app_engine: testbed.Testbed
    ) -> None:
        sign_in(app_engine, ADMIN, is_admin=True)
        for route in routes(guarded):
            headers = call(guarded, route).headers
            policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert {policy[name] for name in ("script-src", "connect-src", "style-src", "form-action")} == {"'self'"}
            assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
            assert "Access-Control-Allow-Origin" not in headers


def good_tokens() -> Iterator[tuple[str, dict[str, str]]]:
    yield ADMIN, with_token(IAP, token(IAP, email=ADMIN))
    yield SCRIPT, with_token(GOOGLE, token(GOOGLE, email=SCRIPT))


class TestAToken:
    def test_opens_the_door_of_administrators_and_no_other(self, guarded: Client) -> None:
        for _, headers in good_tokens():
            for route in routes(guarded):
                is_open = route.door in (Door.ADMIN, Door.ANYONE)
                assert is_refused(call(guarded, route, headers)) is not is_open, route

    def test_says_who_is_let_in(self, guarded: Client) -> None:
        guarded.worker.add_url_rule("/admin/whoami", view_func=door(Door.ADMIN)(lambda: caller()))
        route = Route("GET", "/admin/whoami", "whoami", Door.ADMIN)
        assert [call(guarded, route, headers).text for _, headers in good_tokens()] == [ADMIN, SCRIPT]

    def test_is_no_reason_to_let_pages_of_other_sites_change_something(self, guarded: Client) -> None:
        for _, headers in good_tokens():
            for route in routes(guarded):
                if route.door is Door.ADMIN and route.method not in SAFE_METHODS:
                    assert all(is_refused(call(guarded, route, {**headers, **each})) for each in ELSEWHERE), route

    @pytest.mark.parametrize("email", [ADMIN.upper(), "Ada@Example.com"])
    def test_may_spell_the_address_as_it_likes(self, guarded: Client, email: str) -> None:
        assert not is_refused(look(guarded, with_token(IAP, token(IAP, email=email))))

    @pytest.mark.parametrize("email", ["wei\u00df@example.com", "\u212aim@example.com", "\u0130da@example.com"])
    def test_of_an_address_that_is_folded_like_another_is_not_the_others(
        self, make_guarded: MakeClient, app_engine: testbed.Testbed, email: str
    ) -> None:
        listed = frozenset({"weiss@example.com", "kim@example.com", "ida@example.com", email.casefold()})
        client = make_guarded(admins=listed, oidc_callers=listed)
        assert is_refused(look(client, with_token(IAP, token(IAP, email=email))))
        assert is_refused(look(client, with_token(GOOGLE, token(GOOGLE, email=email))))
        sign_in(app_engine, email)
        assert is_refused(look(client, {}))

    @pytest.mark.parametrize("email", [SCRIPT, "mallory@example.com", f" {ADMIN}", f"{ADMIN}.evil.example"])
    def test_of_iap_is_for_those_in_signals_admins(
        self, guarded: Client, caplog: pytest.LogCaptureFixture, email: str
    ) -> None:
        assert is_refused(look(guarded, with_token(IAP, token(IAP, email=email)), Accept="text/html"))
        assert "neither an administrator of the app nor in SIGNALS_ADMINS" in cause(caplog)
        assert email in cause(caplog)

    def test_of_iap_leaves_administrators_of_the_app_what_they_are(
        self, guarded: Client, app_engine: testbed.Testbed
    ) -> None:
        sign_in(app_engine, "owner@example.com", is_admin=True)
        assert not is_refused(look(guarded, with_token(IAP, token(IAP, email="owner@example.com"))))

    @pytest.mark.parametrize("email", [ADMIN, "mallory@example.com"])
    def test_of_a_script_is_for_those_in_signals_oidc_callers(
        self, guarded: Client, caplog: pytest.LogCaptureFixture, email: str
    ) -> None:
        assert is_refused(look(guarded, with_token(GOOGLE, token(GOOGLE, email=email))))
        assert f"'{email}' has a good bearer token and is not in SIGNALS_OIDC_CALLERS" in cause(caplog)

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
    def test_of_a_script_comes_behind_the_word_bearer(self, guarded: Client, scheme: str) -> None:
        good = token(GOOGLE, email=SCRIPT)
        assert not is_refused(look(guarded, {"Authorization": f"{scheme} {good}"}))
        for other in ("Basic", "Bearer,", "JWT", ""):
            assert is_refused(look(guarded, {"Authorization": f"{other} {good}"}))

    def test_where_iap_stands_in_front_a_script_may_be_known_by_either(self, guarded: Client) -> None:
        through_iap = with_token(IAP, token(IAP, email=SCRIPT))
        assert is_refused(look(guarded, through_iap))
        assert not is_refused(look(guarded, {**through_iap, **with_token(GOOGLE, token(GOOGLE, email=SCRIPT))}))
        # IAP leaves the token that was meant for it in the request.
        for_iap = with_token(GOOGLE, token(GOOGLE, aud="123.apps.googleusercontent.com"))
        assert not is_refused(look(guarded, {**with_token(IAP, token(IAP, email=ADMIN)), **for_iap}))

    @pytest.mark.parametrize("issuer", [IAP, GOOGLE], ids=lambda issuer: issuer.kind)
    def test_that_is_bad_is_not_made_up_for_by_anything(
        self, guarded: Client, app_engine: testbed.Testbed, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        sign_in(app_engine, ADMIN, is_admin=True)
        for bad in (
            *(token(issuer, email=ADMIN, **claims) for claims in ({"aud": "x"}, {"iss": "x"}, {"exp": 1})),
            *(forge(issuer) for forge in (unsigned, signed_with_the_public_key)),
            *("", "a.b.c"),
        ):
            answer = look(guarded, with_token(issuer, bad))
            assert is_refused(answer)
            assert answer.json == {"error": "You may not do this."}
            assert f"a bad {issuer.kind}" in cause(caplog)
            assert not bad or bad not in caplog.text + str(caplog.records[-1].__dict__)

    def test_that_cannot_be_checked_is_refused_without_an_error(self, guarded: Client, keys: KeyServer) -> None:
        keys.is_down = True
        for _, headers in good_tokens():
            assert is_refused(look(guarded, headers))
        assert sorted(keys.fetched) == sorted([IAP.keys_url, GOOGLE.keys_url])

    def test_that_is_forged_does_not_make_the_worker_ask_for_keys_each_time(
        self, guarded: Client, keys: KeyServer
    ) -> None:
        for number in range(50):
            assert is_refused(look(guarded, with_token(GOOGLE, token(GOOGLE, header={"kid": f"key-{number + 2}"}))))
        assert keys.fetched == [GOOGLE.keys_url]

    def test_counts_only_where_its_audience_is_set(
        self, make_guarded: MakeClient, keys: KeyServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = make_guarded(iap_audience="", oidc_audience="")
        for _, headers in good_tokens():
            assert is_refused(look(client, headers))
            assert "is set" in cause(caplog)
        assert keys.fetched == []

    def test_of_iap_locks_no_administrator_out_where_its_audience_is_not_set(
        self, make_guarded: MakeClient, app_engine: testbed.Testbed
    ) -> None:
        client = make_guarded(iap_audience="")
        sign_in(app_engine, "owner@example.com", is_admin=True)
        assert not is_refused(look(client, with_token(IAP, token(IAP, email="owner@example.com"))))


class TestOffAppEngine:
    def test_only_a_bearer_token_counts(self, make_guarded: MakeClient) -> None:
        """It proves itself, whoever stands in front; all else could be anybody's."""
        client = make_guarded(OTHER)
        admin_routes = [route for route in routes(client) if route.door is Door.ADMIN]
        for route in admin_routes:
            assert not is_refused(call(client, route, with_token(GOOGLE, token(GOOGLE, email=SCRIPT))))
            assert is_refused(call(client, route, with_token(IAP, token(IAP, email=ADMIN))))
            assert is_refused(call(client, route, {"X-Appengine-User-Email": ADMIN, "X-Appengine-User-Is-Admin": "1"}))
            assert is_refused(call(client, route, {**CRON_HEADERS, **TASK_HEADERS}))

    def test_the_local_server_asks_for_no_token_and_takes_none_from_elsewhere(self, make_guarded: MakeClient) -> None:
        client = make_guarded(LOCALDEV)
        for _, headers in good_tokens():
            assert is_refused(look(client, headers))
            assert not is_refused(look(client, headers, REMOTE_ADDR="127.0.0.1"))

    @pytest.mark.parametrize(
        "header", ["X-Gaesignals-Local-Names", "gaesignals.local_names", "Gaesignals.Local_Callers"]
    )
    def test_the_local_server_has_other_names_and_callers_only_if_its_front_says_so(
        self, make_guarded: MakeClient, header: str
    ) -> None:
        client = make_guarded(LOCALDEV)
        here, named = {"REMOTE_ADDR": "127.0.0.1"}, {"HTTP_HOST": "shop.example.com"}
        assert is_refused(look(client, {header: "shop.example.com"}, **here, **named))
        names: Any = {LOCAL_NAMES: ("shop.example.com",)}
        assert not is_refused(look(client, {}, **here, **named, **names))
        assert is_refused(look(client, {}, **named, **names))
        callers: Any = {LOCAL_CALLERS: True}
        assert not is_refused(look(client, {}, **named, **names, **callers))
        assert is_refused(look(client, {}, HTTP_HOST="evil.example", **names, **callers))


def look(client: Client, headers: dict[str, str], *, Accept: str = "*/*", **environ: str) -> TestResponse:
    return call(client, Route("GET", "/admin/status", "status", Door.ADMIN), {"Accept": Accept, **headers}, **environ)


def cause(caplog: pytest.LogCaptureFixture) -> str:
    """Why the last request was refused, as the log has it."""
    found: str = caplog.records[-1].__dict__["cause"]
    return found
