"""Handlers that leave out the messages which they have handled already."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from typing import Any

import pytest

from gaesignals import (
    InvalidOptionError,
    Message,
    NoCurrentMessageError,
    Receivers,
    Retry,
    Signal,
    StoreError,
    current_message,
    deliver,
    once,
    send_many,
)
from gaesignals.format.keys import page_key
from gaesignals.handler import identity
from gaesignals.mailbox.box import Mailbox
from gaesignals.testing import Call, ManualClock, MemoryStore

pytestmark = pytest.mark.usefixtures("mailbox")

DAY = 86400


class DiedError(BaseException):
    """The process is gone."""


def is_memory(key: bytes) -> bool:
    return key.startswith(b"gs:o:")


def calls_to_memory(store: MemoryStore) -> list[str]:
    return [call.verb for call in store.calls if any(map(is_memory, call.keys))]


class Again:
    """A mailbox whose messages come again, as after a process that died before its acknowledgement."""

    def __init__(self, store: MemoryStore, receivers: Receivers) -> None:
        self.store = store
        self.receivers = receivers
        self.page = store.raw(page_key("a"))

    def deliver(self) -> Any:
        """Deliver, and put back what waited."""
        report = deliver(self.receivers)
        assert self.page is not None
        self.store.set_raw(page_key("a"), self.page)
        return report


def repeating(store: MemoryStore, handler: Callable[..., Any], count: int = 1, **options: Any) -> Again:
    receivers = Receivers()
    receivers.connect("a", handler, reliable=True, **options)
    send_many([("a", number) for number in range(count)])
    return Again(store, receivers)


def test_a_message_that_comes_again_is_left_out_and_counts_as_delivered(store: MemoryStore) -> None:
    seen: list[Any] = []
    again = repeating(store, once()(seen.append), 3)
    assert [again.deliver().delivered for _ in range(3)] == [3, 3, 3]
    assert sorted(seen) == [0, 1, 2]


def test_a_batch_is_called_with_what_is_left_of_it(store: MemoryStore) -> None:
    sizes: list[int] = []

    @once()
    def count(messages: list[Message]) -> None:
        sizes.append(len(messages))
        for message in messages:
            if message.data == 2 and message.attempt == 1 and len(sizes) == 1:
                message.fail("bad row")

    again = repeating(store, count, 5, batch=10)
    assert again.deliver().retried == 1
    assert again.deliver().delivered == 5
    assert again.deliver().delivered == 5
    assert sizes == [5, 1]


def test_a_batch_whose_handler_uses_up_its_list_is_remembered(store: MemoryStore) -> None:
    seen: list[Any] = []

    @once()
    def count(messages: list[Message]) -> None:
        while messages:
            seen.append(messages.pop().data)

    again = repeating(store, count, 3, batch=10)
    assert [again.deliver().delivered for _ in range(2)] == [3, 3]
    assert sorted(seen) == [0, 1, 2]


def test_one_of_a_batch_that_is_marked_to_be_run_again_is_not_remembered(
    store: MemoryStore, clock: ManualClock
) -> None:
    seen: list[Any] = []

    @once()
    def count(messages: list[Message]) -> None:
        seen.extend(message.data for message in messages)
        if messages[0].attempt == 1:
            messages[0].retry(after_seconds=5)

    receivers = Receivers()
    receivers.connect("a", count, reliable=True, batch=10)
    Signal("a").send(1)
    deliver(receivers)
    clock.advance(5)
    deliver(receivers)
    assert seen == [1, 1]


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_a_field_may_have_any_name(store: MemoryStore, is_coroutine: bool) -> None:
    seen: list[Any] = []

    def note(data: Any, *, argument: str, handler: str) -> None:
        seen.append((data, argument, handler))

    async def note_soon(data: Any, *, argument: str, handler: str) -> None:
        note(data, argument=argument, handler=handler)

    receivers = Receivers()
    receivers.connect("{argument}.{handler}", once()(note_soon if is_coroutine else note))
    Signal("one.two").send(1)
    assert deliver(receivers, names=["one.two"]).delivered == 1
    assert seen == [(1, "one", "two")]


def test_a_coroutine_handler_leaves_out_what_it_has_handled(store: MemoryStore) -> None:
    seen: list[Any] = []

    @once()
    async def note(data: Any) -> None:
        await asyncio.sleep(0)
        seen.append(data)

    again = repeating(store, note, 12)
    assert [receiver.concurrency for receiver in again.receivers] == [10]
    assert [again.deliver().delivered for _ in range(2)] == [12, 12]
    assert sorted(seen) == list(range(12))


@pytest.mark.parametrize("error", [ValueError("no"), Retry(after_seconds=0), DiedError()], ids=repr)
def test_one_that_did_not_end_well_runs_again(store: MemoryStore, clock: ManualClock, error: BaseException) -> None:
    seen: list[Any] = []

    @once()
    def fail_first(data: Any) -> None:
        seen.append(data)
        if len(seen) == 1:
            raise error

    receivers = Receivers()
    receivers.connect("a", fail_first, reliable=True)
    Signal("a").send(1)
    for _ in range(3):
        with contextlib.suppress(DiedError):
            deliver(receivers)
        clock.advance(4000)
    assert seen == [1, 1]


def test_one_that_marks_its_message_runs_again(store: MemoryStore, clock: ManualClock) -> None:
    seen: list[Any] = []

    @once()
    def mark(data: Any) -> None:
        seen.append(data)
        if len(seen) == 1:
            current_message().fail("not yet")

    receivers = Receivers()
    receivers.connect("a", mark, reliable=True)
    Signal("a").send(1)
    for _ in range(3):
        deliver(receivers)
        clock.advance(4000)
    assert seen == [1, 1]


def test_a_process_that_dies_between_handler_and_acknowledgement_costs_no_second_run(
    store: MemoryStore, clock: ManualClock
) -> None:
    seen: list[Any] = []

    def die_at_acknowledging(call: Call) -> None:
        if seen and call.verb == "write" and not any(map(is_memory, call.keys)):
            raise DiedError

    receivers = Receivers()
    receivers.connect("a", once()(seen.append), reliable=True)
    Signal("a").send(1)
    store.before = die_at_acknowledging
    with pytest.raises(DiedError):
        deliver(receivers)
    store.before = None
    clock.advance(4000)
    assert deliver(receivers).delivered == 1
    assert seen == [1]


def test_receivers_of_one_function_remember_each_for_themselves(store: MemoryStore) -> None:
    seen: list[Any] = []
    receivers = Receivers()
    handler = once()(seen.append)
    receivers.connect("a", handler, reliable=True, id="one")
    receivers.connect("a", handler, reliable=True, id="other")
    Signal("a").send(1)
    again = Again(store, receivers)
    again.deliver()
    again.deliver()
    assert seen == [1, 1]


def test_it_is_remembered_for_a_day_or_as_long_as_it_says(store: MemoryStore, clock: ManualClock) -> None:
    for seconds in (DAY, 60):
        seen: list[Any] = []
        repeating(store, (once() if seconds == DAY else once(seconds=60))(seen.append), id=str(seconds)).deliver()
        (key,) = [key for key in store.keys() if is_memory(key)]  # noqa: SIM118 - not a dict
        assert store.ttl_seconds(key) == seconds
        store.flush()


def test_what_is_evicted_is_forgotten(store: MemoryStore) -> None:
    seen: list[Any] = []
    again = repeating(store, once()(seen.append))
    again.deliver()
    store.evict(is_memory)
    again.deliver()
    assert seen == [0, 0]


# Costs


def test_a_call_of_the_handler_costs_a_read_and_a_write(store: MemoryStore) -> None:
    again = repeating(store, once()(lambda data: None), 3)
    again.deliver()
    assert calls_to_memory(store) == ["gets", "write"] * 3
    store.calls.clear()
    again.deliver()
    assert calls_to_memory(store) == ["gets"] * 3


def test_a_batch_costs_one_of_each(store: MemoryStore) -> None:
    again = repeating(store, once()(lambda messages: None), 100, batch=100)
    again.deliver()
    assert calls_to_memory(store) == ["gets", "write"]


# Failures of memcache


@pytest.mark.parametrize("batch", [None, 10])
@pytest.mark.parametrize("verb", ["gets", "write"])
@pytest.mark.parametrize("is_raised", [False, True])
def test_if_memcache_fails_the_handler_runs_and_the_log_says_so(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, batch: int | None, verb: str, is_raised: bool
) -> None:
    seen: list[Any] = []

    def fail(call: Call) -> list[bytes] | None:
        if call.verb != verb or not any(map(is_memory, call.keys)):
            return None
        if is_raised:
            raise StoreError("no APIs here")
        return list(call.keys)

    again = repeating(store, once()(seen.append), batch=batch)
    store.before = fail
    assert again.deliver().delivered == 1
    assert again.deliver().delivered == 1
    assert len(seen) == 2
    said = "it is not known" if verb == "gets" else "cannot be remembered"
    assert sum(said in message for message in caplog.messages) == 2


def test_what_is_not_a_memory_of_ours_is_none(store: MemoryStore) -> None:
    seen: list[Any] = []
    again = repeating(store, once()(seen.append))
    again.deliver()
    (key,) = [key for key in store.keys() if is_memory(key)]  # noqa: SIM118 - not a dict
    store.set_raw(key, b"planted")
    again.deliver()
    assert seen == [0, 0]


# What it is put on


def handle(data: Any, *, user_id: str = "") -> str:
    return f"handled {data} {user_id}"


class Office:
    def method(self, data: Any) -> None: ...

    def __call__(self, data: Any) -> None: ...


def prefixed(prefix: str, data: Any) -> None: ...


@pytest.mark.parametrize("handler", [handle, Office().method, Office(), functools.partial(prefixed, "a")])
def test_a_receiver_is_known_by_what_was_decorated(handler: Any) -> None:
    assert identity(once()(handler)) == identity(handler)


def test_fields_are_passed_on_and_a_wrong_signature_is_refused(mailbox: Mailbox) -> None:
    receivers = Receivers()
    receivers.connect("user_{user_id}", once()(handle))
    with pytest.raises(TypeError, match="will be called as handler"):
        receivers.connect("group_{group}", once()(handle))


def test_called_by_hand_a_handler_is_as_it_was(store: MemoryStore) -> None:
    decorated = once()(handle)
    assert [decorated(5, user_id="7") for _ in range(2)] == ["handled 5 7"] * 2
    assert store.calls == []


def test_it_says_how_it_is_to_be_used() -> None:
    with pytest.raises(InvalidOptionError, match=r"needs parentheses: @once\(\)"):
        once(handle)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InvalidOptionError, match="no option 'hours'"):
        once(hours=1)  # type: ignore[arg-type]  # the mistake


def test_above_receiver_it_would_have_no_effect_and_is_refused() -> None:
    receivers = Receivers()

    @receivers.receiver("a", reliable=True)
    def above(data: object) -> None: ...

    with pytest.raises(InvalidOptionError, match=r"above is connected already, .* write @once\(\) below"):
        once()(above)


def test_below_receiver_it_may_be_connected_to_several_names() -> None:
    receivers = Receivers()

    @receivers.receiver("a", reliable=True)
    @receivers.receiver("b", reliable=True)
    @once()
    def below(data: object) -> None: ...

    receivers.connect("c", below)
    receivers.connect("d", once()(handle))
    assert receivers.literal_names() == ("b", "a", "c", "d")


@pytest.mark.parametrize("seconds", [0, -1, True, 1.5, "60", None, 2592001])
def test_a_time_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"seconds=.* cannot be: give a whole number from 1 to 2592000"):
        once(seconds=seconds)


def test_a_batch_handler_inside_another_handler_has_no_current_message(mailbox: Mailbox) -> None:
    seen: list[Any] = []

    def count(messages: list[Message]) -> None:
        with pytest.raises(NoCurrentMessageError):
            current_message()
        seen.extend(message.data for message in messages)

    inner = Receivers()
    inner.connect("b", count, batch=5)
    send_many([("a", 1), ("b", 2)])
    assert deliver([("a", lambda data: deliver(inner))]).delivered == 1
    assert seen == [2]
