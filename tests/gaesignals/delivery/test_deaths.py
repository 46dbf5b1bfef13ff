"""Deaths that a person brings about: told to observers as those of a delivery are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from gaesignals import Message, Receivers
from gaesignals.delivery.deaths import announce_each
from gaesignals.format.entries import Record
from gaesignals.format.letter import DeadLetter
from gaesignals.mailbox.box import Mailbox
from gaesignals.observing import Judged, Observer
from gaesignals.report import DeliveryReport
from gaesignals.testing import MemoryStore


class Watcher(Observer):
    """Notes what it is told, and what is done meanwhile."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def delivering(self) -> AbstractContextManager[object]:
        return self._delivering()

    @contextmanager
    def _delivering(self) -> Iterator[None]:
        self.told.append("begun")
        yield
        self.told.append("ended")

    def judged(self, judged: Judged) -> None:
        self.told.append(judged)

    def delivered(self, report: DeliveryReport) -> None:
        self.told.append(report)


def letter(id_: str, receiver: str) -> DeadLetter:
    return DeadLetter(Record(id_, 1, b"\xf6", receivers=(receiver,)), 2, "no")


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def mailbox(watcher: Watcher) -> Mailbox:
    return Mailbox(MemoryStore(), observer=watcher)


def test_a_message_is_one_death_however_many_of_its_receivers_gave_it_up(mailbox: Mailbox, watcher: Watcher) -> None:
    def note(message: Message, error: str) -> None:
        watcher.told.append(message.id)

    announce_each("a", [letter("one", "x"), letter("one", "y"), letter("two", "x")], Receivers(on_dead=note), mailbox)
    judged = Judged("a", dead=["x", "y", "x"])
    assert watcher.told == ["begun", judged, "one", "one", "two", DeliveryReport(dead=2), "ended"]


def test_nothing_is_told_of_nothing(mailbox: Mailbox, watcher: Watcher) -> None:
    announce_each("a", [], Receivers(), mailbox)
    assert watcher.told == []
