"""What stands in front of an app: rules of dispatch.yaml, with real services behind them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from devserver.appengine.loopback_http import LoopbackServer, Request, Response
from devserver.processes.front import LOCAL_CALLERS, LOCAL_NAMES, VARIABLE, Front, Rule


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [f"own {environ[LOCAL_NAMES]} {environ[LOCAL_CALLERS]}".encode()]


class Service:
    """Another service, which keeps what it is asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._server = LoopbackServer(self._answer)
        self.netloc = f"127.0.0.1:{self._server.port}"
        self.close = self._server.close

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(418 if request.path.endswith("teapot") else 200, b"other")


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


def rule(path: str, netloc: str, *, host: str = "", host_exact: bool = False, service: str = "api") -> Rule:
    return Rule(host, host_exact, path.removesuffix("*"), not path.endswith("*"), service, netloc)


def ask(front: Front, path: str, *, body: bytes = b"", method: str = "GET", **headers: str) -> tuple[str, bytes]:
    """Status and body of an answer, through the process's environment as in a real one."""
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path.partition("?")[0],
        "QUERY_STRING": path.partition("?")[2],
        "HTTP_HOST": "localhost:8080",
        "wsgi.input": io.BytesIO(body),
        **headers,
    }
    made = Front.from_environ({VARIABLE: front.to_variable()}).wrap(app)
    answer = b"".join(made(environ, lambda status, headers: said.append(status)))
    return said[0], answer


def test_a_request_that_no_rule_is_for_is_the_apps_own(service: Service) -> None:
    front = Front("default", (rule("/api/*", service.netloc),), ("shop.example.com",), takes_all_callers=True)
    assert ask(front, "/") == ("200 OK", b"own ('shop.example.com',) True")
    assert service.requests == []


def test_one_that_a_rule_is_for_goes_to_its_service_with_all_it_has(service: Service) -> None:
    front = Front("default", (rule("/api/*", service.netloc),))
    sent = {"CONTENT_TYPE": "text/plain", "HTTP_X_MINE": "1", "HTTP_CONNECTION": "close"}
    assert ask(front, "/api/a b?c=d", body=b"hello", method="POST", **sent) == ("200 OK", b"other")
    (request,) = service.requests
    assert (request.method, request.path, request.body) == ("POST", "/api/a%20b?c=d", b"hello")
    assert (request.headers["content-type"], request.headers["x-mine"]) == ("text/plain", "1")
    assert request.headers["host"] == "localhost:8080"
    assert ask(front, "/api/teapot")[0] == "418 I'm a Teapot"


def test_the_first_rule_counts_also_one_for_the_service_itself(service: Service) -> None:
    front = Front("default", (rule("/api/mine", "", service="default"), rule("/api/*", service.netloc)))
    assert ask(front, "/api/mine")[1].startswith(b"own")
    assert ask(front, "/api/others")[1] == b"other"


@pytest.mark.parametrize(
    ("host", "host_exact", "is_own"),
    [("", False, False), (".example.com", False, True), ("localhost", True, False), ("api.example.com", True, True)],
)
def test_a_rule_may_be_for_a_host(service: Service, host: str, host_exact: bool, is_own: bool) -> None:
    front = Front("default", (rule("/*", service.netloc, host=host, host_exact=host_exact),))
    assert ask(front, "/")[1].startswith(b"own") is is_own


def test_a_service_that_does_not_run_or_answer_here_is_named() -> None:
    status, body = ask(Front("default", (rule("/*", ""),)), "/x\n")
    assert (status, body) == (
        "502 Bad Gateway",
        b"dispatch.yaml sends '/x\\n' to the service api, which does not run here\n",
    )
    assert b"which does not answer" in ask(Front("default", (rule("/*", "127.0.0.1:1"),)), "/")[1]


def test_without_the_variable_nothing_is_in_front() -> None:
    assert Front.from_environ({}) == Front("")
