"""The recipes of docs/receivers.md do what they are for: each is taken from the page and run."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import blinker
import pytest
import sentry_sdk
import sqlalchemy
from aiohttp import web
from django.db import connection, transaction
from django.dispatch import Signal as ModelSignal
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from gaesignals import Receivers, Signal, deliver, send_many, waiting_names

pytestmark = pytest.mark.usefixtures("mailbox")

PAGE = Path(__file__).parent.parent.parent / "docs" / "receivers.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def recipe(with_text: str) -> dict[str, Any]:
    """What the one snippet with this text defines."""
    (snippet,) = (found for found in SNIPPET.findall(PAGE.read_text()) if with_text in found)
    defined: dict[str, Any] = {"Receivers": Receivers, "Signal": Signal, "receivers": Receivers()}
    exec("from contextlib import contextmanager\n" + snippet, defined)
    return defined


def plain(work: Callable[[Any], None]) -> Callable[[Any], object]:
    return work


def coroutine(work: Callable[[Any], None]) -> Callable[[Any], object]:
    async def handle(data: Any) -> None:
        await asyncio.sleep(0)
        work(data)

    return handle


KINDS = pytest.mark.parametrize("kind", [plain, coroutine])


# Django


@pytest.mark.usefixtures("django_settings")
def test_no_message_gets_a_connection_of_djangos_that_has_gone_away() -> None:
    def handle(data: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    receivers: Receivers = recipe("close_old_connections")["receivers"]
    receivers.connect("a", handle, reliable=True)
    Signal("a").send(1)
    assert deliver(receivers).delivered == 1
    assert connection.connection is None
    connection.connect()
    connection.connection.close()  # as a database does with one that was idle
    Signal("a").send(2)
    assert deliver(receivers).delivered == 1


@pytest.fixture
def sessions(django_settings: None) -> Iterator[Any]:
    """A model of Django's with an empty table."""
    from django.contrib.sessions.models import Session

    with connection.schema_editor() as editor:
        editor.create_model(Session)
    yield Session
    with connection.schema_editor() as editor:
        editor.delete_model(Session)
    connection.close()


def test_a_receiver_of_a_models_signal_runs_in_the_background_after_the_commit(sessions: Any) -> None:
    found = recipe("transaction.on_commit")
    saved: list[Any] = []
    signal = ModelSignal()

    @found["after_commit"](signal, sender=sessions)
    def note(sender: Any, instance: Any) -> None:
        saved.append((sender, instance.session_data))

    session = sessions.objects.create(session_key="a", session_data="new", expire_date=datetime.now(timezone.utc))
    with transaction.atomic():
        signal.send(sender=sessions, instance=session, created=True)
        assert not waiting_names(found["receivers"])
    sessions.objects.update(session_data="newer")
    assert (deliver(found["receivers"]).delivered, saved) == (1, [(sessions, "newer")])

    signal.send(sender=sessions, instance=session, created=False)
    session.delete()
    report = deliver(found["receivers"])
    assert (report.failed, len(saved)) == (0, 1)
    assert note


# blinker


def test_a_receiver_of_blinkers_runs_in_the_background() -> None:
    found = recipe("blinker:")
    order_paid = blinker.Signal()
    shipped: list[Any] = []

    @found["in_background"](order_paid)
    def ship(sender: object, *, number: int) -> None:
        shipped.append((sender, number))

    order_paid.send(object(), number=7)
    assert shipped == []
    assert deliver(found["receivers"]).delivered == 1
    assert shipped == [(None, 7)]
    assert ship


@pytest.mark.parametrize("name", ["in_background", "after_commit"])
def test_recipes_for_the_signals_of_others_have_ten_lines_at_most(name: str) -> None:
    (lines,) = re.findall(rf"^def {name}.*?^    return connect$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(lines.splitlines()) <= 10


# SQLAlchemy


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]


@KINDS
def test_a_failed_transaction_of_sqlalchemys_touches_no_other_message(kind: Callable[..., Any]) -> None:
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    Base.metadata.create_all(engine)
    found = recipe("Session.remove()")
    session = found["Session"]
    session.configure(bind=engine)
    sessions: set[int] = set()

    def handle(data: dict[str, Any]) -> None:
        sessions.add(id(session()))
        session.add(Order(**data))
        session.commit()

    receivers: Receivers = found["receivers"]
    receivers.connect("a", kind(handle), reliable=True)
    send_many([("a", {"id": number, "note": None if number == 2 else "ok"}) for number in range(1, 5)])
    report = deliver(receivers)
    assert (report.delivered, report.failed) == (3, 1)
    assert not session.registry.registry
    with engine.connect() as rows:
        assert [row.id for row in rows.execute(sqlalchemy.select(Order.id).order_by(Order.id))] == [1, 3, 4]
    engine.dispose()


# Sentry


class KeepEvents(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events += [item.payload.json for item in envelope.items if item.type == "event"]


@pytest.fixture
def kept() -> Iterator[KeepEvents]:
    transport = KeepEvents()
    sentry_sdk.init(dsn="https://key@example.invalid/1", transport=transport, auto_enabling_integrations=False)
    yield transport
    sentry_sdk.init()


@KINDS
def test_what_one_message_tells_sentry_is_on_no_errors_of_another(kept: KeepEvents, kind: Callable[..., Any]) -> None:
    def invoice(data: dict[str, Any]) -> None:
        sentry_sdk.set_user({"id": data["customer"]})
        if data["is_vip"]:
            sentry_sdk.set_tag("vip", "yes")
            return
        raise ValueError("no tax number")

    receivers: Receivers = recipe("sentry_sdk.isolation_scope")["receivers"]
    receivers.connect("a", kind(invoice), reliable=True, max_attempts=1)
    for customer in ("ada", "bob", "eve"):
        Signal("a").send({"customer": customer, "is_vip": customer == "ada"})
    deliver(receivers)
    events = [event for event in kept.events if "exception" in event]
    assert sorted(event["user"]["id"] for event in events) == ["bob", "eve"]
    assert not any(event.get("tags") for event in events)


# aiohttp


class Site:
    """A server on a thread of its own, which counts requests and connections."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.peers: set[Any] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_post("/views", self._view)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/views"

    async def _view(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.requests.append(await request.json())
        return web.Response()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.stop()


def test_handlers_of_a_delivery_share_one_client_that_is_closed_at_its_end(site: Site) -> None:
    found = recipe("aiohttp.ClientSession")
    client = found["client"]
    used: list[Any] = []

    async def forward(data: object) -> None:
        used.append(await client())
        async with used[-1].post(site.url, json=data) as answer:
            answer.raise_for_status()

    receivers = Receivers()
    receivers.connect("a", forward, reliable=True, concurrency=1)
    receivers.connect("b", forward, reliable=True, concurrency=5)
    for _ in range(2):
        send_many([(name, number) for name in ("a", "b") for number in range(5)])
        assert deliver(receivers).delivered == 10
    assert len(site.requests) == 20
    assert len({id(session) for session in used}) == 2
    assert all(session.closed for session in used)
    assert found["_clients"] == {}
