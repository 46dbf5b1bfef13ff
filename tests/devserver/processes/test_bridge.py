"""ASGI applications in the local cloud's WSGI server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from webtest import TestApp

from devserver.processes.bridge import Bridge, is_asgi

events: list[str] = []


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    events.append("started")
    yield {"kept": "since the start"}
    events.append("ended")


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "ticket": request.headers.get("x-appengine-api-ticket"),
            "type": request.headers.get("content-type"),
            "body": (await request.body()).decode(),
            "kept": request.state.kept,
        },
        201,
        {"X-Own": "yes"},
    )


async def stream(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for part in "abc":
            await asyncio.sleep(0)
            yield part

    return StreamingResponse(parts())


async def fail(request: Request) -> JSONResponse:
    raise LookupError("the app's own")


async def meet(request: Request) -> PlainTextResponse:
    """Answered once two requests are here at the same time, in one loop."""
    if not hasattr(request.app.state, "other"):
        request.app.state.other = asyncio.Event()
        await asyncio.wait_for(request.app.state.other.wait(), 20)
    else:
        request.app.state.other.set()
    return PlainTextResponse("met")


async def afterwards(request: Request) -> PlainTextResponse:
    return PlainTextResponse("answered", background=BackgroundTask(DONE.set))


DONE = threading.Event()
ROUTES = {"/echo/{rest:path}": echo, "/stream": stream, "/fail": fail, "/meet": meet, "/afterwards": afterwards}


@contextlib.contextmanager
def bridged(app: Any) -> Iterator[TestApp]:
    bridge = Bridge(app)
    yield TestApp(bridge, lint=False)
    bridge.close()


@pytest.fixture
def client() -> Iterator[TestApp]:
    events.clear()
    routes = [Route(path, endpoint, methods=["GET", "POST"]) for path, endpoint in ROUTES.items()]
    bridge = Bridge(Starlette(routes=routes, lifespan=lifespan))
    yield TestApp(bridge)
    bridge.close()
    assert events == ["started", "ended"]


def test_a_request_comes_as_it_was_made_and_the_answer_as_it_is(client: TestApp) -> None:
    answer = client.post("/echo/%C3%A9?a=1&b=%20", "data", {"X-Appengine-Api-Ticket": "t", "Content-Type": "text/x"})
    assert (answer.status, answer.headers["X-Own"]) == ("201 Created", "yes")
    assert answer.json == {
        "method": "POST",
        "path": "/echo/é",
        "query": "a=1&b=%20",
        "ticket": "t",
        "type": "text/x",
        "body": "data",
        "kept": "since the start",
    }


def test_a_streamed_answer_is_whole(client: TestApp) -> None:
    assert client.get("/stream").text == "abc"


def test_what_the_app_raises_after_its_answer_is_logged(client: TestApp, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/fail", status=500).text == "Internal Server Error"
    for _ in range(200):
        if "the app's own" in caplog.text:
            return
        time.sleep(0.05)
    raise AssertionError(caplog.text)


def test_what_the_app_raises_before_its_answer_is_raised_here() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("the app's own")

    with bridged(app) as client, pytest.raises(LookupError, match="the app's own"):
        client.get("/")


def test_requests_run_at_the_same_time(client: TestApp) -> None:
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(client.get("/meet").text)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == ["met", "met"]


def test_what_comes_after_the_answer_is_done(client: TestApp) -> None:
    assert client.get("/afterwards").text == "answered"
    assert DONE.wait(20)


def test_an_app_without_a_lifespan_is_served() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"answered"})
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        DONE.set()

    DONE.clear()
    with bridged(app) as client:
        assert client.get("/").text == "answered"
        assert DONE.wait(20)


def test_an_app_that_does_not_start_says_why() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="no database"):
        Bridge(app)


def test_an_app_that_ends_without_an_answer_is_told_of() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    with bridged(app) as client, pytest.raises(RuntimeError, match="without an answer"):
        client.get("/")


def test_an_asgi_app_is_known_from_one_of_wsgi() -> None:
    async def function(scope: Any, receive: Any, send: Any) -> None: ...

    assert [is_asgi(app) for app in (function, Starlette(), lambda environ, start_response: [])] == [True, True, False]
