"""An observer is told of every call of a handler, and cannot disturb it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from gaesignals import DeliveryReport, Drop, Message, Receivers, Retry, Signal, deliver, send_many
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.observing import HandlerCall, Judged, Observer, Observers
from gaesignals.testing import ManualClock, MemoryStore


class Watcher(Observer):
    def __init__(self) -> None:
        self.calls: list[HandlerCall] = []
        self.reports: list[DeliveryReport] = []

    def handled(self, call: HandlerCall) -> None:
        self.calls.append(call)

    def delivered(self, report: DeliveryReport) -> None:
        self.reports.append(report)


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture(autouse=True)
def box(clock: ManualClock, watcher: Watcher):
    with use_mailbox(Mailbox(MemoryStore(clock=clock), clock=clock, random=random.Random(7), observer=watcher)) as box:
        yield box


def test_a_call_says_who_handled_what_and_how_long_it_took(clock: ManualClock, watcher: Watcher) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda data: clock.advance(1.5), id="slow")
    Signal("a").send()
    report = deliver(receivers)
    assert watcher.calls == [HandlerCall("slow", "a", count=1, failed=0, seconds=1.5)]
    assert watcher.reports == [report]


@pytest.mark.parametrize("error", [ValueError("no"), Retry(reason="no")], ids=["failure", "retry"])
def test_what_a_handler_raises_is_a_failure(watcher: Watcher, error: Exception) -> None:
    def handle(data: object) -> None:
        raise error

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True)
    Signal("a").send()
    deliver(receivers)
    (call,) = watcher.calls
    assert (call.count, call.failed) == (1, 1)
    assert call.error == f"{type(error).__name__}: no"


def test_a_drop_is_no_failure(watcher: Watcher) -> None:
    def handle(data: object) -> None:
        raise Drop("stale")

    Signal("a").send()
    deliver([("a", handle)])
    assert [(call.count, call.failed, call.error) for call in watcher.calls] == [(1, 0, "")]


def test_marked_messages_of_a_batch_are_its_failures(watcher: Watcher) -> None:
    def handle(messages: list[Message]) -> None:
        messages[1].fail("bad row")

    receivers = Receivers()
    receivers.connect("a", handle, batch=10, reliable=True)
    send_many([("a", number) for number in range(3)])
    deliver(receivers)
    assert [(call.count, call.failed, call.error) for call in watcher.calls] == [(3, 1, "bad row")]


def test_a_batch_that_is_run_again_one_by_one_is_counted_once(watcher: Watcher) -> None:
    def handle(messages: list[Message]) -> None:
        if any(message.data == 1 for message in messages):
            raise ValueError("poison")

    receivers = Receivers()
    receivers.connect("a", handle, batch=10, reliable=True)
    send_many([("a", number) for number in range(3)])
    deliver(receivers)
    assert sum(call.count for call in watcher.calls) == 3
    assert sum(call.failed for call in watcher.calls) == 1


def test_an_observer_that_fails_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Observer):
        def handled(self, call: HandlerCall) -> None:
            raise RuntimeError("handled")

        def delivered(self, report: DeliveryReport) -> None:
            raise RuntimeError("delivered")

    with use_mailbox(Mailbox(MemoryStore(), observer=Broken())):
        Signal("a").send()
        assert deliver([("a", lambda data: None)]).delivered == 1
    assert caplog.messages.count("an observer failed") == 2


def test_a_send_is_told_once_it_is_stored(box: Mailbox) -> None:
    class Sends(Observer):
        names: tuple[str, ...] = ()

        def sent(self, names: Sequence[str]) -> None:
            self.names += tuple(names)
            raise RuntimeError("an observer that fails disturbs nobody")

    sends = Sends()
    box.observer = Observers([sends])
    send_many([("a", 1), ("b", 2), ("a", 3)])
    assert sends.names == ("a", "b", "a")


def test_a_batch_whose_handler_uses_up_its_list_is_counted(watcher: Watcher) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: messages.clear(), batch=10)
    send_many([("a", number) for number in range(3)])
    deliver(receivers)
    assert [(call.count, len(call.handling.messages) if call.handling else 0) for call in watcher.calls] == [(3, 3)]


class RoundWatcher(Watcher):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []

    def claimed(self, counts: Mapping[str, int]) -> None:
        self.told.append(dict(counts))

    def judged(self, judged: Judged) -> None:
        self.told.append(judged)

    def round_ended(self) -> None:
        self.told.append("round ended")


class TestARound:
    @pytest.fixture
    def watcher(self) -> RoundWatcher:
        return RoundWatcher()

    def test_says_what_it_has_in_hand_and_when_it_has_nothing_more(self, watcher: RoundWatcher) -> None:
        receivers = Receivers()
        receivers.connect("a", lambda data: None, reliable=True)
        receivers.connect("b", lambda data: None)
        send_many([("a", 1), ("a", 2), ("b", 1)])
        deliver(receivers)
        assert watcher.told == [{"a": 2, "b": 1}, "round ended"]

    def test_says_which_receivers_get_it_again_and_for_which_it_is_dead(
        self, clock: ManualClock, watcher: RoundWatcher
    ) -> None:
        def fail(data: object) -> None:
            raise ValueError("no")

        receivers = Receivers()
        receivers.connect("a", fail, id="again", reliable=True, backoff=[3600])
        receivers.connect("a", fail, id="once", reliable=True, max_attempts=1)
        receivers.connect("a", fail, id="old", reliable=True, max_age_seconds=10)
        Signal("a").send()
        clock.advance(60)
        deliver(receivers)
        assert watcher.told == [{"a": 1}, Judged("a", ["again"], ["once"], ["old"]), "round ended"]

    def test_says_nothing_of_what_went_well(self, watcher: RoundWatcher) -> None:
        receivers = Receivers()
        receivers.connect("a", lambda data: None, reliable=True)
        Signal("a").send()
        deliver(receivers)
        assert not any(isinstance(each, Judged) for each in watcher.told)


class Dozing(Watcher):
    """Listens now and then."""

    is_awake = False

    def is_listening(self) -> bool:
        return self.is_awake


def test_an_observer_that_does_not_listen_is_told_nothing_until_it_does() -> None:
    dozing = Dozing()
    with use_mailbox(Mailbox(MemoryStore(), observer=dozing)):
        for _ in range(2):
            Signal("a").send()
            deliver([("a", lambda data: None)])
            dozing.is_awake = not dozing.is_awake
    assert (len(dozing.calls), len(dozing.reports)) == (1, 1)


def test_an_observer_that_cannot_say_whether_it_listens_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Watcher):
        def is_listening(self) -> bool:
            raise RuntimeError("is_listening")

    broken = Broken()
    with use_mailbox(Mailbox(MemoryStore(), observer=broken)):
        Signal("a").send()
        deliver([("a", lambda data: None)])
    assert (len(broken.calls), len(broken.reports)) == (1, 1)
    assert "an observer failed" in caplog.messages
