"""A Starlette application that sends and delivers signals in every way that a request can, for uvicorn."""

from __future__ import annotations

import asyncio
import threading

from google.appengine.api import memcache
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gaesignals import (
    AsyncSignalsMiddleware,
    Message,
    Receivers,
    Signal,
    asend_many,
    current_message,
    deliver,
    in_this_request,
)
from gaesignals.mailbox.current import current_mailbox

handled: list[str] = []
before: list[tuple[str, bool]] = []
durable = Signal("durable", durable=True)
receivers = Receivers()


def keep(messages: list[Message]) -> None:
    """Note what was handled."""
    handled.extend(str(message.data) for message in messages)


@receivers.receiver("before", reliable=True)
def note(data: str) -> None:
    """Note that a delivery before a request has handled it, and that App Engine's own client works there."""
    before.append((str(data), memcache.set("own", current_message().id)))


async def asend(request: Request) -> JSONResponse:
    """Send in a coroutine."""
    return JSONResponse(await Signal(request.query_params["name"]).asend(request.query_params["data"]))


async def many(request: Request) -> JSONResponse:
    """Send many in a coroutine."""
    return JSONResponse(await asend_many([(request.query_params["name"], number) for number in range(3)]))


async def durably(request: Request) -> JSONResponse:
    """Send with a task of the queue service."""
    return JSONResponse(await durable.asend(1))


def plainly(request: Request) -> JSONResponse:
    """Send in a thread of the framework's."""
    return JSONResponse(Signal(request.query_params["name"]).send(request.query_params["data"]))


async def directly(request: Request) -> JSONResponse:
    """Send in the loop, which waits."""
    return JSONResponse(Signal(request.query_params["name"]).send(request.query_params["data"]))


async def in_a_thread(request: Request) -> JSONResponse:
    """Call App Engine's own client in a thread of this request."""
    return JSONResponse(await asyncio.to_thread(in_this_request(memcache.set), "key", "value"))


async def afterwards(request: Request) -> JSONResponse:
    """Send once the answer is on its way."""
    name = request.query_params["name"]
    return JSONResponse("sent", background=BackgroundTask(Signal(name).asend, request.query_params["data"]))


async def without_request(request: Request) -> JSONResponse:
    """Send in a thread that knows nothing of the request."""
    errors: list[str] = []

    def send() -> None:
        try:
            Signal("a").send()
        except Exception as error:
            errors.append(str(error))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    return JSONResponse(errors)


def seen(request: Request) -> JSONResponse:
    """Deliver, and say what was handled until now, by the name that was asked for and by the middleware."""
    handled.clear()
    mine = Receivers()
    mine.connect(request.query_params["name"], keep, batch=100, id="keep")
    deliver(mine, mailbox=current_mailbox())
    return JSONResponse({"handled": sorted(handled), "before": before})


ROUTES = {
    "/asend": asend,
    "/many": many,
    "/durably": durably,
    "/plainly": plainly,
    "/directly": directly,
    "/in-a-thread": in_a_thread,
    "/afterwards": afterwards,
    "/without-request": without_request,
    "/seen": seen,
    "/_ah/warmup": seen,
}

app = Starlette(
    routes=[Route(path, endpoint) for path, endpoint in ROUTES.items()],
    middleware=[Middleware(AsyncSignalsMiddleware, mapping=receivers)],
)
