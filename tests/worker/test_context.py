"""Handlers run in the request's context, and outside the worker's own Flask application."""

from __future__ import annotations

from contextvars import ContextVar

import flask
import pytest

from gaesignals import Receivers, Signal
from worker.context import outside_flask

from .conftest import MakeClient

request_id: ContextVar[str] = ContextVar("request_id", default="none")


def tenant_of(data: dict[str, str]) -> str:
    """One look-up a request, as Flask's documentation shows it."""
    if "tenant" not in flask.g:
        flask.g.tenant = data["tenant"]
    return str(flask.g.tenant)


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_what_is_kept_in_flask_g_passes_from_no_message_to_another(make_client: MakeClient, is_coroutine: bool) -> None:
    app = flask.Flask("shop")
    seen: list[tuple[str, str]] = []

    def handle(data: dict[str, str]) -> None:
        assert not flask.has_app_context()
        assert not flask.has_request_context()
        with app.app_context():
            seen.append((data["tenant"], tenant_of(data)))

    async def handle_soon(data: dict[str, str]) -> None:
        handle(data)

    receivers = Receivers()
    receivers.connect("a", handle_soon if is_coroutine else handle)
    client = make_client(receivers)
    for tenant in ("acme", "globex"):
        Signal("a").send({"tenant": tenant})
    assert client.task({"names": ["a"]}).json["delivered"] == 2
    Signal("a").send({"tenant": "initech"})
    client.http.post_json("/admin/drain", {"names": ["a"], "wait": True})
    assert seen == [("acme", "acme"), ("globex", "globex"), ("initech", "initech")]


def test_every_other_variable_of_the_request_is_as_it_was() -> None:
    app = flask.Flask("worker")
    request_id.set("seven")
    with app.test_request_context("/tasks/deliver"):
        assert outside_flask(lambda: (request_id.get(), flask.has_request_context())) == ("seven", False)
        assert flask.request.path == "/tasks/deliver"
