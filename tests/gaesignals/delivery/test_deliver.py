"""What `deliver` does with messages, handlers and time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import pytest

from gaesignals import (
    Drop,
    InvalidMappingError,
    InvalidNameError,
    InvalidOptionError,
    Message,
    NoCurrentMessageError,
    Receivers,
    Retry,
    Signal,
    StoreError,
    current_message,
    deliver,
    send_many,
    waiting_names,
)
from gaesignals.format.keys import dead_key, page_key
from gaesignals.format.page import Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.claim import Claimer
from gaesignals.mailbox.claim import Order as ClaimOrder
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.look import look
from gaesignals.stores.store import MEMCACHE_LIMITS, Set
from gaesignals.testing import Call, ManualClock, MemoryStore

pytestmark = pytest.mark.usefixtures("mailbox")


class Recorder:
    """A handler that keeps what it was given, and fails as often as it is told."""

    def __init__(self, fail: Callable[[Any], BaseException | None] = lambda data: None) -> None:
        self.seen: list[Any] = []
        self._fail = fail

    def __call__(self, data: Any) -> None:
        self.seen.append(data)
        error = self._fail(data)
        if error is not None:
            raise error


def failing(data: Any) -> None:
    raise RuntimeError("always")


def drain(receivers: Any, clock: ManualClock, *, names: list[str] | None = None, rounds: int = 100) -> None:
    """Deliver until nothing is left, with enough time in between for every backoff."""
    for _ in range(rounds):
        deliver(receivers, names=names)
        clock.advance(4000)


# The 2011 library's README


def test_the_usage_of_2011_works_unchanged() -> None:
    handler = Recorder()
    Signal("my_signal").send()
    now = datetime.now()
    Signal("my_signal").send(now)
    deliver([("my_signal", handler)])
    assert handler.seen == [None, now]
    Signal("my_signal").send(1)
    deliver([("my_signal", handler)], reliable=True)
    assert handler.seen == [None, now, 1]


# Weak and reliable


@pytest.mark.parametrize("reliable", [False, True, None])
def test_a_message_is_handled_once(reliable: bool | None) -> None:
    handler = Recorder()
    ids = [Signal("a").send(number) for number in range(50)]
    report = deliver([("a", handler)], reliable=reliable)
    assert sorted(handler.seen) == list(range(50))
    assert report.delivered == 50
    assert len(set(ids)) == 50
    assert deliver([("a", handler)], reliable=reliable).is_idle


def test_delivering_a_name_that_nobody_sent_to_does_nothing() -> None:
    assert deliver([("nobody", failing)]).is_idle


def test_a_weak_failure_is_logged_counted_and_gone(caplog: pytest.LogCaptureFixture) -> None:
    message_id = Signal("a").send("secret")
    report = deliver([("a", failing)])
    assert (report.failed, report.delivered, report.retried) == (1, 0, 0)
    [failure] = report.errors
    assert (failure.name, failure.message_id, failure.error) == ("a", message_id, "RuntimeError: always")
    assert "always" in caplog.text
    assert "secret" not in caplog.text
    assert deliver([("a", failing)]).is_idle


def test_a_reliable_failure_is_run_again_after_its_backoff(clock: ManualClock) -> None:
    handler = Recorder(lambda data: RuntimeError() if len(handler.seen) < 3 else None)
    Signal("a").send("x")
    reports = []
    for _ in range(3):
        reports.append(deliver([("a", handler)], reliable=True))
        assert deliver([("a", handler)], reliable=True).is_idle or len(handler.seen) == 3
        clock.advance(60)
    assert [report.retried for report in reports] == [1, 1, 0]
    assert reports[-1].delivered == 1


def test_a_handler_that_always_fails_ends_as_a_dead_letter(
    clock: ManualClock, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    died: list[tuple[Message, str]] = []
    receivers = Receivers(on_dead=lambda message, error: died.append((message, error)))
    attempts: list[int] = []

    def handler(data: Any) -> None:
        attempts.append(current_message().attempt)
        raise RuntimeError("always")

    receivers.connect("a", handler, reliable=True, max_attempts=3, id="h")
    message_id = Signal("a").send({"card": 7})
    drain(receivers, clock, rounds=6)
    assert attempts == [1, 2, 3]
    [letter] = DeadLetters(mailbox).list("a")
    assert (letter.id, letter.attempt, letter.receivers, letter.data) == (message_id, 3, ("h",), {"card": 7})
    assert "Traceback" in letter.error
    assert "always" in letter.error
    assert DeadLetters(mailbox).names() == {"a": 1}
    [(message, error)] = died
    assert (message.id, message.data) == (message_id, {"card": 7})
    assert "always" in error
    assert [record.levelno for record in caplog.records if record.message == "a message is dead"] == [logging.ERROR]
    assert look(mailbox, ["a"])["a"].retrying == 0


def test_on_dead_runs_in_the_namespace_of_the_sender(clock: ManualClock, mailbox: Mailbox) -> None:
    namespaces: list[str] = []
    receivers = Receivers(on_dead=lambda message, error: namespaces.append(mailbox.namespaces.current()))
    receivers.connect("a", failing, reliable=True, max_attempts=1)
    with mailbox.namespaces.using("tenant"):
        Signal("a").send(1)
    deliver(receivers)
    assert namespaces == ["tenant"]
    assert mailbox.namespaces.current() == ""


@dataclass
class Order:
    number: int


def test_on_dead_gets_the_data_of_the_type_that_the_receivers_signal_declares() -> None:
    dead: list[Message] = []
    receivers = Receivers(on_dead=lambda message, error: dead.append(message))
    order_paid = Signal("a", data_type=Order)
    receivers.connect(order_paid, failing, reliable=True, max_attempts=1)
    order_paid.send(Order(7))
    deliver(receivers)
    assert [message.data for message in dead] == [Order(7)]


def test_a_dead_letter_can_be_requeued_or_dropped(clock: ManualClock, mailbox: Mailbox) -> None:
    receivers = Receivers()
    receivers.connect("a", failing, reliable=True, max_attempts=1, id="h")
    first, second = Signal("a").send(1), Signal("a").send(b"x" * 5000)
    drain(receivers, clock, rounds=1)
    letters = DeadLetters(mailbox)
    assert {letter.id for letter in letters.list("a")} == {first, second}
    assert letters.requeue("a", [second]) == 1
    assert [letter.id for letter in letters.list("a")] == [first]
    handler = Recorder()
    mended = Receivers()
    mended.connect("a", handler, reliable=True, id="h")
    deliver(mended)
    assert handler.seen == [b"x" * 5000]
    assert letters.drop("a") == 1
    assert (letters.list("a"), letters.names()) == ([], {})


def test_a_name_keeps_its_newest_hundred_dead_letters(mailbox: Mailbox, store: MemoryStore) -> None:
    receivers = Receivers()
    receivers.connect("a", failing, reliable=True, max_attempts=1, id="h")
    send_many([("a", f"{number:04}" * 1000) for number in range(130)])
    deliver(receivers)
    letters = DeadLetters(mailbox).list("a")
    assert [int(letter.data[:4]) for letter in letters] == list(range(30, 130))
    assert store.ttl_seconds(dead_key("a")) is None
    assert sum(key.startswith(b"gs:b:dead") for key in store.keys()) == 100  # noqa: SIM118


# Several receivers, patterns, batches


def test_several_receivers_each_get_every_message_and_only_what_failed_runs_again(clock: ManualClock) -> None:
    good, bad = Recorder(), Recorder(lambda data: RuntimeError() if len(bad.seen) < 2 else None)
    receivers = Receivers()
    receivers.connect("a", good, reliable=True, id="good")
    receivers.connect("a", bad, reliable=True, id="bad")
    Signal("a").send(1)
    drain(receivers, clock, rounds=4)
    assert (good.seen, bad.seen) == ([1], [1, 1])


def test_a_weak_receiver_beside_a_reliable_one_sees_the_first_attempt_only(clock: ManualClock) -> None:
    weak, reliable = Recorder(), Recorder(lambda data: RuntimeError() if len(reliable.seen) < 3 else None)
    receivers = Receivers()
    receivers.connect("a", weak, id="weak")
    receivers.connect("a", reliable, reliable=True, id="reliable")
    Signal("a").send(1)
    drain(receivers, clock, rounds=5)
    assert (weak.seen, reliable.seen) == ([1], [1, 1, 1])


def test_a_retry_for_a_receiver_that_is_unknown_here_waits_for_an_instance_that_knows_it(
    clock: ManualClock, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    """As while a deploy rolls: an instance of the version before must not bury what the new one is to run again."""
    old, new = Receivers(), Receivers()
    welcomed, told = Recorder(), Recorder()
    for receivers in (old, new):
        receivers.connect("a", welcomed, reliable=True, id="welcome")
    new.connect("a", failing, reliable=True, id="crm")
    Signal("a").send(1)
    deliver(new)
    for _ in range(11):
        clock.advance(300)
        report = deliver(old)
        assert (report.dead, report.failed, report.retried, report.remaining) == (0, 0, 0, 1)
    assert [record.message for record in caplog.records].count(
        "a message waits up to an hour for a receiver that is not known here"
    ) == 1
    clock.advance(300)
    mended = Receivers()
    mended.connect("a", told, reliable=True, id="crm")
    assert deliver(mended).delivered == 1
    assert (welcomed.seen, told.seen) == ([1], [1])


def test_a_receiver_that_nobody_knows_for_an_hour_makes_its_retries_dead(clock: ManualClock, mailbox: Mailbox) -> None:
    before, after = Receivers(), Receivers()
    before.connect("a", failing, reliable=True, id="old")
    after.connect("a", Recorder(), reliable=True, id="new")
    Signal("a").send(1)
    deliver(before)
    for _ in range(13):
        clock.advance(310)
        deliver(after)
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.receivers == ("old",)
    assert "no receiver 'old'" in letter.error


def test_a_pattern_gives_its_fields_as_keywords() -> None:
    seen: list[tuple[Any, str]] = []
    receivers = Receivers()
    password_changed = Signal("user_{user_id}_password_change")

    @receivers.receiver(password_changed)
    def mail(data: Any, *, user_id: str) -> None:
        seen.append((data, user_id))

    password_changed(user_id=54274).send("changed")
    with pytest.raises(InvalidOptionError, match="waiting_names"):
        deliver(receivers)
    assert waiting_names(receivers) == ["user_54274_password_change"]
    report = deliver(receivers, names=waiting_names(receivers))
    assert (report.delivered, seen) == (1, [("changed", "54274")])


def test_a_batch_handler_gets_lists_of_at_most_its_size() -> None:
    sizes: list[int] = []
    receivers = Receivers()
    receivers.connect("a", lambda messages: sizes.append(len(messages)), batch=100, id="h")
    send_many([("a", number) for number in range(250)])
    assert deliver(receivers).delivered == 250
    assert sum(sizes) == 250
    assert max(sizes) == 100


def test_only_what_a_batch_marks_as_failed_is_retried(clock: ManualClock) -> None:
    seen: list[Any] = []

    def count(messages: list[Message]) -> None:
        for message in messages:
            seen.append(message.data)
            if message.data == 3 and message.attempt == 1:
                message.fail("bad row")

    receivers = Receivers()
    receivers.connect("a", count, batch=10, reliable=True)
    send_many([("a", number) for number in range(5)])
    report = deliver(receivers)
    assert (report.delivered, report.failed, report.retried) == (4, 1, 1)
    assert report.errors[0].error == "bad row"
    drain(receivers, clock, rounds=2)
    assert sorted(seen) == [0, 1, 2, 3, 3, 4]


def test_a_poison_message_never_costs_its_batch_an_attempt(clock: ManualClock, mailbox: Mailbox) -> None:
    done: list[tuple[Any, int]] = []

    def count(messages: list[Message]) -> None:
        if any(message.data == 42 for message in messages):
            raise RuntimeError("poison")
        done.extend((message.data, message.attempt) for message in messages)

    receivers = Receivers()
    receivers.connect("a", count, batch=100, reliable=True, max_attempts=3)
    send_many([("a", number) for number in range(100)])
    drain(receivers, clock, rounds=5)
    assert sorted(done) == [(number, 1) for number in range(100) if number != 42]
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.data == 42


def test_a_weak_batch_that_raises_is_gone_and_counted() -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: 1 / 0, batch=10, id="h")
    send_many([("a", number) for number in range(5)])
    assert deliver(receivers).failed == 5
    assert deliver(receivers).is_idle


# What handlers can say


def test_retry_waits_as_long_as_it_is_told(clock: ManualClock) -> None:
    handler = Recorder(lambda data: Retry(after_seconds=600) if len(handler.seen) == 1 else None)
    Signal("a").send(1)
    report = deliver([("a", handler)], reliable=True)
    assert (report.retried, report.failed, report.errors) == (1, 0, ())
    clock.advance(599)
    assert deliver([("a", handler)], reliable=True).is_idle
    clock.advance(2)
    assert deliver([("a", handler)], reliable=True).delivered == 1


@pytest.mark.parametrize("days", [6, 7])
def test_the_longest_retry_is_still_there_when_it_is_due_and_a_weekend_later(days: int, clock: ManualClock) -> None:
    handler = Recorder(lambda data: Retry(after_seconds=days * 86400) if len(handler.seen) == 1 else None)
    Signal("a").send(1)
    deliver([("a", handler)], reliable=True)
    clock.advance((days + 3) * 86400)
    report = deliver([("a", handler)], reliable=True)
    assert (report.delivered, report.lost) == (1, 0)


def test_a_weak_receiver_cannot_ask_for_a_retry_and_its_failure_is_counted(clock: ManualClock) -> None:
    handler = Recorder(lambda data: Retry(after_seconds=1))
    Signal("a").send(1)
    report = deliver([("a", handler)])
    assert (report.delivered, report.failed, report.retried) == (0, 1, 0)
    assert "Retry" in report.errors[0].error
    drain([("a", handler)], clock, rounds=2)
    assert handler.seen == [1]


def test_drop_is_done_with_the_message(clock: ManualClock) -> None:
    handler = Recorder(lambda data: Drop("stale"))
    Signal("a").send(1)
    report = deliver([("a", handler)], reliable=True)
    assert (report.delivered, report.failed) == (1, 0)
    drain([("a", handler)], clock, rounds=2)
    assert handler.seen == [1]


@pytest.mark.parametrize("batch", [None, 10])
def test_what_a_handler_marks_as_failed_before_it_drops_the_rest_runs_again(
    clock: ManualClock, batch: int | None
) -> None:
    seen: list[Any] = []

    def handle(messages: list[Message]) -> None:
        seen.append([message.data for message in messages])
        if len(seen) == 1:
            messages[0].fail("bad row")
            raise Drop("the others are stale")

    receivers = Receivers()
    handler: Any = handle if batch else lambda data: handle([current_message()])
    receivers.connect("a", handler, reliable=True, batch=batch, id="h")
    send_many([("a", 1), ("a", 2)])
    report = deliver(receivers)
    assert (report.delivered, report.failed, report.retried) == (1, 1, 1)
    drain(receivers, clock, rounds=2)
    assert seen == ([[1, 2], [1]] if batch else [[1], [2], [1]])


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its text")


@pytest.mark.parametrize(
    "error",
    [
        UnprintableError(),
        OSError("no such file: \udcff"),
        Retry(after_seconds=1, reason="\ud800"),
        ValueError("é" * 10_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_whose_text_cannot_be_stored_as_it_is_costs_nobody_else_anything(
    error: Exception, clock: ManualClock, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "gaesignals")  # xdist cannot carry a log with a lone surrogate
    handler, other = Recorder(lambda data: error), Recorder()
    receivers = Receivers()
    receivers.connect("a", handler, reliable=True, max_attempts=2, id="failing")
    receivers.connect("b", other, reliable=True, id="other")
    send_many([("a", 1), ("b", 2)])
    report = deliver(receivers)
    assert (report.delivered, report.retried) == (1, 1)
    drain(receivers, clock, rounds=3)
    assert (handler.seen, other.seen) == ([1, 1], [2])
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.error


@pytest.mark.parametrize("reason", [ValueError("bad row"), 404, None, "\udcff", UnprintableError(), ""])
def test_a_message_is_marked_with_any_reason(reason: object, clock: ManualClock, mailbox: Mailbox) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: messages[0].fail(reason), batch=2, reliable=True, max_attempts=2, id="h")
    send_many([("a", 1), ("a", 2)])
    report = deliver(receivers)
    assert (report.delivered, report.retried) == (1, 1)
    drain(receivers, clock, rounds=3)
    [letter] = DeadLetters(mailbox).list("a")
    assert letter.error


@pytest.mark.parametrize("after_seconds", ["60", True, -1, float("nan"), 604801, [1]])
def test_a_retry_after_no_time_at_all_is_refused(after_seconds: Any) -> None:
    with pytest.raises(InvalidOptionError, match="after_seconds"):
        Retry(after_seconds=after_seconds)


def test_the_current_message_is_known_inside_a_handler_only(clock: ManualClock) -> None:
    seen: list[Message] = []
    message_id = Signal("a").send({"k": 1})
    clock.advance(5)
    deliver([("a", lambda data: seen.append(current_message()))])
    [message] = seen
    assert (message.id, message.name, message.data, message.attempt) == (message_id, "a", {"k": 1}, 1)
    assert message.sent_at == datetime.fromtimestamp(clock() - 5, timezone.utc)
    with pytest.raises(NoCurrentMessageError):
        current_message()


def test_handlers_run_in_the_namespace_of_the_sender(mailbox: Mailbox) -> None:
    seen = []
    with mailbox.namespaces.using("tenant"):
        Signal("a").send(1)
    deliver([("a", lambda data: seen.append(mailbox.namespaces.current()))])
    assert seen == ["tenant"]


def test_a_handler_may_send_and_what_it_changes_in_its_data_nobody_else_sees() -> None:
    other = Recorder()

    def spoil(data: dict[str, Any]) -> None:
        data["k"] = "spoilt"
        Signal("b").send(data)

    Signal("a").send({"k": 1})
    deliver([("a", spoil), ("a", other), ("b", other)])
    deliver([("b", other)])
    assert other.seen == [{"k": 1}, {"k": "spoilt"}]


# Bounds


@pytest.mark.parametrize("reliable", [False, True])
def test_what_there_is_no_room_for_stays_for_the_next_delivery(reliable: bool) -> None:
    handler = Recorder()
    send_many([("a", number) for number in range(40)])
    report = deliver([("a", handler)], reliable=reliable, max_messages=7)
    assert (report.delivered, report.remaining, report.more) == (7, 33, ("a",))
    while not deliver([("a", handler)], reliable=reliable, max_messages=7).is_idle:
        pass
    assert sorted(handler.seen) == list(range(40))


@pytest.mark.parametrize("reliable", [False, True])
def test_what_there_is_no_time_for_stays_for_the_next_delivery(clock: ManualClock, reliable: bool) -> None:
    seen: list[Any] = []

    def slow(data: Any) -> None:
        seen.append(data)
        clock.advance(1)

    for number in range(20):
        Signal("a").send(number)
    report = deliver([("a", slow)], reliable=reliable, max_seconds=5)
    assert (report.delivered, report.remaining) == (5, 15)
    deliver([("a", slow)], reliable=reliable)
    assert sorted(seen) == list(range(20))


@pytest.mark.parametrize("modes", [(False, False), (True, True), (True, False), (False, True)])
def test_time_is_looked_at_before_each_handler_also_where_messages_are_begun_together(
    clock: ManualClock, modes: tuple[bool, bool]
) -> None:
    """A name with a large batch begins a hundred messages at once, of which another receiver takes a second each."""
    batches: list[int] = []
    slow: list[Any] = []
    receivers = Receivers()

    def take_a_second(data: Any) -> None:
        assert current_message().attempt == 1
        slow.append(data)
        clock.advance(1)

    receivers.connect("a", lambda messages: batches.append(len(messages)), batch=100, reliable=modes[0], id="batch")
    receivers.connect("a", take_a_second, reliable=modes[1], id="slow")
    send_many([("a", number) for number in range(100)])
    report = deliver(receivers, max_seconds=10)
    assert (report.delivered, report.remaining, report.more) == (10, 90, ("a",))
    assert (batches, len(slow)) == ([100], 10)
    for _ in range(12):
        deliver(receivers, max_seconds=10)
    assert (batches, sorted(slow)) == ([100], list(range(100)))
    assert deliver(receivers).is_idle


def test_a_failed_batch_is_run_one_by_one_as_long_as_there_is_time_and_makes_progress(
    clock: ManualClock, mailbox: Mailbox
) -> None:
    handled: list[Any] = []

    def handler(messages: list[Message]) -> None:
        clock.advance(2)
        if any(message.data == 7 for message in messages):
            raise ValueError("a poison message")
        handled.extend(message.data for message in messages)

    receivers = Receivers()
    receivers.connect("a", handler, batch=10, reliable=True, max_attempts=2, backoff_seconds=0)
    send_many([("a", number) for number in range(20)])
    rounds = 0
    while not deliver(receivers, max_seconds=1).is_idle:
        rounds += 1
        assert rounds < 50
    assert sorted(handled) == [number for number in range(20) if number != 7]
    assert [letter.data for letter in DeadLetters(mailbox).list("a")] == [7]


def test_what_a_weak_delivery_gives_back_survives_its_own_delete_that_takes_effect_late(store: MemoryStore) -> None:
    handler = Recorder()
    for letter in "xy":
        Signal("a").send(letter * 3000)
    late: list[bytes] = []

    def hold(call: Call) -> tuple[bytes, ...]:
        if call.verb != "delete":
            return ()
        late.extend(call.keys)
        return call.keys

    store.before = hold
    deliver([("a", handler)], max_messages=1)
    store.before = None
    assert late
    store.delete(late)
    deliver([("a", handler)])
    assert handler.seen == ["x" * 3000, "y" * 3000]


def test_being_told_to_stop_gives_back_what_was_not_begun() -> None:
    handler = Recorder()
    for number in range(10):
        Signal("a").send(number)
    report = deliver([("a", handler)], reliable=True, should_stop=lambda: len(handler.seen) >= 4)
    assert (report.delivered, report.remaining) == (4, 6)
    assert deliver([("a", handler)], reliable=True).delivered == 6


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_process_that_ends_in_a_handler_gives_back_the_weak_messages_of_the_other_names(
    error: type[BaseException],
) -> None:
    def end(data: Any) -> None:
        raise error

    handler = Recorder()
    send_many([("a", 1), ("b", 2), ("b", 3)])
    with pytest.raises(error):
        deliver([("a", end), ("b", handler)])
    assert deliver([("a", handler), ("b", handler)]).delivered == 2
    assert handler.seen == [2, 3]


def test_the_backlog_is_announced_before_the_first_handler_runs() -> None:
    events: list[Any] = []
    for _ in range(70):
        send_many([("a", number) for number in range(16)])
    deliver([("a", lambda data: events.append(data))], on_backlog=lambda names: events.append(list(names)))
    assert events[0] == ["a"]
    assert len(events) == 1 + 70 * 16


@pytest.mark.parametrize("reliable", [False, True])
def test_a_backlog_that_cannot_be_announced_is_delivered_all_the_same(
    reliable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(names: Any) -> None:
        raise RuntimeError("no help today")

    for number in range(1100):
        Signal("a").send(number)
    report = deliver([("a", lambda data: None)], reliable=reliable, on_backlog=refuse)
    assert report.delivered == 1100 - report.remaining > 0
    assert "no help today" in caplog.text


def test_a_long_delivery_has_a_new_lease_in_each_round(clock: ManualClock) -> None:
    seen: list[Any] = []

    def slow(data: Any) -> None:
        seen.append(data)
        clock.advance(20)
        if data == 7:
            assert deliver([("a", lambda data: None)], reliable=True).delivered < 9, (
                "somebody else took what is still held"
            )

    for number in range(10):
        Signal("a").send(number)
    deliver([("a", slow)], reliable=True, lease_seconds=60)
    assert len(seen) == len(set(seen))


def test_a_lease_that_ran_out_is_taken_over_ten_seconds_later(clock: ManualClock) -> None:
    class Died(BaseException):
        pass

    handler = Recorder(lambda data: Died() if len(handler.seen) == 2 else None)
    for number in range(4):
        Signal("a").send(number)
    with pytest.raises(Died):
        deliver([("a", handler)], reliable=True, lease_seconds=60)
    clock.advance(69)
    assert deliver([("a", handler)], reliable=True).is_idle
    clock.advance(2)
    assert deliver([("a", handler)], reliable=True).delivered == 4
    assert sorted(handler.seen) == [0, 0, 1, 1, 2, 3]


def test_a_weak_receiver_there_was_no_time_for_is_not_run_in_a_takeover(clock: ManualClock) -> None:
    seen: list[str] = []
    receivers = Receivers()
    receivers.connect("a", lambda messages: clock.advance(5), batch=2, reliable=True, id="reliable")
    receivers.connect("a", lambda data: seen.append(data), id="weak")
    Signal("a").send("x")
    assert deliver(receivers, max_seconds=1).remaining == 1

    def die(data: Any) -> None:
        seen.append(data)
        raise KeyboardInterrupt

    dying = Receivers()
    dying.connect("a", lambda data: None, reliable=True, id="reliable")
    dying.connect("a", die, id="weak")
    with pytest.raises(KeyboardInterrupt):
        deliver(dying)
    clock.advance(400)
    assert deliver(receivers).delivered == 0
    assert seen == ["x"]


def test_a_stale_holder_stops_and_changes_nothing(clock: ManualClock) -> None:
    second = Recorder()
    first_seen: list[Any] = []

    def first(data: Any) -> None:
        first_seen.append(data)
        if data == 1:
            clock.advance(400)
            deliver([("a", second)], reliable=True)

    for number in range(4):
        Signal("a").send(number)
    report = deliver([("a", first)], reliable=True, lease_seconds=60)
    assert first_seen == [0, 1]
    assert second.seen == [0, 1, 2, 3]
    assert (report.delivered, report.overtaken) == (0, 4)
    clock.advance(4000)
    assert deliver([("a", second)], reliable=True).is_idle


def test_a_message_that_kills_its_process_becomes_a_dead_letter_alone(clock: ManualClock, mailbox: Mailbox) -> None:
    class Died(BaseException):
        pass

    handler = Recorder(lambda data: Died() if data == "killer" else None)
    receivers = Receivers()
    receivers.connect("a", handler, reliable=True, max_attempts=3, id="h")
    for data in ("before", "killer", "after"):
        Signal("a").send(data)
    for _ in range(30):
        with contextlib.suppress(Died):
            deliver(receivers)
        clock.advance(4000)
    [letter] = DeadLetters(mailbox).list("a")
    assert (letter.data, letter.attempt) == ("killer", 3)
    assert handler.seen.count("after") == 1
    assert handler.seen.count("before") <= 2
    status = look(mailbox, ["a"])["a"]
    assert (status.waiting, status.leased, status.retrying) == (0, 0, 0)


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_name_whose_lease_ran_out_may_go_on_elsewhere_so_that_the_others_do_not_wait(
    clock: ManualClock, is_taken: bool
) -> None:
    Signal("a").send(1)
    with pytest.raises(KeyboardInterrupt):
        deliver([("a", Recorder(lambda data: KeyboardInterrupt()))], reliable=True)
    clock.advance(400)
    Signal("b").send(2)
    handler = Recorder()
    passed: list[str] = []

    def pass_on(names: Sequence[str]) -> Sequence[str]:
        passed.extend(names)
        return names if is_taken else ()

    deliver([("a", handler), ("b", handler)], reliable=True, on_expired=pass_on)
    assert passed == ["a"]
    assert handler.seen == ([2] if is_taken else [1, 2])
    deliver([("a", handler)], reliable=True, on_expired=pass_on)
    assert sorted(handler.seen) == [1, 2], "alone it stays"


def test_all_that_fails_in_a_long_takeover_comes_back(clock: ManualClock) -> None:
    class Died(BaseException):
        pass

    for number in range(80):
        Signal("a").send(number)
    receivers = Receivers()
    dying, broken, well = Recorder(lambda data: Died()), Recorder(lambda data: RuntimeError("no")), Recorder()
    handlers = [dying, broken, well]
    receivers.connect("a", lambda data: handlers[0](data), reliable=True, id="h")
    with pytest.raises(Died):
        deliver(receivers)
    handlers.pop(0)
    clock.advance(4000)
    assert deliver(receivers).retried == 80
    handlers.pop(0)
    drain(receivers, clock, rounds=5)
    assert sorted(well.seen) == list(range(80))


# Memory loss and failures of memcache


def test_a_corrupt_page_counts_as_lost_and_touches_no_other_name(store: MemoryStore) -> None:
    handler = Recorder()
    send_many([("a", 1), ("b", 2)])
    store.set_raw(page_key("a"), b"garbage")
    report = deliver([("a", handler), ("b", handler)])
    assert (handler.seen, report.lost, report.delivered) == ([2], 1, 1)
    Signal("a").send(3)
    deliver([("a", handler)])
    assert handler.seen == [2, 3]


def test_an_evicted_segment_is_counted_and_the_rest_arrives(store: MemoryStore) -> None:
    handler = Recorder()
    for number in range(40):
        Signal("a").send(number)
    store.evict([key for key in list(store.keys()) if key.startswith(b"gs:s:") and key.endswith(b":0")])
    report = deliver([("a", handler)])
    assert (report.lost, report.delivered) == (16, 24)
    assert sorted(handler.seen) == list(range(16, 40))


def test_a_weak_claim_whose_answer_was_lost_is_recognised(store: MemoryStore) -> None:
    handler = Recorder()
    Signal("a").send(1)
    lose_answers(store, times=1)
    assert deliver([("a", handler)]).delivered == 1
    assert handler.seen == [1]


@pytest.mark.parametrize("failures", [1, 3, 7])
def test_a_weak_claim_that_failed_several_times_is_recognised_when_it_takes_effect_late(
    store: MemoryStore, failures: int
) -> None:
    handler = Recorder()
    Signal("a").send(1)
    late: list[Call] = []

    def hold(call: Call) -> list[bytes]:
        if call.verb != "write" or page_key("a") not in call.keys:
            return []
        if len(late) == failures:
            store.before = None
            store.write(late[-1].writes)
            return []
        late.append(call)
        return list(call.keys)

    store.before = hold
    assert deliver([("a", handler)]).delivered == 1
    assert handler.seen == [1]


def test_an_acknowledgement_whose_answer_was_lost_is_recognised(store: MemoryStore, clock: ManualClock) -> None:
    handler = Recorder(lambda data: lose_answers(store, times=1))
    Signal("a").send(1)
    assert deliver([("a", handler)], reliable=True).delivered == 1
    drain([("a", handler)], clock, rounds=2)
    assert handler.seen == [1]


def lose_answers(store: MemoryStore, *, times: int) -> None:
    left = [times]

    def after(call: Any) -> Any:
        if call.verb != "write" or not left[0]:
            return None
        left[0] -= 1
        return call.keys

    store.after = after


def test_memcache_being_down_raises_store_error_and_loses_nothing(store: MemoryStore) -> None:
    handler = Recorder()
    Signal("a").send(1)
    store.before = lambda call: call.keys
    with pytest.raises(StoreError):
        deliver([("a", handler)])
    with pytest.raises(StoreError):
        Signal("a").send(2)
    store.before = None
    deliver([("a", handler)])
    assert handler.seen == [1]


def test_one_name_that_cannot_be_read_is_reported_and_the_others_go_on(store: MemoryStore) -> None:
    handler = Recorder()
    send_many([("a", 1), ("b", 2)])
    store.before = lambda call: [key for key in call.keys if key == page_key("a")]
    report = deliver([("a", handler), ("b", handler)])
    assert handler.seen == [2]
    assert [(failure.name, failure.message_id) for failure in report.errors] == [("a", None)]


def test_a_lane_that_cannot_be_read_is_not_memcache_being_down(store: MemoryStore, mailbox: Mailbox) -> None:
    store.write([Set(page_key("a"), Page("e" * 24, width=2).to_bytes())])
    store.before = lambda call: [key for key in call.keys if key == page_key("a", 1)]
    report = deliver([("a", print)])
    assert [failure.error for failure in report.errors] == ["the store did not answer for this name"]


def test_a_name_that_others_change_at_every_attempt_is_reported_as_that(store: MemoryStore) -> None:
    Signal("a").send(1)

    def change(call: Call) -> None:
        if call.verb == "write" and page_key("a") in call.keys:
            store.set_raw(page_key("a"), store.raw(page_key("a")) or b"")

    store.before = change
    report = deliver([("a", print)])
    assert [failure.error for failure in report.errors] == ["others changed this name at every attempt"]
    assert report.more == ("a",)


@pytest.mark.parametrize("is_takeover", [False, True])
def test_what_was_claimed_and_cannot_be_read_is_reported_and_comes_again(
    store: MemoryStore, clock: ManualClock, is_takeover: bool
) -> None:
    handler = Recorder()
    send_many([("a", number) for number in range(16)])
    Signal("a").send("one more, so that they are sealed")
    if is_takeover:
        with pytest.raises(KeyboardInterrupt):
            deliver([("a", Recorder(lambda data: KeyboardInterrupt()))], reliable=True)
        clock.advance(400)
    store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:s:") and call.verb == "gets"]
    report = deliver([("a", handler)], reliable=True)
    assert [(failure.name, failure.error) for failure in report.errors] == [
        ("a", "the store did not answer for what was claimed; its lease has to run out")
    ]
    assert (report.remaining >= 16, report.lost) == (True, 0)
    assert set(handler.seen) <= {"one more, so that they are sealed"}
    store.before = None
    clock.advance(400)
    deliver([("a", handler)], reliable=True)
    assert len(handler.seen) == 17


@pytest.mark.parametrize("took_effect", [True, False])
def test_a_claim_of_unknown_outcome_counts_for_what_a_delivery_may_take(
    mailbox: Mailbox, store: MemoryStore, took_effect: bool
) -> None:
    """Two names of twelve megabytes: memcache failed for the one's claim, the other's was lost to somebody else."""
    for name in ("a", "b"):
        for _ in range(120):
            Signal(name).send("x" * 100_000)
    todo = ["change b", "fail for a"]

    def fail(call: Call) -> list[bytes]:
        if call.verb == "write" and page_key("a") in call.keys and todo == ["fail for a"]:
            todo.clear()
            return [page_key("a")]
        return []

    def before(call: Call) -> list[bytes]:
        if call.verb == "write" and page_key("a") in call.keys and "change b" in todo:
            todo.remove("change b")
            Signal("b").send(1)
        return [] if took_effect else fail(call)

    def after(call: Call) -> list[bytes]:
        return fail(call) if took_effect else []

    mailbox.random.seed(1)  # a is asked first
    store.before, store.after = before, after
    claimed = Claimer(mailbox, {name: ClaimOrder(False, 1000, 300_000) for name in ("a", "b")}).claim()
    assert todo == []
    assert {claim.name for claim in claimed.claims} == {"a", "b"}
    assert sum(claim.holding.weight for claim in claimed.claims) <= MEMCACHE_LIMITS.bytes


def test_the_exceptions_of_a_hundred_failures_are_kept_and_every_failure_is_told() -> None:
    send_many([("a", number) for number in range(150)])
    report = deliver([("a", failing)])
    assert (report.failed, len(report.errors)) == (150, 150)
    assert [failure.exception is not None for failure in report.errors] == [True] * 100 + [False] * 50


def test_every_dead_letter_has_its_traceback_however_many_failed(mailbox: Mailbox) -> None:
    receivers = Receivers()
    receivers.connect("a", failing, reliable=True, max_attempts=1)
    send_many([("a", number) for number in range(150)])
    deliver(receivers)
    letters = DeadLetters(mailbox).list("a")
    assert len(letters) == 100
    assert all("Traceback" in letter.error and "RuntimeError: always" in letter.error for letter in letters)


# Bad input


@pytest.mark.parametrize(
    "options",
    [
        {"lease_seconds": 0.5},
        {"lease_seconds": float("nan")},
        {"lease_seconds": True},
        {"lease_seconds": 10**400},
        {"max_messages": 0},
        {"max_messages": 1.5},
        {"max_seconds": 0},
        {"max_seconds": 10**400},
        {"names": "a"},
        {"names": 5},
        {"mailbox": 5},
        {"should_stop": True},
        {"on_backlog": "a"},
        {"paused": ["a"]},
        {"reliabel": True},
        {"reliable": "yes"},
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    Signal("a").send(1)
    with pytest.raises(InvalidOptionError):
        deliver([("a", failing)], **options)


def test_reliable_false_over_a_reliable_receiver_is_refused() -> None:
    receivers = Receivers()
    receivers.connect("a", failing, reliable=True)
    with pytest.raises(InvalidOptionError):
        deliver(receivers, reliable=False)


@pytest.mark.parametrize("mapping", [None, "a", 3, [("a",)], [("a", None)], {"a": 3}, [("a", failing, 1)]])
def test_a_mapping_that_cannot_work_is_refused(mapping: Any) -> None:
    with pytest.raises(InvalidMappingError):
        deliver(mapping)


def test_a_bad_name_in_a_mapping_is_refused() -> None:
    with pytest.raises(InvalidNameError):
        deliver([("", failing)])


def test_the_waiting_names_of_any_mapping_can_be_asked_for() -> None:
    send_many([("a", 1), ("b", 2)])
    for mapping in ([("a", failing)], {"a": failing}, {Signal("a"): failing}):
        assert waiting_names(mapping) == ["a"]


@pytest.mark.parametrize("mapping", [None, "a", 5, [("a", None)]])
def test_the_waiting_names_of_what_is_no_mapping_are_refused(mapping: Any) -> None:
    with pytest.raises(InvalidMappingError):
        waiting_names(mapping)
    with pytest.raises(InvalidOptionError, match="prefix"):
        waiting_names([], prefix="a")  # type: ignore[arg-type]  # an option that does not exist


def test_of_what_failed_together_only_what_is_due_is_run(clock: ManualClock) -> None:
    ran: list[int] = []

    def handler(seconds: int) -> None:
        ran.append(seconds)
        raise Retry(after_seconds=seconds)

    receivers = Receivers()
    receivers.connect("a", handler, reliable=True)
    send_many([("a", 10), ("a", 1000)])
    deliver(receivers)
    clock.advance(11)
    deliver(receivers)
    assert ran == [10, 1000, 10]
