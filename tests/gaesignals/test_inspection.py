"""What can be told of a mailbox without changing it."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.errors import InvalidOptionError
from gaesignals.inspection import LeaseStatus, look
from gaesignals.mailbox import Mailbox, app_engine_mailbox
from gaesignals.testing import ManualClock, MemoryStore


def oldest(mailbox: Mailbox) -> datetime | None:
    return look(mailbox, ["a"])["a"].oldest_sent_at


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

    def test_is_not_known_when_some_are_in_segments(self, mailbox: Mailbox) -> None:
        for number in range(40):
            Signal("a").send(number)
        assert oldest(mailbox) is None

    def test_is_not_known_when_some_are_in_a_bundle(self, mailbox: Mailbox) -> None:
        send_many([("a", number) for number in range(40)])
        assert oldest(mailbox) is None


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
        assert app_engine_mailbox(namespace="").holder == holder
