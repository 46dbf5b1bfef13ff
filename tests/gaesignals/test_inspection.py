"""What can be told of a mailbox without changing it."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from gaesignals import Signal, send_many
from gaesignals.inspection import look
from gaesignals.mailbox import Mailbox
from gaesignals.testing import ManualClock


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
