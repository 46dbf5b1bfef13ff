"""The worker over HTTP: what a client sends, and what it makes of the answers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from gaesignals.cli.address import Address
from gaesignals.cli.client import Client, RefusedError
from gaesignals.cli.errors import ExitCode, UnreachableError

from .conftest import Serve, Shell


class Answering:
    """A WSGI app that always answers the same, and keeps what it was asked."""

    def __init__(self, status: str, body: object, **headers: str) -> None:
        self.asked: list[dict[str, Any]] = []
        self._status = status
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._headers = list(headers.items())

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(environ)
        start_response(self._status, [("Content-Type", "application/json"), *self._headers])
        return [self._body]


def client(url: str, *, token: str | None = None, timeout_seconds: float = 60.0) -> Client:
    return Client(Address.parse(url), token=token, timeout_seconds=timeout_seconds)


def test_asks_for_json_and_shows_the_token(serve: Serve) -> None:
    app = Answering("200 OK", {"a": 1})
    assert client(serve(app), token="my.token").get("/admin/status", search="ü&=") == {"a": 1}
    (asked,) = app.asked
    assert asked["HTTP_ACCEPT"] == "application/json"
    assert asked["HTTP_AUTHORIZATION"] == "Bearer my.token"
    assert asked["QUERY_STRING"] == "search=%C3%BC%26%3D"


def test_shows_no_token_if_it_has_none(serve: Serve) -> None:
    app = Answering("200 OK", {})
    client(serve(app)).get("/")
    assert "HTTP_AUTHORIZATION" not in app.asked[0]


def test_what_the_worker_says_is_wrong_is_a_failure(serve: Serve) -> None:
    with pytest.raises(RefusedError, match=r"the worker says: names is missing \(400\)") as raised:
        client(serve(Answering("400 BAD REQUEST", {"error": "names is missing"}))).post("/admin/pause", {})
    assert raised.value.exit_code is ExitCode.FAILED
    assert raised.value.fields == {"error": "names is missing"}


def test_a_bad_status_that_comes_with_a_report_is_that_report(serve: Serve) -> None:
    assert client(serve(Answering("503 BUSY", {"refused": 1}))).post("/admin/drain", {}) == {"refused": 1}


@pytest.mark.parametrize("status", ["401 UNAUTHORIZED", "403 FORBIDDEN"])
def test_a_caller_who_is_not_let_in_is_told_what_may_help(serve: Serve, status: str) -> None:
    url = serve(Answering(status, {"error": "You may not do this."}))
    with pytest.raises(UnreachableError, match=r"not allowed: .* the worker's log says why$"):
        client(url).get("/admin/status")
    with pytest.raises(UnreachableError, match="does not take this token"):
        client(url, token="x").get("/admin/status")


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    elsewhere = Answering("200 OK", {"a": 1})
    login = Answering("302 FOUND", b"", Location=serve(elsewhere))
    with pytest.raises(UnreachableError, match=r"not allowed: .* answers 302"):
        client(serve(login), token="my.token").get("/admin/status")
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("200 OK", b"<html>"),
        ("200 OK", b"[]"),
        ("200 OK", b""),
        ("404 NOT FOUND", b'{"error": "nothing here"}'),
        ("200 OK", b"[" * 100_000),
    ],
)
def test_an_answer_of_somebody_else_is_none(serve: Serve, status: str, body: bytes) -> None:
    with pytest.raises(UnreachableError, match=f"answers {status[:3]}: is this a worker"):
        client(serve(Answering(status, body))).get("/admin/status")


@pytest.mark.parametrize("status", ["429 TOO MANY", "500 ERROR", "502 BAD GATEWAY", "503 UNAVAILABLE"])
def test_an_answer_in_the_place_of_an_instance_sends_its_reader_to_the_log(serve: Serve, status: str) -> None:
    with pytest.raises(UnreachableError, match=rf"answers {status[:3]}, .* its log says whether an instance starts"):
        client(serve(Answering(status, b"<h1>Error: Server Error</h1>"))).get("/admin/status")


def test_what_may_be_gone_and_is_gone_is_a_failure(serve: Serve) -> None:
    url = serve(Answering("404 NOT FOUND", {"error": "there is no such dead letter"}))
    with pytest.raises(RefusedError, match=r"there is no such dead letter \(404\)"):
        client(url).find("/admin/dead/payload", name="order_paid", id="x")


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["drain"],
        ["drain", "--wait"],
        ["send", "a"],
        ["pause", "a"],
        ["resume", "a"],
        ["discard", "a", "--yes"],
        ["dead", "list"],
        ["dead", "list", "a"],
        ["dead", "payload", "a", "x"],
        ["dead", "requeue", "a"],
        ["dead", "drop", "a", "--yes"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_json_of_something_else_is_no_answer_of_a_worker(
    shell: Shell, serve: Serve, command: list[str], form: list[str]
) -> None:
    outcome = shell(*command, *form, "--url", serve(Answering("200 OK", {"hello": "world"})))
    assert (outcome.code, outcome.output) == (3, "")
    assert re.fullmatch(r"gaesignals: the answer has no '\w+': is this a worker, .*\n", outcome.errors)


def test_where_nobody_listens_it_says_how_to_start_the_local_cloud() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UnreachableError, match=f"cannot reach {url}: nothing listens there; `gaesignals local` starts"):
        client(url).get("/admin/status")


def test_a_host_that_does_not_exist_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match=r"cannot reach https://worker\.invalid: "):
        client("https://worker.invalid").get("/admin/status")


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of something that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_that_does_not_come_is_unreachable_and_may_have_been_acted_on(silent: str) -> None:
    with pytest.raises(UnreachableError, match=r"no answer in 0\.05 s; what was asked for may still be done"):
        client(silent, timeout_seconds=0.05).post("/admin/drain", {})


@pytest.fixture
def dripping() -> Iterator[str]:
    """The URL of something that sends a byte now and then, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                for _ in range(100000):
                    connection.sendall(b" ")
                    time.sleep(0.01)

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_answer_that_never_ends_takes_no_longer_than_any_other(dripping: str) -> None:
    with pytest.raises(UnreachableError, match=r"no answer in 0\.2 s"):
        client(dripping, timeout_seconds=0.2).get("/admin/status")


