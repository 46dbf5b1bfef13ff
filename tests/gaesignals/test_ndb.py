"""Each message has an ndb context of its own: with the SDK's datastore stub, and with a client of google.cloud.ndb."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.appengine.ext import ndb, testbed

from gaesignals import Message, Receivers, Signal, deliver, send_many
from gaesignals.testing import ManualClock

pytestmark = pytest.mark.usefixtures("mailbox")


class Account(ndb.Model):
    cents = ndb.IntegerProperty(default=0)
    page = ndb.StringProperty()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The key of an account with 1,000 cents."""
    monkeypatch.setenv("GAE_APPLICATION", "localdev")
    bed = testbed.Testbed()
    bed.activate()
    bed.init_datastore_v3_stub()
    bed.init_memcache_stub()
    try:
        key = Account(id="ada", cents=1000).put()
        ndb.get_context().clear_cache()
        yield key
    finally:
        ndb.get_context().clear_cache()
        bed.deactivate()


def cents(key: Any) -> int:
    ndb.get_context().clear_cache()
    return int(key.get().cents)


def plain(work: Callable[[Any], None]) -> Callable[[Any], object]:
    return work


def coroutine(work: Callable[[Any], None]) -> Callable[[Any], object]:
    async def handle(data: Any) -> None:
        await asyncio.sleep(0)
        work(data)

    return handle


@pytest.mark.parametrize("kind", [plain, coroutine])
def test_a_half_done_change_of_a_handler_that_failed_is_saved_by_no_other(
    account: Any, clock: ManualClock, kind: Callable[..., Any]
) -> None:
    is_down = True

    def charge(data: Any) -> None:
        nonlocal is_down
        found = account.get()
        found.cents -= 100
        if is_down:
            is_down = False
            raise ConnectionError
        found.put()

    def visit(data: Any) -> None:
        found = account.get()
        found.page = data
        found.put()

    receivers = Receivers()
    receivers.connect("charge", kind(charge), reliable=True, backoff=[60])
    receivers.connect("visit", kind(visit), reliable=True)
    send_many([("charge", 1), ("visit", "/")])
    deliver(receivers, names=["charge"])
    deliver(receivers, names=["visit"])
    clock.advance(60)
    deliver(receivers)
    assert cents(account) == 900


def test_coroutine_handlers_that_run_beside_each_other_have_each_their_own(account: Any) -> None:
    async def handle(number: int) -> None:
        found = account.get()
        found.cents += number  # in the context of this message alone
        await asyncio.sleep(0)
        assert account.get().cents == 1000 + number
        assert ndb.get_context() is not outer

    outer = ndb.get_context()
    receivers = Receivers()
    receivers.connect("a", handle, concurrency=5)
    for number in range(5):
        Signal("a").send(number)
    report = deliver(receivers)
    assert (report.delivered, report.errors) == (5, ())
    assert ndb.get_context() is outer
    assert cents(account) == 1000


def test_a_message_sees_what_others_wrote_since_the_one_before(account: Any) -> None:
    seen: list[int] = []

    def handle(data: Any) -> None:
        found = account.get()
        seen.append(found.cents)
        with_cache = ndb.get_context()
        ndb.set_context(ndb.tasklets.make_default_context())  # as another instance would
        Account(id="ada", cents=5).put()
        ndb.set_context(with_cache)

    send_many([("a", 1), ("a", 2)])
    deliver([("a", handle)])
    assert seen == [1000, 5]


def test_a_batch_shares_one(account: Any) -> None:
    def handle(messages: list[Message]) -> None:
        contexts.append({id(ndb.get_context()) for _ in messages})

    contexts: list[set[int]] = []
    receivers = Receivers()
    receivers.connect("a", handle, batch=10)
    send_many([("a", number) for number in range(3)])
    deliver(receivers)
    assert [len(found) for found in contexts] == [1]


@pytest.mark.parametrize("kind", [plain, coroutine])
def test_what_a_handler_began_to_write_is_written(account: Any, kind: Callable[..., Any]) -> None:
    def handle(data: Any) -> None:
        Account(id="ada", cents=7).put_async()

    Signal("a").send()
    assert deliver([("a", kind(handle))]).delivered == 1
    assert cents(account) == 7


def test_a_tasklet_is_run_to_its_end(account: Any) -> None:
    @ndb.tasklet  # type: ignore[untyped-decorator]
    def handle(number: int) -> Any:
        found = yield account.get_async()
        found.cents += number
        yield found.put_async()
        if number == 2:
            raise LookupError("lost")

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True)
    send_many([("a", 1), ("a", 2)])
    report = deliver(receivers)
    assert (report.delivered, report.retried) == (1, 1)
    assert [failure.error for failure in report.errors] == ["LookupError: lost"]
    assert cents(account) == 1003


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_each_message_has_a_context_of_its_own_of_google_cloud_ndb(is_coroutine: bool) -> None:
    cloud = pytest.importorskip("google.cloud.ndb")
    credentials = pytest.importorskip("google.auth.credentials")
    seen: list[Any] = []

    def note(number: int) -> None:
        context = cloud.context.get_context()
        assert not dict(context.cache)
        context.cache[cloud.Key("Account", number)] = None
        seen.append(context)

    async def note_soon(number: int) -> None:
        note(number)
        await asyncio.sleep(0)
        assert len(cloud.context.get_context().cache) == 1

    client = cloud.Client(project="shop", credentials=credentials.AnonymousCredentials())
    with client.context() as outer:
        send_many([("a", number) for number in range(3)])
        report = deliver([("a", note_soon if is_coroutine else note)])
        assert cloud.context.get_context() is outer
        assert not dict(outer.cache)
    assert (report.delivered, report.errors) == (3, ())
    assert len({id(context) for context in [outer, *seen]}) == 4


def test_without_a_context_of_google_cloud_ndb_there_is_none_either() -> None:
    cloud = pytest.importorskip("google.cloud.ndb")
    seen: list[Any] = []
    Signal("a").send()
    deliver([("a", lambda data: seen.append(cloud.context.get_context(False)))])
    assert seen == [None]
