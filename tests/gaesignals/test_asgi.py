"""Signals in ASGI applications: in uvicorn over the SDK's own way to memcache, and in this process without it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from google.appengine.api import apiproxy_stub_map
from google.appengine.ext.remote_api import remote_api_bytes_pb2 as remote_api
from google.appengine.runtime import context

from devserver.appengine.server import ApiServer
from devserver.appengine.services import AppEngine
from devserver.tasks.emulator import TasksEmulator
from gaesignals import AsyncSignalsMiddleware, Receivers, Signal, asend_many, current_message
from gaesignals.errors import InvalidDataError, InvalidMappingError, InvalidNameError, InvalidOptionError, StoreError
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.stores.app_engine import AppEngineNamespaces
from gaesignals.testing import MemoryStore

ROOT = Path(__file__).parents[2]
Messages = list[MutableMapping[str, Any]]


class TicketedAppEngine(AppEngine):
    """Counts the calls with each ticket."""

    def __init__(self, *, tasks_address: str) -> None:
        super().__init__(tasks_address=tasks_address)
        self.tickets: Counter[tuple[str, str]] = Counter()

    def answer(self, body: bytes) -> bytes:
        request = remote_api.Request.FromString(body)
        self.tickets[request.request_id, request.service_name] += 1
        return super().answer(body)


class Site:
    """The application of `asgi_app` in a uvicorn of its own."""

    def __init__(self, app_engine: TicketedAppEngine, port: int) -> None:
        self.app_engine = app_engine
        self._port = port

    def get(self, path: str, *, ticket: str | None = "ticket", **query: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}?{urlencode(query)}")
        if ticket is not None:
            request.add_header("X-Appengine-Api-Ticket", ticket)
            request.add_header("X-Appengine-Default-Version-Hostname", "shop.appspot.com")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        emulator = stack.enter_context(TasksEmulator((ROOT / "queue.yaml").read_text(), {}.get))
        app_engine = TicketedAppEngine(tasks_address=emulator.address)
        server = stack.enter_context(ApiServer(app_engine=app_engine))
        # Bound here and listening, so that the first request waits until uvicorn has started.
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        command = [sys.executable, "-W", "ignore", "-m", "uvicorn", "--fd", str(listener.fileno())]
        process = stack.enter_context(
            subprocess.Popen(
                [*command, "--log-level", "warning", "tests.gaesignals.asgi_app:app"],
                cwd=ROOT,
                env={**os.environ, "API_HOST": "127.0.0.1", "API_PORT": str(server.port)},
                pass_fds=[listener.fileno()],
            )
        )
        stack.callback(process.terminate)
        site = Site(app_engine, listener.getsockname()[1])
        yield site


@pytest.mark.parametrize("path", ["/asend", "/plainly", "/directly"])
def test_a_request_sends(site: Site, path: str) -> None:
    name = path.strip("/")
    assert len(site.get(path, name=name, data="x")) == 24
    assert site.get("/seen", name=name)["handled"] == ["x"]


def test_a_request_sends_many(site: Site) -> None:
    assert len(site.get("/many", name="many")) == 3
    assert site.get("/seen", name="many")["handled"] == ["0", "1", "2"]


def test_a_request_sends_once_its_answer_is_on_its_way(site: Site) -> None:
    assert site.get("/afterwards", name="afterwards", data="x") == "sent"
    for _ in range(100):
        if handled := site.get("/seen", name="afterwards")["handled"]:
            break
    assert handled == ["x"]


def test_a_durable_one_has_its_task_of_the_queue_service(site: Site) -> None:
    site.get("/durably", ticket="durable")
    assert site.app_engine.tickets["durable", "taskqueue"] == 1


def test_app_engines_own_clients_work_in_a_thread_of_the_request(site: Site) -> None:
    assert site.get("/in-a-thread") is True


def test_many_requests_at_once_use_a_ticket_each(site: Site) -> None:
    def request(number: int) -> None:
        path = ("/asend", "/plainly", "/directly")[number % 3]
        site.get(path, ticket=f"at once {number}", name=f"at-once-{number}", data="x")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(request, range(36)))
    # One for the delivery before the request, and two for the send.
    assert {site.app_engine.tickets[f"at once {number}", "memcache"] for number in range(36)} == {3}


def test_a_delivery_comes_before_each_request(site: Site) -> None:
    site.get("/asend", name="before", data="x")
    assert site.get("/seen", name="nothing")["before"] == [["x", True]]


def test_app_engines_own_requests_come_without_a_delivery(site: Site) -> None:
    site.get("/_ah/warmup", ticket="own", name="nothing")
    assert site.app_engine.tickets["own", "memcache"] == 1  # of the request itself


def test_a_thread_that_knows_nothing_of_the_request_is_told_what_to_do(site: Site) -> None:
    (error,) = site.get("/without-request")
    assert "in_this_request" in error


def test_beside_the_local_cloud_a_request_needs_no_ticket(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append((context.gae_headers.API_TICKET.get(""), context.gae_headers.DEFAULT_VERSION_HOSTNAME.get("")))

    monkeypatch.setattr(context, "READ_FROM_OS_ENVIRON", True)
    monkeypatch.setattr(apiproxy_stub_map, "apiproxy", apiproxy_stub_map.APIProxyStubMap())
    monkeypatch.setenv("DEFAULT_VERSION_HOSTNAME", "localhost:8080")
    for environment in ("standard", "localdev"):
        monkeypatch.setenv("GAE_ENV", environment)
        asyncio.run(ask(AsyncSignalsMiddleware(look)))
    assert seen == [("", ""), ("local", "localhost:8080")]


def test_a_request_of_another_namespace_sends_from_it(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(AppEngineNamespaces().current())

    monkeypatch.setattr(context, "READ_FROM_OS_ENVIRON", True)
    monkeypatch.setattr(apiproxy_stub_map, "apiproxy", apiproxy_stub_map.APIProxyStubMap())
    headers = [(b"x-appengine-api-ticket", b"t"), (b"x-appengine-current-namespace", b"tenant")]
    asyncio.run(ask(AsyncSignalsMiddleware(look), headers=headers))
    asyncio.run(ask(AsyncSignalsMiddleware(look)))
    assert seen == ["tenant", ""]


def test_a_request_without_a_ticket_is_answered_and_cannot_send(site: Site) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        site.get("/asend", ticket=None, name="a", data="x")
    raised.value.close()


# In this process, where signals wait elsewhere.


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    with use_mailbox(Mailbox(store)):
        yield store


async def ask(
    app: Any, path: str = "/", *, kind: str = "http", headers: Sequence[tuple[bytes, bytes]] = ()
) -> Messages:
    """Make a request; return what was answered."""
    sent: Messages = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    await app({"type": kind, "path": path, "headers": headers}, receive, send)
    return sent


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "answered"})


def test_asend_stores_what_send_would(store: MemoryStore) -> None:
    handled: list[Any] = []
    receivers = Receivers()
    receivers.connect("a", lambda data: handled.append((data, current_message().id)))

    async def both() -> list[str]:
        return [await Signal("a").asend(1), *await asend_many([("a", 2)])]

    ids = asyncio.run(both())
    asyncio.run(ask(AsyncSignalsMiddleware(application, receivers)))
    assert handled == list(zip([1, 2], ids, strict=True))


def test_asend_refuses_what_send_refuses(store: MemoryStore) -> None:
    async def refuse(work: Any, error: type[Exception]) -> None:
        with pytest.raises(error):
            await work

    asyncio.run(refuse(Signal("a").asend(object()), InvalidDataError))
    asyncio.run(refuse(Signal("{a}").asend(), InvalidNameError))
    asyncio.run(refuse(Signal("a").asend(delay_seconds=-1), InvalidOptionError))
    asyncio.run(refuse(Signal("a").asend(transactional=True), InvalidOptionError))  # type: ignore[call-overload]
    asyncio.run(refuse(asend_many([("a", object())]), InvalidDataError))
    asyncio.run(refuse(asend_many([], transactional=True), InvalidOptionError))  # type: ignore[arg-type]
    assert store.calls == []
    store.before = lambda call: call.keys
    asyncio.run(refuse(Signal("a").asend(), StoreError))


def test_the_loop_goes_on_while_a_message_is_sent(store: MemoryStore) -> None:
    went_on: list[bool] = []

    async def send() -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()

        def hold(call: object) -> None:
            store.before = None
            loop.call_soon_threadsafe(gone.set)
            assert asyncio.run_coroutine_threadsafe(gone.wait(), loop).result(5)
            went_on.append(True)

        store.before = hold
        await Signal("a").asend()

    asyncio.run(send())
    assert went_on == [True]


@pytest.mark.parametrize(("path", "kind"), [("/_ah/start", "http"), ("/", "websocket"), ("/", "lifespan")])
def test_what_is_no_request_of_a_person_is_passed_on_without_a_delivery(
    store: MemoryStore, path: str, kind: str
) -> None:
    assert asyncio.run(ask(AsyncSignalsMiddleware(application, [("a", print)]), path, kind=kind))
    assert store.calls == []


def test_other_requests_go_on_while_one_waits_for_its_delivery(store: MemoryStore) -> None:
    async def meanwhile() -> None:
        loop = asyncio.get_running_loop()
        answered: list[Messages] = []

        def handle(data: object) -> None:
            answered.append(asyncio.run_coroutine_threadsafe(ask(application), loop).result(5))

        await Signal("a").asend()
        await ask(AsyncSignalsMiddleware(application, [("a", handle)]))
        assert answered == [[{"type": "answered"}]]

    asyncio.run(meanwhile())


def test_without_a_mapping_nothing_is_delivered(store: MemoryStore) -> None:
    assert asyncio.run(ask(AsyncSignalsMiddleware(application)))
    assert store.calls == []


def test_receivers_that_are_connected_later_are_delivered_by_the_asgi_middleware(store: MemoryStore) -> None:
    handled: list[Any] = []
    receivers = Receivers()
    app = AsyncSignalsMiddleware(application, receivers)
    receivers.connect("a", handled.append)
    asyncio.run(Signal("a").asend(1))
    asyncio.run(ask(app))
    assert handled == [1]


def test_a_request_is_answered_though_memcache_fails(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    store.before = lambda call: call.keys
    assert asyncio.run(ask(AsyncSignalsMiddleware(application, [("a", print)])))
    assert "before a request" in caplog.text


@pytest.mark.parametrize(
    "options", [{"max_seconds": 0}, {"lease_seconds": None}, {"names": "a"}, {"retries": 5}], ids=str
)
def test_a_bad_option_is_refused_when_the_asgi_middleware_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError):
        AsyncSignalsMiddleware(application, [("a", print)], **options)


def test_what_is_no_application_is_refused_when_the_asgi_middleware_is_made() -> None:
    with pytest.raises(InvalidMappingError, match="not an ASGI application"):
        AsyncSignalsMiddleware(None)  # type: ignore[arg-type]  # the mistake