def test_an_answer_may_not_be_larger_than_a_workers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaesignals.cli.client.MAX_ANSWER_BYTES", 2**20)
    for status in "200 OK", "500 ERROR":
        with pytest.raises(UnreachableError, match="answers with over 1 MB, which no worker does"):
            client(serve(Answering(status, b" " * (2**20 + 1)))).get("/admin/status")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["status"], {"totals": 3}),
        (["status"], {"totals": {"waiting": "many"}, "names": [], "unmatched": []}),
        (["status"], {"totals": {}, "names": [{"name": 1}], "unmatched": []}),
        (["status"], {"totals": {}, "health": {"last_fan_out_age_seconds": 1e999}, "names": [], "unmatched": []}),
        (["drain"], {"tasks": [], "names": {}}),
        (["drain", "--wait"], {"delivered": "x", "remaining": "y"}),
        (["drain", "--wait"], {"delivered": 1, "errors": [3]}),
        (["dead", "list"], {"names": [1]}),
        (["dead", "list", "a"], {"letters": [{"id": 3}]}),
        (["send", "a"], {"sent": None}),
    ],
    ids=str,
)
def test_an_answer_that_makes_no_sense_is_one_line(
    shell: Shell, serve: Serve, command: list[str], answer: dict[str, Any]
) -> None:
    outcome = shell(*command, "--url", serve(Answering("200 OK", answer)))
    assert outcome.code == 3
    assert re.fullmatch(r"gaesignals: the answer makes no sense \(\w+: .*\): is this a worker, .*\n", outcome.errors)


def test_a_url_may_stand_in_the_environment(shell: Shell, serve: Serve) -> None:
    shell.environ = {"GAESIGNALS_URL": serve(Answering("200 OK", {"sent": 1, "ids": ["x"]}))}
    assert shell("send", "a").output == "sent 1 message to a: x\n"
    assert shell("send", "a", "--url", serve(Answering("200 OK", {"sent": 2}))).output == "sent 2 messages to a\n"
    shell.environ = {"GAESIGNALS_URL": "nonsense"}
    assert shell("send", "a").code == 2


def test_an_answer_that_ends_early_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a"')
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UnreachableError, match="cannot reach"):
            client(f"http://127.0.0.1:{listener.getsockname()[1]}").get("/admin/status")
        thread.join()


def test_this_machine_is_not_asked_for_through_a_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Answering("200 OK", {"from": "proxy"})
    monkeypatch.setenv("http_proxy", serve(proxy))
    monkeypatch.delenv("no_proxy", raising=False)
    assert client(serve(Answering("200 OK", {"from": "worker"})), token="x").get("/") == {"from": "worker"}
    assert proxy.asked == []
