"""What can be told of a mailbox without changing it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.errors import InvalidOptionError
from gaesignals.format.page import SEGMENT_BYTES
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import open_mailbox
from gaesignals.mailbox.look import LeaseStatus, look
from gaesignals.testing import ManualClock, MemoryStore


def oldest(mailbox: Mailbox, *, deep_bytes: int = 0) -> datetime | None:
    return look(mailbox, ["a"], deep_bytes=deep_bytes)["a"].oldest_sent_at


class TestTheOldestMessage:
    @pytest.fixture(autouse=True)
    def sent_at(self, mailbox: Mailbox, clock: ManualClock) -> datetime:
        Signal("a").send(0)
        sent_at = datetime.fromtimestamp(clock(), timezone.utc)
        clock.advance(10)
        return sent_at

    def test_is_known_while_all_are_on_the_page(self, mailbox: Mailbox, sent_at: datetime) -> None:
        Signal("a").send(1)
        assert oldest(mailbox) == sent_at

    @pytest.mark.parametrize(
        "send",
        [
            lambda: [Signal("a").send(number) for number in range(40)],
            lambda: send_many([("a", number) for number in range(40)]),
            lambda: [send_many([("a", number) for number in range(40)]) for _ in range(40)],
            lambda: [Signal("a").send("x" * 20_000) for _ in range(40)],
        ],
        ids=["segments", "a bundle", "segments of bundles", "segments of bodies"],
    )
    def test_is_known_only_to_who_reads_deep_when_some_are_elsewhere(
        self, mailbox: Mailbox, sent_at: datetime, send: Callable[[], object]
    ) -> None:
        send()
        assert oldest(mailbox) is None
        assert oldest(mailbox, deep_bytes=1000) is None
        assert oldest(mailbox, deep_bytes=2_000_000) == sent_at

    def test_is_the_oldest_of_a_lease_too(self, mailbox: Mailbox, sent_at: datetime, clock: ManualClock) -> None:
        receivers = Receivers()
        receivers.connect("a", die, reliable=True)
        for number in range(40):
            Signal("a").send(number)
        with pytest.raises(DiedError):
            deliver(receivers, mailbox=mailbox)
        clock.advance(10)
        Signal("a").send(1)
        assert oldest(mailbox, deep_bytes=2_000_000) == sent_at

    def test_is_that_of_what_is_left_when_the_oldest_were_evicted(
        self, mailbox: Mailbox, sent_at: datetime, store: MemoryStore
    ) -> None:
        for number in range(20):
            Signal("a").send(number)
        assert store.evict(lambda key: key.startswith(b"gs:s:"))
        assert oldest(mailbox, deep_bytes=2_000_000) == sent_at + timedelta(seconds=10)

    def test_is_read_in_one_more_call_for_the_fullest_names(self, mailbox: Mailbox, store: MemoryStore) -> None:
        names = [f"n{number}" for number in range(10)]
        for name in names:
            for number in range(40 if name == "n7" else 20):
                Signal(name).send(number)
        calls = len(store.calls)
        seen = look(mailbox, names, deep_bytes=3 * SEGMENT_BYTES)
        assert len(store.calls) - calls == 2
        known = [name for name in names if seen[name].oldest_sent_at]
        assert len(known) == 3
        assert "n7" in known


class DiedError(BaseException):
    """The process is gone."""


def die(data: object) -> None:
    raise DiedError


class TestTheHolderOfALease:
    @pytest.fixture
    def receivers(self) -> Receivers:
        receivers = Receivers()
        receivers.connect("a", die, reliable=True)
        return receivers

    def leases(self, mailbox: Mailbox) -> tuple[LeaseStatus, ...]:
        return look(mailbox, ["a"])["a"].leases

    def dying_delivery(self, receivers: Receivers, store: MemoryStore, clock: ManualClock, holder: str) -> None:
        with pytest.raises(DiedError):
            deliver(receivers, mailbox=Mailbox(store, clock=clock, holder=holder))

    def test_is_told(self, receivers: Receivers, store: MemoryStore, clock: ManualClock, mailbox: Mailbox) -> None:
        Signal("a").send()
        self.dying_delivery(receivers, store, clock, "one")
        assert [(lease.holder, lease.is_takeover) for lease in self.leases(mailbox)] == [("one", False)]

    def test_is_the_one_who_took_it_over(
        self, receivers: Receivers, store: MemoryStore, clock: ManualClock, mailbox: Mailbox
    ) -> None:
        Signal("a").send()
        self.dying_delivery(receivers, store, clock, "one")
        clock.advance(400)
        self.dying_delivery(receivers, store, clock, "two")
        assert [(lease.holder, lease.is_takeover) for lease in self.leases(mailbox)] == [("two", True)]

    @pytest.mark.parametrize("holder", ["x" * 21, None, 7])
    def test_is_a_short_text(self, store: MemoryStore, holder: str) -> None:
        with pytest.raises(InvalidOptionError, match="at most 20 characters"):
            Mailbox(store, holder=holder)

    @pytest.mark.parametrize(("instance", "holder"), [("00c61b117c8717096ff64563", "6ff64563"), ("", "")])
    def test_is_the_end_of_the_instance_on_app_engine(
        self, monkeypatch: pytest.MonkeyPatch, instance: str, holder: str
    ) -> None:
        monkeypatch.setenv("GAE_INSTANCE", instance)
        assert open_mailbox().holder == holder


def test_what_was_claimed_and_not_begun_waits_and_is_not_to_be_retried(mailbox: Mailbox, clock: ManualClock) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda data: None, reliable=True)
    sent_at = datetime.fromtimestamp(clock(), timezone.utc)
    send_many([("a", number) for number in range(40)])
    deliver(receivers, mailbox=mailbox, max_messages=1)
    clock.advance(60)
    status = look(mailbox, ["a"], deep_bytes=1_000_000)["a"]
    assert (status.waiting, status.retrying, status.next_retry_at) == (39, 0, None)
    assert status.oldest_sent_at == sent_at
    assert look(mailbox, ["a"])["a"].oldest_sent_at is None
