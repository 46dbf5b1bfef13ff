"""ASGI applications behind the WSGI server of the local cloud: each request a task in one loop, as their servers do it.

There are no websockets, which App Engine's standard environment has none of either, and a request's body is read before
the app sees the request.
"""

from __future__ import annotations

import asyncio
import http
import inspect
import logging
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

logger = logging.getLogger(__name__)

Message: TypeAlias = dict[str, Any]
Answer: TypeAlias = "queue.SimpleQueue[Message | Exception | None]"

STARTUP_SECONDS = 60.0
SHUTDOWN_SECONDS = 4.0


def is_asgi(app: Any) -> bool:
    """Whether `app` is an ASGI application, and so none of WSGI."""
    methods = (vars(base)["__call__"] for base in type(app).__mro__ if "__call__" in vars(base))
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(next(methods, None))


class Bridge:
    """The ASGI `app` as a WSGI application. It is started by this, and raises what keeps it from that; `close` it."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="asgi", daemon=True)
        self._thread.start()
        self._life: Answer = queue.SimpleQueue()
        self._ending = self._run(_event()).result()
        self._run(self._live())
        started = self._life.get(timeout=STARTUP_SECONDS)
        if started is not None and not isinstance(started, Exception) and started["type"].endswith("failed"):
            self._end_loop()
            raise RuntimeError(f"the application did not start: {started.get('message', '')}")

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Have the app answer in its loop."""
        answer: Answer = queue.SimpleQueue()
        scope = _scope(environ) | {"state": self._state.copy()}
        self._run(self._serve(scope, environ["wsgi.input"].read(), answer))
        messages = _until_answered(answer)
        begun = next(messages, None)
        if begun is None:
            raise RuntimeError("the application ended without an answer")
        phrase = http.HTTPStatus(begun["status"]).phrase if begun["status"] in list(http.HTTPStatus) else ""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in begun.get("headers", ())]
        start_response(f"{begun['status']} {phrase}", headers)
        return (message.get("body", b"") for message in messages)

    def close(self) -> None:
        """Tell the app that it ends, and let it."""
        self._loop.call_soon_threadsafe(self._ending.set)
        try:
            while self._life.get(timeout=SHUTDOWN_SECONDS) is not None:
                pass
        except queue.Empty:
            pass
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SHUTDOWN_SECONDS)

    def _run_loop(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(_cancel_others())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _live(self) -> None:
        """Run the app's lifespan, if it has one: an exception in place of an answer says that it has none."""
        events = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> Message:
            event = next(events)
            if event.endswith("shutdown"):
                await self._ending.wait()
            return {"type": event}

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
        await self._tell(scope, receive, self._life)

    async def _serve(self, scope: Message, body: bytes, answer: Answer) -> None:
        is_read, is_answered = False, asyncio.Event()

        async def receive() -> Message:
            nonlocal is_read
            if not is_read:
                is_read = True
                return {"type": "http.request", "body": body, "more_body": False}
            await is_answered.wait()
            return {"type": "http.disconnect"}

        await self._tell(scope, receive, answer, is_answered)

    async def _tell(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        answer: Answer,
        is_answered: asyncio.Event | None = None,
    ) -> None:
        async def send(message: Message) -> None:
            answer.put(message)
            if is_answered is not None and _is_last(message):
                is_answered.set()

        try:
            await self._app(scope, receive, send)
        except Exception as error:  # whatever the app raises is raised in the thread that asked, if it still waits
            if is_answered is not None and is_answered.is_set():
                logger.exception("the application failed after its answer")
            answer.put(error)
        finally:
            answer.put(None)


async def _event() -> asyncio.Event:
    return asyncio.Event()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _is_last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


def _until_answered(answer: Answer) -> Iterator[Message]:
    while (message := answer.get()) is not None:
        if isinstance(message, Exception):
            raise message
        yield message
        if _is_last(message):
            return


def _scope(environ: Mapping[str, Any]) -> Message:
    path, _, _ = environ.get("RAW_URI", "").partition("?")
    root = environ.get("SCRIPT_NAME", "")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/"),
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": (root + environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1") or unquote_to_bytes(environ.get("PATH_INFO", "")),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": root,
        "headers": list(_headers(environ)),
        "client": (environ.get("REMOTE_ADDR", ""), int(environ.get("REMOTE_PORT") or 0)),
        "server": (environ.get("SERVER_NAME", ""), int(environ.get("SERVER_PORT") or 0)),
    }


def _headers(environ: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in environ.items():
        if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value):
            header = name.removeprefix("HTTP_").replace("_", "-").lower()
            yield header.encode("latin-1"), str(value).encode("latin-1")
