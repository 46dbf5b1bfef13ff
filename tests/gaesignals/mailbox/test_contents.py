"""The messages of a name, one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.data import codec
from gaesignals.errors import StoreError
from gaesignals.format.keys import page_key
from gaesignals.format.page import FULL_MESSAGES, Page
from gaesignals.mailbox import contents as module
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.contents import Contents, Standing, contents
from gaesignals.stores.store import Set
from gaesignals.testing import ManualClock, MemoryStore


class DiedError(BaseException):
    """The process is gone."""


def failing(name: str = "a", *, backoff_seconds: float = 3600) -> Receivers:
    def explode(data: object) -> None:
        raise RuntimeError(f"no {data}")

    receivers = Receivers()
    receivers.connect(name, explode, reliable=True, backoff_seconds=backoff_seconds, id="it")
    return receivers


def die(data: object) -> None:
    raise DiedError


def lease(name: str = "a") -> None:
    """Have a process die with what waits."""
    receivers = Receivers()
    receivers.connect(name, die, reliable=True)
    with pytest.raises(DiedError):
        deliver(receivers)


def data_of(found: Contents) -> list[tuple[str, object]]:
    return [(each.standing.value, codec.loads(each.record.payload)) for each in found.messages]


def test_a_name_that_nobody_sent_to_has_none(mailbox: Mailbox) -> None:
    found = contents(mailbox, "a")
    assert (found.messages, sum(found.counts.values()), found.omitted) == ((), 0, 0)


def test_lists_what_is_to_be_retried_then_what_is_leased_then_what_waits(mailbox: Mailbox) -> None:
    Signal("a").send("again")
    deliver(failing())
    Signal("a").send("held")
    lease()
    Signal("a").send("fresh")
    found = contents(mailbox, "a")
    assert data_of(found) == [("retrying", "again"), ("leased", "held"), ("waiting", "fresh")]
    assert [found.counts[standing] for standing in Standing] == [1, 1, 1]


def test_says_of_a_retry_how_often_it_was_tried_when_it_is_next_and_why_it_failed(
    mailbox: Mailbox, clock: ManualClock
) -> None:
    Signal("a").send(7)
    deliver(failing())
    (retry,) = contents(mailbox, "a").messages
    assert (retry.record.attempt, retry.record.receivers) == (2, ("it",))
    assert retry.record.not_before_ms > mailbox.now_ms()
    assert "no 7" in retry.record.error


def test_lists_retries_in_the_order_in_which_they_are_due(mailbox: Mailbox) -> None:
    for number in range(20):
        Signal("a").send(number)
        deliver(failing())
    times = [each.record.not_before_ms for each in contents(mailbox, "a").messages]
    assert times == sorted(times)
    assert len(times) == 20


@pytest.mark.parametrize(
    "send",
    [
        lambda count: [Signal("a").send(number) for number in range(count)],
        lambda count: send_many([("a", number) for number in range(count)]),
        lambda count: [Signal("a").send(str(number) + "x" * 5000) for number in range(count)],
    ],
    ids=["segments", "bundles", "bodies"],
)
def test_finds_them_wherever_they_are_stored(mailbox: Mailbox, send: object) -> None:
    count = 2 * FULL_MESSAGES + 3
    send(count)  # type: ignore[operator]
    for standing in (Standing.WAITING, Standing.LEASED):
        found = contents(mailbox, "a")
        numbers = {str(codec.loads(each.record.payload)).rstrip("x") for each in found.messages}
        assert numbers == {str(number) for number in range(count)}
        assert found.omitted == found.missing == 0
        lease()
        assert standing in {each.standing for each in found.messages}


def test_lists_the_first_hundred_and_counts_the_others(mailbox: Mailbox) -> None:
    send_many([("a", number) for number in range(250)])
    found = contents(mailbox, "a")
    assert (len(found.messages), found.omitted) == (100, 150)


def test_lists_those_that_stand_as_asked_for(mailbox: Mailbox) -> None:
    Signal("a").send("again")
    deliver(failing())
    send_many([("a", number) for number in range(3)])
    found = contents(mailbox, "a", [Standing.WAITING])
    assert [standing for standing, _ in data_of(found)] == ["waiting"] * 3
    assert ([found.counts[standing] for standing in Standing], found.omitted) == ([1, 0, 3], 0)


def test_reads_no_more_than_a_bounded_number_of_bytes_and_one_message_at_least(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        Signal("a").send("x" * 20_000 + str(number))
    monkeypatch.setattr(module, "MAX_BYTES", 50_000)
    assert len(contents(mailbox, "a").messages) == 2
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    found = contents(mailbox, "a")
    assert (len(found.messages), found.omitted) == (1, 2)


def test_counts_what_memcache_has_forgotten(mailbox: Mailbox, store: MemoryStore) -> None:
    send_many([("a", number) for number in range(40)])
    store.delete([key for key in store.keys() if key.startswith(b"gs:b:")])  # noqa: SIM118 - not a dict
    found = contents(mailbox, "a")
    assert (found.messages, found.missing, found.omitted, found.is_readable) == ((), 40, 0, True)


def test_says_so_where_memcache_does_not_answer_for_some(mailbox: Mailbox, store: MemoryStore) -> None:
    send_many([("a", number) for number in range(40)])
    store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:b:")]
    found = contents(mailbox, "a")
    assert (found.is_readable, found.missing) == (False, 0)


def test_raises_where_memcache_does_not_answer_at_all(mailbox: Mailbox, store: MemoryStore) -> None:
    store.before = lambda call: call.keys
    with pytest.raises(StoreError, match="did not answer"):
        contents(mailbox, "a")


def test_leaves_out_what_a_takeover_is_done_with(mailbox: Mailbox, clock: ManualClock) -> None:
    for number in range(4):
        Signal("a").send(number)
    lease()
    clock.advance(400)

    def handle(data: object) -> None:
        if data == 1:
            raise RuntimeError
        if data == 2:
            raise DiedError

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, backoff_seconds=3600)
    with pytest.raises(DiedError):
        deliver(receivers)
    found = contents(mailbox, "a")
    assert data_of(found) == [("leased", 1), ("leased", 2), ("leased", 3)]
    assert [each.record.attempt for each in found.messages] == [2, 1, 1]
    assert found.omitted == 0


def test_changes_nothing(mailbox: Mailbox, store: MemoryStore) -> None:
    send_many([("a", number) for number in range(40)])
    before = {key: store.gets([key])[key] for key in store.keys()}  # noqa: SIM118 - not a dict
    calls = len(store.calls)
    contents(mailbox, "a")
    assert {call.verb for call in store.calls[calls:]} == {"gets"}
    assert {key: store.gets([key])[key] for key in store.keys()} == before  # noqa: SIM118 - not a dict


def test_the_lanes_of_a_hot_name_are_looked_at_too(mailbox: Mailbox) -> None:
    Signal("a").send("home")
    home = mailbox.read([page_key("a")], Page.from_bytes)[page_key("a")].value
    assert home is not None
    mailbox.store.write([Set(page_key("a"), replace(home, width=2, hot_ms=mailbox.now_ms()).to_bytes())])
    mailbox.lanes.keep("a", 1, mailbox.now_ms())
    Signal("a").send("lane")
    assert {data for _, data in data_of(contents(mailbox, "a"))} == {"home", "lane"}


def test_a_page_that_promises_millions_of_segments_is_no_burden(mailbox: Mailbox, store: MemoryStore) -> None:
    planted = Page("e" * 24, first=0, next=2**24, heaviest=1, sealed_count=2**30)
    mailbox.store.write([Set(page_key("a"), planted.to_bytes())])
    calls = len(store.calls)
    found = contents(mailbox, "a")
    assert not found.messages
    assert sum(len(call.keys) for call in store.calls[calls:]) < 1000
