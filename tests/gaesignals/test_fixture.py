"""Signals in a test: what was sent, what a drain does, and time that passes when told."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from gaesignals import (
    InvalidNameError,
    InvalidOptionError,
    Receivers,
    Retry,
    SendError,
    Signal,
    SignalsError,
    SignalsMiddleware,
    StoreError,
    current_message,
    deliver,
    send_many,
)
from gaesignals.format.keys import page_key
from gaesignals.format.page import MAX_LEASES
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import current_mailbox, use_mailbox, use_mailbox_everywhere
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.testing import DrainError, MemoryStore, SignalsFixture

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    from google.appengine.ext import ndb, testbed

order_paid = Signal("order_paid")
password_changed = Signal("user_{user_id}_password_change")


@pytest.fixture
def signals() -> Iterator[SignalsFixture]:
    with SignalsFixture() as fixture:
        yield fixture


def in_a_thread(function: Any, *arguments: Any) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)))
    thread.start()
    thread.join()
    return results[0]


class TestSent:
    def test_is_what_was_sent_to_a_name_in_order(self, signals: SignalsFixture) -> None:
        order_paid.send({"order": 1})
        Signal("other").send("not this")
        send_many([(order_paid, (2, "a tuple")), ("other", None), ("order_paid", {3})])
        assert signals.sent("order_paid") == signals.sent(order_paid) == [{"order": 1}, (2, "a tuple"), {3}]
        assert signals.sent("other") == ["not this", None]
        assert signals.sent("never_sent") == []
        assert [name for name, _ in signals.all_sent()] == ["order_paid", "other", "order_paid", "other", "order_paid"]

    def test_is_the_same_once_it_was_delivered(self, signals: SignalsFixture) -> None:
        order_paid.send(1)
        deliver([(order_paid, print)])
        order_paid.send(2)
        assert signals.sent(order_paid) == [1, 2]

    def test_has_a_message_once_however_often_it_is_stored(self, signals: SignalsFixture) -> None:
        def fail(data: Any) -> None:
            raise ValueError

        receivers = Receivers()
        receivers.connect(order_paid, fail, reliable=True, max_attempts=2, backoff_seconds=10)
        for number in range(3):
            order_paid.send(number)
        deliver([(order_paid, print)], max_messages=1)
        for _ in range(3):
            signals.drain(receivers)
            signals.advance(10)
        DeadLetters(signals.mailbox).requeue("order_paid")
        assert signals.sent(order_paid) == [0, 1, 2]

    def test_cannot_be_changed_by_who_looks(self, signals: SignalsFixture) -> None:
        order_paid.send({"order": 1})
        signals.sent(order_paid)[0]["order"] = 2
        assert signals.sent(order_paid) == [{"order": 1}]

    def test_has_what_any_thread_sent_whenever_it_was_started(self, signals: SignalsFixture) -> None:
        in_a_thread(order_paid.send, 1)
        assert signals.sent(order_paid) == [1]
        assert in_a_thread(deliver, [(order_paid, print)]).delivered == 1

    def test_has_what_handlers_sent(self, signals: SignalsFixture) -> None:
        order_paid.send(1)
        deliver([(order_paid, lambda data: Signal("receipt").send(data))])
        assert signals.sent("receipt") == [1]

    def test_has_nothing_that_was_not_stored(self, signals: SignalsFixture) -> None:
        signals.store.before = lambda call: call.keys
        with pytest.raises(StoreError):
            order_paid.send(1)
        assert signals.sent(order_paid) == []

    @pytest.mark.parametrize("name", [password_changed, "", 7])
    def test_is_asked_for_by_a_name(self, signals: SignalsFixture, name: Any) -> None:
        with pytest.raises(InvalidNameError):
            signals.sent(name)


class TestDrain:
    def test_delivers_names_and_patterns(self, signals: SignalsFixture) -> None:
        seen: list[Any] = []
        receivers = Receivers()
        receivers.connect(order_paid, seen.append)
        receivers.receiver(password_changed)(lambda data, *, user_id: seen.append((user_id, data)))
        order_paid.send(1)
        password_changed(user_id=7).send("x")
        Signal("nobody_listens").send()
        assert signals.drain(receivers).delivered == 2
        assert sorted(seen, key=str) == [("7", "x"), 1]
        assert (signals.waiting(order_paid), signals.waiting("nobody_listens")) == (0, 1)

    def test_takes_pairs_and_dicts(self, signals: SignalsFixture) -> None:
        for mapping in ([(order_paid, print)], {"order_paid": print}):
            order_paid.send(1)
            assert signals.drain(mapping).delivered == 1
        order_paid.send(1)
        assert signals.drain([(order_paid, print)], reliable=True).delivered == 1

    def test_of_nothing_is_nothing(self, signals: SignalsFixture) -> None:
        assert signals.drain([(order_paid, print)]).is_idle

    def test_goes_on_with_what_handlers_send(self, signals: SignalsFixture) -> None:
        receivers = Receivers()
        receivers.receiver("count_{number}")(
            lambda data, *, number: Signal(f"count_{int(number) - 1}").send() if int(number) else None
        )
        Signal("count_25").send()
        assert signals.drain(receivers).delivered == 26
        assert signals.waiting("count_0") == 0

    def test_says_so_if_it_does_not_come_to_an_end(self, signals: SignalsFixture) -> None:
        order_paid.send(1)
        with pytest.raises(DrainError, match=r"1000 rounds.*'order_paid'.*the signal that it handles") as caught:
            signals.drain([(order_paid, order_paid.send)])
        assert isinstance(caught.value, SignalsError)

    def test_ends_where_nothing_can_be_done_now(self, signals: SignalsFixture) -> None:
        """As many processes died as a page has room for leases, so one more message waits until one runs out."""

        def die(data: Any) -> None:
            raise SystemExit

        for number in range(MAX_LEASES):
            order_paid.send(number)
            with pytest.raises(SystemExit):
                deliver([(order_paid, die)], reliable=True)
        order_paid.send(MAX_LEASES)
        assert signals.drain([(order_paid, print)], reliable=True).remaining == 1

    def test_ends_where_memcache_fails_for_a_name(self, signals: SignalsFixture) -> None:
        send_many([("a", 1), ("b", 1)])
        signals.store.before = lambda call: [key for key in call.keys if key == page_key("a")]
        report = signals.drain([("a", print), ("b", print)])
        assert report.delivered == 1
        assert report.errors[0].name == "a"

    def test_delivers_a_backlog_of_any_size(self, signals: SignalsFixture) -> None:
        send_many([(order_paid, "x" * 1000)] * 3000)
        assert signals.drain([(order_paid, print)]).delivered == 3000
        assert signals.waiting(order_paid) == 0

    def test_runs_in_any_thread(self, signals: SignalsFixture) -> None:
        order_paid.send(1)
        assert in_a_thread(signals.drain, [(order_paid, print)]).delivered == 1


def explode(data: Any) -> None:
    raise ValueError(f"no {data}")


class TestErrorsOfHandlers:
    def test_are_in_the_report(self, signals: SignalsFixture) -> None:
        order_paid.send(1)
        report = signals.drain([(order_paid, explode)])
        assert (report.failed, report.errors[0].error) == (1, "ValueError: no 1")

    def test_are_raised_if_asked_for_once_all_is_delivered(self, signals: SignalsFixture) -> None:
        send_many([(order_paid, 1), (order_paid, 2), ("other", 3)])
        seen: list[Any] = []
        with pytest.raises(ValueError, match="no 1") as caught:
            signals.drain([(order_paid, explode), ("other", seen.append)], raise_errors=True)
        assert seen == [3]
        assert caught.traceback[-1].name == "explode"

    def test_that_are_marks_are_raised_too(self, signals: SignalsFixture) -> None:
        receivers = Receivers()
        receivers.receiver(order_paid, batch=10)(lambda messages: messages[0].fail("bad row"))
        order_paid.send(1)
        with pytest.raises(DrainError, match=r"failed for 'order_paid': bad row"):
            signals.drain(receivers, raise_errors=True)

    def test_that_ask_for_a_retry_are_none(self, signals: SignalsFixture) -> None:
        def later(data: Any) -> None:
            raise Retry(after_seconds=60)

        order_paid.send(1)
        assert signals.drain([(order_paid, later)], reliable=True, raise_errors=True).retried == 1


class TestTime:
    def test_passes_only_when_told(self, signals: SignalsFixture) -> None:
        attempts: list[int] = []
        receivers = Receivers()

        @receivers.receiver(order_paid, reliable=True, max_attempts=3, backoff_seconds=30)
        def fail(data: Any) -> None:
            attempts.append(current_message().attempt)
            raise ValueError("no")

        order_paid.send(1)
        # The second attempt waits for the backoff, the third for twice as long: not for a random part of it.
        for seconds, made in ((0, 1), (29, 1), (1, 2), (59, 2), (1, 3), (86_400, 3)):
            signals.advance(seconds=seconds)
            signals.drain(receivers)
            assert attempts[-1] == made
        assert [(letter.data, letter.attempt) for letter in signals.dead(order_paid)] == [(1, 3)]
        assert "ValueError: no" in signals.dead("order_paid")[0].error
        assert signals.waiting(order_paid) == 0

    @pytest.mark.parametrize(("backoff", "waits"), [(1800, (1800, 3600, 3600)), (86_400, (86_400, 86_400))])
    def test_between_attempts_is_doubled_up_to_an_hour_and_never_cut(
        self, signals: SignalsFixture, backoff: int, waits: tuple[int, ...]
    ) -> None:
        receivers = Receivers()
        receivers.connect(order_paid, explode, reliable=True, backoff_seconds=backoff)
        order_paid.send(1)
        signals.drain(receivers)
        for seconds in waits:
            signals.advance(seconds - 1)
            assert signals.drain(receivers).failed == 0
            signals.advance(1)
            assert signals.drain(receivers).failed == 1

    def test_begins_at_the_time_of_day_in_whole_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "time", lambda: 1_900_000_000.7)
        seen = []
        with SignalsFixture() as signals:
            order_paid.send()
            signals.drain([(order_paid, lambda data: seen.append(current_message().sent_at))])
        assert seen[0].timestamp() == 1_900_000_000

    @pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 10**400, 1e308, "60", None, True])
    def test_neither_goes_back_nor_beyond_all_dates(self, signals: SignalsFixture, seconds: Any) -> None:
        with pytest.raises(InvalidOptionError, match="give from 0"):
            signals.advance(seconds)

    def test_takes_a_lease_from_who_died_with_it(self, signals: SignalsFixture) -> None:
        def die(data: Any) -> None:
            raise KeyboardInterrupt

        order_paid.send(1)
        with pytest.raises(KeyboardInterrupt):
            deliver([(order_paid, die)], reliable=True)
        assert signals.drain([(order_paid, print)], reliable=True).is_idle
        assert signals.waiting(order_paid) == 1
        signals.advance(seconds=311)
        assert signals.drain([(order_paid, print)], reliable=True).delivered == 1


class TestWaiting:
    def test_counts_what_is_not_done_with(self, signals: SignalsFixture) -> None:
        send_many([(order_paid, 1), (order_paid, 2), ("other", 3)])
        assert (signals.waiting("order_paid"), signals.waiting("other"), signals.waiting("none")) == (2, 1, 0)
        signals.drain([(order_paid, explode)], reliable=True)
        assert signals.waiting(order_paid) == 2


class TestAMailboxOfItsOwn:
    def test_is_that_of_a_middleware_too(self, signals: SignalsFixture) -> None:
        seen: list[Any] = []
        app = SignalsMiddleware(lambda environ, start_response: [b"ok"], [(order_paid, seen.append)])
        order_paid.send(1)
        app({"PATH_INFO": "/"}, print)  # type: ignore[arg-type]  # it is not called
        assert seen == [1]

    def test_is_left_behind_at_the_end(self) -> None:
        with SignalsFixture() as outer:
            order_paid.send("outer")
            with SignalsFixture() as inner:
                in_a_thread(order_paid.send, "inner")
                order_paid.send("inner, too")
            order_paid.send("outer again")
            in_a_thread(order_paid.send, "outer, in a thread")
        assert inner.sent(order_paid) == ["inner", "inner, too"]
        assert outer.sent(order_paid) == ["outer", "outer again", "outer, in a thread"]

    def test_is_left_behind_after_an_error(self) -> None:
        with SignalsFixture() as outer:
            with pytest.raises(ZeroDivisionError), SignalsFixture():
                raise ZeroDivisionError
            assert current_mailbox() is outer.mailbox
            assert in_a_thread(current_mailbox) is outer.mailbox

    def test_comes_before_one_that_was_set_around_it_and_after_one_that_is_set_inside(self) -> None:
        mailbox = Mailbox(MemoryStore())
        with use_mailbox(mailbox):
            with SignalsFixture() as signals:
                assert current_mailbox() is signals.mailbox
                with use_mailbox(mailbox):
                    assert current_mailbox() is mailbox
            assert current_mailbox() is mailbox


def test_a_mailbox_can_be_set_for_all_threads() -> None:
    mailbox = Mailbox(MemoryStore())
    is_set, go_on = threading.Event(), threading.Event()
    seen: list[Mailbox] = []

    def look() -> None:
        assert is_set.wait(20)
        seen.append(current_mailbox())
        go_on.set()

    thread = threading.Thread(target=look)
    thread.start()
    with use_mailbox_everywhere(mailbox) as same:
        assert same is mailbox
        is_set.set()
        assert go_on.wait(20)
    thread.join()
    assert seen == [mailbox]


class TestTasks:
    """What is for later, and what belongs to a transaction."""

    def test_what_is_for_later_was_sent_and_is_delivered_when_it_is_due(self, signals: SignalsFixture) -> None:
        seen: list[object] = []
        Signal("a").send(1, delay_seconds=60)
        assert signals.sent("a") == [1]
        assert signals.drain([("a", seen.append)]).delivered == 0
        signals.advance(60)
        assert signals.drain([("a", seen.append)]).delivered == 1
        assert (seen, signals.sent("a")) == ([1], [1])

    def test_sends_tell_how_a_message_was_sent(self, signals: SignalsFixture) -> None:
        Signal("a").send(1)
        Signal("a").send(2, delay_seconds=60)
        now, later = signals.sends("a")
        assert (now.data, now.due_at, now.is_durable, now.wake_seconds) == (1, None, False, None)
        Signal("latest", latest=True).send()
        assert [sent.is_latest for sent in (now, *signals.sends("latest"))] == [False, True]
        assert later.due_at is not None
        assert (later.data, (later.due_at - later.sent_at).total_seconds()) == (2, 60)

    def test_a_transaction_sends_at_its_end(self, signals: SignalsFixture) -> None:
        with signals.transaction():
            Signal("a").send(1, transactional=True)
            assert signals.sent("a") == []
        assert signals.sent("a") == [1]
        assert signals.drain([("a", print)]).delivered == 1

    def test_a_transaction_that_fails_sends_nothing(self, signals: SignalsFixture) -> None:
        with contextlib.suppress(ZeroDivisionError), signals.transaction():
            Signal("a").send(1, transactional=True)
            raise ZeroDivisionError
        assert signals.sent("a") == []

    def test_a_transaction_of_ndb_counts(self, signals: SignalsFixture) -> None:
        with datastore():
            ndb.transaction(lambda: Signal("a").send(1, transactional=True))
            assert signals.sent("a") == [1]
            with pytest.raises(SendError, match="transaction"):
                Signal("a").send(1, transactional=True)

    def test_memcache_that_forgets_has_the_task_come_again(self, signals: SignalsFixture) -> None:
        Signal("a").send(1, delay_seconds=0)
        signals.store.before = lambda call: call.keys
        with pytest.raises(StoreError):
            signals.drain([("a", print)])
        signals.store.before = None
        signals.advance(600)
        assert signals.drain([("a", print)]).delivered == 1


@contextlib.contextmanager
def datastore() -> Iterator[None]:
    bed = testbed.Testbed()
    bed.activate()
    bed.init_memcache_stub()
    bed.init_datastore_v3_stub()
    yield
    bed.deactivate()
