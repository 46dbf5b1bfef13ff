"""The doors: who may call which route, on App Engine, under the local server, and anywhere else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask, request
from google.appengine.api import apiproxy_stub_map
from google.appengine.ext import testbed
from google.appengine.runtime import apiproxy_errors
from webtest import TestResponse

from gaesignals import Receivers
from worker.access.doors import Door, Doorkeeper, door, door_of
from worker.config import Environment, Settings
from worker.origin import Refused, check_same_site, remember_peer

from ..conftest import CRON_HEADERS, TASK_HEADERS, Client, MakeClient

STANDARD, LOCALDEV, OTHER = Environment.STANDARD, Environment.LOCALDEV, Environment.OTHER
PUBLIC_PATHS = ["/healthz", "/_ah/warmup", "/_ah/start"]
PATHS = {
    Door.CRON: ("GET", "/cron/drain"),
    Door.TASKS: ("POST", "/tasks/deliver"),
    Door.PLATFORM: ("GET", "/_ah/stop"),
    Door.ADMIN: ("POST", "/admin/drain"),
}
ADMIN_ROUTES = [
    ("GET", "/admin/"),
    ("GET", "/admin/status"),
    ("GET", "/admin/dead?name=a"),
    ("POST", "/admin/drain"),
    ("POST", "/admin/dead/requeue"),
    ("POST", "/admin/dead/drop"),
    ("GET", "/admin/dead"),
    ("GET", "/admin/dead/payload?name=a&id=b"),
    ("POST", "/admin/pause"),
    ("POST", "/admin/resume"),
    ("POST", "/admin/discard"),
    ("POST", "/admin/send"),
]
# What a stranger may write into a request to look important.
FORGED = {
    **CRON_HEADERS,
    **TASK_HEADERS,
    "X-Appengine-User-Is-Admin": "1",
    "X-Appengine-User-Email": "ada@example.com",
    "X-Appengine-User-Ip": "127.0.0.1",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "localhost",
    "X-Goog-IAP-JWT-Assertion": "a.b.c",
    "X-Goog-Authenticated-User-Email": "accounts.google.com:ada@example.com",
    "Authorization": "Bearer a.b.c",
}


@pytest.fixture
def on_app_engine(make_client: MakeClient) -> Client:
    return make_client(Receivers(), environment=STANDARD, admins=frozenset({"grace@example.com"}))


@pytest.fixture
def local(make_client: MakeClient) -> Client:
    return make_client(Receivers())


def call(client: Client, method: str, path: str, headers: dict[str, str], **environ: str) -> TestResponse:
    send = client.http.get if method == "GET" else client.http.post
    return send(path, headers=headers, extra_environ={"REMOTE_ADDR": "127.0.0.1", **environ}, status="*")


def sign_in(bed: testbed.Testbed, email: str, *, is_admin: bool = False) -> None:
    bed.setup_env(
        user_email=email, user_is_admin="1" if is_admin else "0", user_id="1", auth_domain="gmail.com", overwrite=True
    )


def is_admitted(response: TestResponse) -> bool:
    return response.status_int not in (302, 403)


class TestEveryRoute:
    def test_declares_its_door(self, local: Client) -> None:
        views = local.worker.view_functions
        assert {
            rule.endpoint for rule in local.worker.url_map.iter_rules() if door_of(views[rule.endpoint]) is None
        } == set()

    def test_is_closed_to_strangers_except_for_those_that_say_the_worker_is_up(self, make_client: MakeClient) -> None:
        client = make_client(Receivers(), environment=OTHER)
        open_paths = set()
        for rule in client.worker.url_map.iter_rules():
            for method in (rule.methods or set()) - {"HEAD"}:
                path = rule.rule.replace("<path:filename>", "admin.css")
                response = client.http.request(path, method=method, headers=FORGED, status="*")
                if is_admitted(response):
                    open_paths.add(rule.rule)
        assert open_paths == {*PUBLIC_PATHS, "/admin/static/<path:filename>"}

    def test_that_declares_no_door_is_closed(self) -> None:
        app = Flask(__name__)
        Doorkeeper(Settings(environment=LOCALDEV)).guard(app)
        app.add_url_rule("/forgotten", view_func=lambda: "secret")
        with app.test_client() as client:
            assert client.get("/forgotten").status_code == 403

    def test_changes_nothing_by_get_unless_app_engine_calls_it_so(self, local: Client) -> None:
        changing = {"/cron/drain", "/_ah/stop"}
        for rule in local.worker.url_map.iter_rules():
            which = door_of(local.worker.view_functions[rule.endpoint])
            if which in (Door.ADMIN, Door.TASKS) and rule.rule not in changing:
                assert len({"GET", "POST"} & (rule.methods or set())) == 1, rule.rule


class TestPublicRoutes:
    @pytest.mark.parametrize("path", PUBLIC_PATHS)
    @pytest.mark.parametrize("environment", list(Environment))
    def test_answer_anybody(self, make_client: MakeClient, path: str, environment: Environment) -> None:
        client = make_client(Receivers(), environment=environment)
        assert client.http.get(path).json == {"status": "ok"}


class TestOffAppEngine:
    @pytest.mark.parametrize(("method", "path"), PATHS.values())
    def test_no_header_counts(self, make_client: MakeClient, method: str, path: str) -> None:
        client = make_client(Receivers(), environment=OTHER, admins=frozenset({"ada@example.com"}))
        assert call(client, method, path, FORGED).status_int == 403


class TestCron:
    @pytest.mark.parametrize("environment", [STANDARD, LOCALDEV])
    def test_is_let_in_by_its_header(self, make_client: MakeClient, environment: Environment) -> None:
        make_client(Receivers(), environment=environment).cron(status=200)

    @pytest.mark.parametrize("headers", [{}, {"X-Appengine-Cron": "false"}, {"X-Appengine-Cron": ""}, TASK_HEADERS])
    def test_is_turned_away_without_it(self, on_app_engine: Client, headers: dict[str, str]) -> None:
        assert call(on_app_engine, "GET", "/cron/drain", headers).status_int == 403

    def test_is_not_for_administrators(self, on_app_engine: Client, app_engine: testbed.Testbed) -> None:
        sign_in(app_engine, "ada@example.com", is_admin=True)
        assert call(on_app_engine, "GET", "/cron/drain", {}).status_int == 403


class TestTasks:
    @pytest.mark.parametrize("environment", [STANDARD, LOCALDEV])
    def test_are_let_in_by_the_name_of_our_queue(self, make_client: MakeClient, environment: Environment) -> None:
        make_client(Receivers(), environment=environment).task({"names": ["a"]}, status=200)

    def test_of_the_queue_in_the_settings_are_let_in(self, make_client: MakeClient) -> None:
        client = make_client(Receivers(), environment=STANDARD, queue="other")
        assert client.task({"names": ["a"]}, status="*").status_int == 403
        headers = {"X-AppEngine-QueueName": "other"}
        client.http.post_json("/tasks/deliver", {"names": ["a"]}, headers=headers, status=200)

    @pytest.mark.parametrize("headers", [{}, CRON_HEADERS, {"X-AppEngine-QueueName": "default"}])
    def test_of_other_queues_are_turned_away(
        self, on_app_engine: Client, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
    ) -> None:
        assert call(on_app_engine, "POST", "/tasks/deliver", headers).status_int == 403
        assert "queue" in caplog.records[-1].__dict__["cause"].lower()

    def test_are_judged_before_their_body(self, on_app_engine: Client) -> None:
        on_app_engine.http.post("/tasks/deliver", b"x" * 2**21, status=403)


class TestStop:
    def test_by_app_engine_itself_stops_deliveries(self, on_app_engine: Client) -> None:
        call(on_app_engine, "GET", "/_ah/stop", {"X-Appengine-User-Ip": "0.1.0.3"})
        assert on_app_engine.worker.stopping.is_set()

    def test_by_a_stranger_does_not(self, on_app_engine: Client) -> None:
        assert call(on_app_engine, "GET", "/_ah/stop", {"X-Appengine-User-Ip": "203.0.113.9"}).status_int == 403
        assert not on_app_engine.worker.stopping.is_set()

    def test_under_the_local_server_is_for_callers_on_this_machine(self, local: Client) -> None:
        assert call(local, "GET", "/_ah/stop", {}, REMOTE_ADDR="203.0.113.9").status_int == 403
        assert call(local, "GET", "/_ah/stop", {"Sec-Fetch-Site": "cross-site"}).status_int == 403
        assert not local.worker.stopping.is_set()
        assert call(local, "GET", "/_ah/stop", {}).status_int == 200
        assert local.worker.stopping.is_set()


class TestAdministrators:
    @pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
    def test_of_the_app_are_let_in(
        self, on_app_engine: Client, app_engine: testbed.Testbed, method: str, path: str
    ) -> None:
        sign_in(app_engine, "ada@example.com", is_admin=True)
        assert is_admitted(call(on_app_engine, method, path, {}))

    @pytest.mark.parametrize("email", ["grace@example.com", "Grace@Example.COM"])
    def test_listed_in_the_settings_are_let_in(
        self, on_app_engine: Client, app_engine: testbed.Testbed, email: str
    ) -> None:
        sign_in(app_engine, email)
        on_app_engine.http.get("/admin/status", status=200)

    @pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
    def test_are_not_others_who_are_signed_in(
        self, on_app_engine: Client, app_engine: testbed.Testbed, method: str, path: str
    ) -> None:
        sign_in(app_engine, "mallory@example.com")
        assert call(on_app_engine, method, path, {"Accept": "text/html"}).status_int == 403

    @pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
    def test_are_not_scripts_without_a_person(self, on_app_engine: Client, method: str, path: str) -> None:
        response = call(on_app_engine, method, path, {})
        assert (response.status_int, response.json) == (403, {"error": "You may not do this."})

    @pytest.mark.parametrize("header", ["X-Goog-IAP-JWT-Assertion", "Authorization", "X-Goog-Authenticated-User-Email"])
    def test_are_not_made_by_tokens(self, on_app_engine: Client, header: str) -> None:
        assert call(on_app_engine, "GET", "/admin/status", {header: FORGED[header]}).status_int == 403

    def test_are_not_made_by_the_headers_of_cron_and_tasks(self, on_app_engine: Client) -> None:
        assert call(on_app_engine, "POST", "/admin/drain", {**CRON_HEADERS, **TASK_HEADERS}).status_int == 403

    def test_who_are_not_signed_in_are_sent_to_the_login_page_and_back(self, on_app_engine: Client) -> None:
        response = on_app_engine.browse("/admin/dead?name=a%26b", status=302)
        assert response.location.startswith("https://www.google.com/accounts/Login?continue=http")
        assert "admin/dead%3Fname%3Da%2526b" in response.location

    def test_who_are_not_signed_in_are_not_sent_there_by_a_form(self, on_app_engine: Client) -> None:
        on_app_engine.submit("/admin/drain", {}, status=403)

    def test_are_turned_away_if_there_is_no_login_page(
        self, on_app_engine: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object) -> None:
            raise apiproxy_errors.RPCFailedError("down")

        monkeypatch.setattr(apiproxy_stub_map, "MakeSyncCall", fail)
        on_app_engine.browse("/admin/", status=403)

    def test_are_unknown_where_the_app_is_not_wrapped(
        self, on_app_engine: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delenv("AUTH_DOMAIN", raising=False)
        on_app_engine.http.get("/admin/status", status=403)
        assert "wrap_wsgi_app" in caplog.text


class TestLocalServer:
    @pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
    def test_is_open_on_this_machine(self, local: Client, method: str, path: str) -> None:
        assert is_admitted(call(local, method, path, {}))

    @pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
    @pytest.mark.parametrize("host", ["localhost", "localhost:8081", "127.0.0.1:8081", "[::1]:8081", "LOCALHOST"])
    def test_knows_this_machine_by_its_addresses_and_names(self, local: Client, peer: str, host: str) -> None:
        assert call(local, "GET", "/admin/status", {"Host": host}, REMOTE_ADDR=peer).status_int == 200

    @pytest.mark.parametrize(
        "peer", ["192.168.1.2", "203.0.113.9", "::ffff:203.0.113.9", "", "unix:", "127.0.0.1.evil"]
    )
    @pytest.mark.parametrize(("method", "path"), PATHS.values())
    def test_turns_other_machines_away(self, local: Client, method: str, path: str, peer: str) -> None:
        assert call(local, method, path, FORGED, REMOTE_ADDR=peer).status_int == 403

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "@"]
    )
    @pytest.mark.parametrize(("method", "path"), PATHS.values())
    def test_turns_away_who_calls_it_by_another_name(self, local: Client, method: str, path: str, host: str) -> None:
        assert call(local, method, path, {**FORGED, "Host": host}).status_int in (400, 403)

    def test_believes_the_socket_and_not_what_a_middleware_made_of_it(self, local: Client) -> None:
        inner = local.worker.wsgi_app

        def as_the_sdk_does(environ: dict[str, Any], start_response: Any) -> Any:
            environ["REMOTE_ADDR"] = environ.get("HTTP_X_APPENGINE_USER_IP", environ["REMOTE_ADDR"])
            return inner(environ, start_response)

        local.worker.wsgi_app = as_the_sdk_does  # type: ignore[method-assign]  # as a wrapping is made
        headers = {"X-Appengine-User-Ip": "127.0.0.1"}
        assert call(local, "GET", "/admin/status", headers, REMOTE_ADDR="203.0.113.9").status_int == 403

    def test_still_asks_cron_and_tasks_for_their_headers(self, local: Client) -> None:
        assert call(local, "GET", "/cron/drain", {}).status_int == 403
        assert call(local, "POST", "/tasks/deliver", {}).status_int == 403


class TestCrossSiteRequests:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:80"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:8080"},
            {"Origin": "http://localhost:81"},
            {"Origin": "http://[::1"},
            {"Referer": "https://evil.example/localhost:80"},
            {"Referer": ""},
        ],
    )
    @pytest.mark.parametrize("path", ["/admin/drain", "/admin/dead/requeue", "/admin/dead/drop"])
    def test_change_nothing(self, local: Client, path: str, headers: dict[str, str]) -> None:
        assert call(local, "POST", path, {**headers, "Host": "localhost:80"}).status_int == 403

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "http://localhost:80"},
            {"Origin": "http://LOCALHOST"},
            {"Origin": "https://localhost"},
            {"Referer": "http://localhost:80/admin/"},
        ],
    )
    def test_are_told_from_our_own_and_from_scripts(self, local: Client, headers: dict[str, str]) -> None:
        assert call(local, "POST", "/admin/drain", {**headers, "Host": "localhost:80"}).status_int == 200

    def test_are_refused_to_administrators_on_app_engine_too(
        self, on_app_engine: Client, app_engine: testbed.Testbed
    ) -> None:
        sign_in(app_engine, "ada@example.com", is_admin=True)
        assert call(on_app_engine, "POST", "/admin/drain", {"Origin": "https://evil.example"}).status_int == 403
        assert call(on_app_engine, "POST", "/admin/drain", {"Origin": "http://localhost:80"}).status_int == 200

    def test_may_open_the_page(self, local: Client) -> None:
        local.http.get("/admin/", headers={"Sec-Fetch-Site": "cross-site"}, status=200)


class TestRefusals:
    def test_say_nothing_to_the_caller_and_everything_to_the_log(
        self, on_app_engine: Client, app_engine: testbed.Testbed, caplog: pytest.LogCaptureFixture
    ) -> None:
        sign_in(app_engine, "mallory@example.com")
        response = on_app_engine.http.post("/admin/drain", status=403)
        assert response.json == {"error": "You may not do this."}
        fields = caplog.records[-1].__dict__
        assert caplog.records[-1].levelno == logging.WARNING
        assert caplog.records[-1].getMessage() == "request refused"
        assert (fields["door"], fields["method"], fields["path"]) == ("admin", "POST", "'/admin/drain'")
        assert fields["caller"] == "'127.0.0.1'"
        assert "mallory@example.com" in fields["cause"]

    def test_are_a_page_for_people(self, local: Client) -> None:
        response = local.http.get("/cron/drain", headers={"Accept": "text/html"}, status=403)
        assert response.content_type == "text/html"
        assert "You may not do this." in response.text

    def test_log_nothing_a_caller_wrote_unescaped(
        self, on_app_engine: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        call(on_app_engine, "POST", "/tasks/deliver", {"X-AppEngine-QueueName": "\x1b[31m\x85"})
        call(on_app_engine, "GET", "/admin/static/a%0Ab", {})
        call(on_app_engine, "GET", "/admin/dead", {"Origin": "\x1b[31m"})
        for record in caplog.records:
            assert record.__dict__["cause"].isprintable()
            assert record.__dict__["path"].isprintable()


def test_a_door_can_be_asked_for() -> None:
    @door(Door.CRON)
    def view() -> None: ...

    assert door_of(view) is Door.CRON
    assert door_of(print) is None


def test_the_peer_of_a_request_without_one_is_nobody() -> None:
    environ: dict[str, Any] = {}
    remember_peer(environ)
    assert list(environ.values()) == [""]


def test_a_referer_decides_only_where_there_is_no_origin() -> None:
    headers = {"Origin": "http://localhost", "Referer": "http://evil.example/"}
    with Flask(__name__).test_request_context("/", headers=headers):
        check_same_site(request)
    with Flask(__name__).test_request_context("/", headers={"Referer": "http://evil.example/"}), pytest.raises(Refused):
        check_same_site(request)
