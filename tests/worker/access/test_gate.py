"""What stands in front of the SDK's middleware, with the real gunicorn and the real middleware behind it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import pytest
import yaml

from gaesignals.cli.entries import ENTRYPOINT
from worker.answer import HEADERS

from ..serving import GOOD, RECEIVERS, ROOT, Server

CRON = {"X-Appengine-Cron": "true"}
STANDARD = {"GAE_ENV": "standard"}
# What App Engine sets for the requests that are its own.
PLATFORM = {"X-Appengine-User-Ip": "0.1.0.3"}
# A team's own, which shows what a request has left in the environment, and fails where it is asked to.
ODD_APP = """
import os
from worker.access.doors import Door, door
from worker.main import app

NAMES = ("SCRIPT_NAME", "PATH_INFO", "HTTP_PROXY", "HTTP_X_APPENGINE_CURRENT_NAMESPACE")

@app.get("/environment")
@door(Door.ANYONE)
def environment():
    return {name: os.environ[name] for name in NAMES if name in os.environ}

inner = app.wsgi_app
def fails(environ, start_response):
    if environ["PATH_INFO"] == "/late":
        start_response("200 OK", [("X-Begun", "yes")])
    if environ["PATH_INFO"] in ("/early", "/late"):
        raise RuntimeError("outside the app")
    return inner(environ, start_response)
app.wsgi_app = fails
"""


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server, once for each way to do so."""
    servers: dict[str, Server] = {}

    def start(*options: str, environment: str = "localdev") -> Server:
        named = f"{environment} {shlex.join(options)}"
        if named not in servers:
            directory = tmp_path_factory.mktemp("team")
            (directory / "team_receivers.py").write_text(RECEIVERS)
            (directory / "odd.py").write_text(ODD_APP)
            environ = {**GOOD, "GAE_ENV": environment}
            if environment == "standard":
                del environ["CLOUD_TASKS_EMULATOR_HOST"]
            servers[named] = Server(directory, options=options, app="odd:app", **environ)
            servers[named].wait_until_up()
        return servers[named]

    yield start
    for server in servers.values():
        server.stop()


@pytest.mark.parametrize("options", [(), ("--forwarder-headers=",)], ids=["as gunicorn is", "as deployed"])
def test_no_header_breaks_what_a_thread_serves_after_it(serve: Callable[..., Server], options: tuple[str, ...]) -> None:
    """Without either cure every request after a few of these is answered 500, on every thread."""
    server = serve(*options)
    for _ in range(40):
        server.call("/no/such/path", {"SCRIPT_NAME": "/no"})
        server.call("/environment", {"SCRIPT_NAME": "/environment", "PATH_INFO": "/x", "Proxy": "evil.example:80"})
    statuses = {server.call("/healthz").status for _ in range(40)}
    assert statuses == {200}
    assert server.call("/cron/drain", CRON).status == 503, "cron reaches memcache, of which there is none"


def test_a_request_cannot_choose_where_the_app_is_mounted(serve: Callable[..., Server]) -> None:
    server = serve()
    answer = server.call("/environment", {"SCRIPT_NAME": "/environment", "Proxy": "evil.example:80"})
    assert answer.text == '{"SCRIPT_NAME":"","PATH_INFO":"/environment"}\n'
    # Or the front end's rules for /admin would be those for another address.
    assert server.call("/x/admin/", {"SCRIPT_NAME": "/x"}).status == 404


@pytest.mark.parametrize("path", ["/_ah/background", "/_ah/stop", "/_ah/cloudtask/sweep"])
def test_what_the_sdk_answers_is_behind_a_door_like_all_else(serve: Callable[..., Server], path: str) -> None:
    standard, elsewhere = serve(environment="standard"), serve(environment="")
    mine = CRON if "sweep" in path else PLATFORM
    for server, headers in ((standard, {}), (standard, {"X-Appengine-User-Ip": "203.0.113.9"}), (elsewhere, mine)):
        refused = server.call(path, headers)
        assert (refused.status, refused.text) == (403, '{"error":"You may not do this."}\n')
    assert f"path=\"'{path}'\"" in elsewhere.log.read_text() or f"'{path}'" in elsewhere.log.read_text()
    assert standard.call(path, mine).status != 403


def test_the_local_server_is_called_by_a_name_of_this_machine_whatever_is_asked(serve: Callable[..., Server]) -> None:
    server = serve()
    for path in ("/healthz", "/admin/static/style.css", "/_ah/background", "/no/such/path"):
        assert server.call(path, {"Host": "evil.example"}).status == 403, path
    assert server.call("/healthz", {"Host": "localhost:8081"}).status == 200
    assert serve(environment="standard").call("/healthz", {"Host": "worker-dot-shop.appspot.com"}).status == 200


@pytest.mark.parametrize("host", ["a b", "[", "evil/..", "user@localhost"])
def test_a_host_that_is_none_is_a_bad_request(serve: Callable[..., Server], host: str) -> None:
    answer = serve(environment="standard").call("/healthz", {"Host": host})
    assert answer.status == 400


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/healthz", {}),
        ("/no/such/path", {}),
        ("/_ah/stop", {}),
        ("/_ah/background", PLATFORM),
        ("/early", {}),
        ("/late", {}),
    ],
)
def test_every_answer_has_the_headers_that_keep_browsers_in_check(
    serve: Callable[..., Server], path: str, headers: dict[str, str]
) -> None:
    answer = serve(environment="standard").call(path, headers)
    assert {name: answer.headers.get_all(name) for name in HEADERS} == {name: [HEADERS[name]] for name in HEADERS}


@pytest.mark.parametrize("namespace", ["no namespace", "another"])
def test_a_request_cannot_choose_the_namespace_that_it_is_answered_in(
    serve: Callable[..., Server], namespace: str
) -> None:
    answer = serve().call("/environment", {"X-Appengine-Current-Namespace": namespace})
    assert (answer.status, namespace in answer.text) == (200, False)


def test_what_the_sdk_fails_at_is_answered_without_detail(serve: Callable[..., Server]) -> None:
    answer = serve(environment="standard").call("/_ah/background", PLATFORM)
    assert (answer.status, answer.reason) == (500, "INTERNAL SERVER ERROR")
    assert answer.text == '{"error":"Something went wrong; the worker\'s log says what."}\n'


@pytest.mark.parametrize("path", ["/early", "/late"])
def test_what_fails_outside_the_app_is_answered_without_detail_and_logged(
    serve: Callable[..., Server], path: str
) -> None:
    server = serve()
    answer = server.call(path)
    assert (answer.status, "X-Begun" in answer.headers) == (500, False)
    assert answer.text == '{"error":"Something went wrong; the worker\'s log says what."}\n'
    assert "RuntimeError: outside the app" in server.log.read_text()


@pytest.mark.parametrize("file", ["app.yaml", "examples/shop/app.yaml", "examples/shop/worker.yaml"])
def test_what_is_deployed_lets_no_request_choose_it_either(file: str) -> None:
    assert "--forwarder-headers=" in shlex.split(yaml.safe_load((ROOT / file).read_text())["entrypoint"])


def test_nor_does_what_init_writes() -> None:
    assert "--forwarder-headers=" in shlex.split(ENTRYPOINT)
