"""What the gunicorn of the local cloud does around each request."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from devserver.processes import gunicorn_settings
from gaesignals.mailbox.current import short_instance


@pytest.fixture(autouse=True)
def forget_the_last_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_settings, "_last_get", None)


def serve(method: str, path: str, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Any:
    request = SimpleNamespace(method=method, path=path, headers=headers or [])
    gunicorn_settings.pre_request(None, request)
    gunicorn_settings.post_request(None, request, {}, SimpleNamespace(status_code=status))
    return request


def test_each_process_is_an_instance_that_the_page_can_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the end of an instance's id."""
    monkeypatch.delenv("GAE_INSTANCE", raising=False)
    gunicorn_settings.post_fork(None, None)
    assert short_instance(os.environ["GAE_INSTANCE"]).endswith(str(os.getpid()))


def test_a_request_gets_a_ticket_and_not_the_one_that_a_client_sent() -> None:
    request = serve("GET", "/", headers=[("HOST", "localhost"), ("X-APPENGINE-API-TICKET", "forged")])
    assert request.headers == [("HOST", "localhost"), ("X-APPENGINE-API-TICKET", "local")]


class TestAProcessThatEnds:
    def test_is_told_as_an_instance_is_and_may_call_app_engine(self) -> None:
        told: list[dict[str, Any]] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            told.append(environ)
            start_response("200 OK", [])
            return [b""]

        gunicorn_settings.worker_exit(None, SimpleNamespace(app_alone=app))
        (environ,) = told
        assert (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("GET", "/_ah/stop")
        assert (environ["REMOTE_ADDR"], environ["HTTP_X_APPENGINE_API_TICKET"]) == ("127.0.0.1", "local")

    def test_closes_what_runs_coroutines_though_the_app_fails(self) -> None:
        closed: list[bool] = []
        bridge = SimpleNamespace(close=lambda: closed.append(True))
        with pytest.raises(ZeroDivisionError):
            gunicorn_settings.worker_exit(None, SimpleNamespace(app_alone=lambda *_: 1 / 0, bridge=bridge))
        assert closed == [True]

    def test_that_could_not_load_its_app_is_told_nothing(self) -> None:
        gunicorn_settings.worker_exit(None, SimpleNamespace())


def test_a_request_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    serve("POST", "/send", 303)
    assert capsys.readouterr().out.startswith("POST /send 303 in ")


def test_what_a_page_asks_again_and_again_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    for method, path, status in [
        ("GET", "/healthz", 200),
        ("GET", "/handled.json", 200),
        ("GET", "/handled.json", 200),
        ("GET", "/handled.json", 500),
        ("GET", "/handled.json", 500),
        ("GET", "/handled.json", 200),
        ("POST", "/send", 200),
        ("POST", "/send", 200),
    ]:
        serve(method, path, status)
    printed = [line.rpartition(" in ")[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [
        "GET /handled.json 200",
        "GET /handled.json 500",
        "GET /handled.json 500",
        "GET /handled.json 200",
        "POST /send 200",
        "POST /send 200",
    ]


@pytest.mark.parametrize("header", ["X-APPENGINE-CRON", "X-APPENGINE-QUEUENAME"])
def test_what_cron_and_cloud_tasks_print_themselves_is_not_repeated(
    capsys: pytest.CaptureFixture[str], header: str
) -> None:
    serve("POST", "/tasks/deliver", headers=[(header, "signals")])
    assert capsys.readouterr().out == ""


def test_one_process_serves_with_threads_and_opens_no_control_socket() -> None:
    assert (gunicorn_settings.workers, gunicorn_settings.worker_class) == (1, "gthread")
    assert gunicorn_settings.control_socket_disable
