"""Taking over a lease: what its holder left goes on, message by message."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.data import codec
from gaesignals.delivery.takeover import MAX_MARKS
from gaesignals.format.entries import Record
from gaesignals.format.inline import Inline
from gaesignals.format.keys import page_key
from gaesignals.format.lease import Holding, Lease
from gaesignals.format.page import Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.bundles import bundle
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.look import look
from gaesignals.stores.store import Set
from gaesignals.testing import ManualClock

pytestmark = pytest.mark.usefixtures("mailbox")


class DiedError(BaseException):
    """The process is gone."""


@pytest.fixture
def begun(clock: ManualClock) -> Counter[Any]:
    """Ten messages on a lease that ran out, none of them begun; what is begun from now on is counted here."""

    def die(data: Any) -> None:
        raise DiedError

    send_many([("a", number) for number in range(10)])
    with pytest.raises(DiedError):
        deliver([("a", die)], reliable=True, lease_seconds=60)
    clock.advance(71)
    return Counter()


def test_what_a_takeover_has_no_time_for_goes_back_uncharged(
    begun: Counter[Any], clock: ManualClock, mailbox: Mailbox
) -> None:
    def handler(data: Any) -> None:
        begun[data] += 1
        clock.advance(1)

    report = deliver([("a", handler)], reliable=True, max_seconds=4)
    assert (report.delivered, report.remaining, report.more) == (4, 6, ("a",))
    assert look(mailbox, ["a"])["a"].waiting == 6
    assert deliver([("a", handler)], reliable=True).delivered == 6
    assert begun == Counter(range(10))


def test_a_takeover_begins_at_most_as_many_messages_as_it_is_told(begun: Counter[Any]) -> None:
    for _ in range(5):
        report = deliver([("a", lambda data: begun.update([data]))], reliable=True, max_messages=2)
        assert report.delivered == 2
    assert begun == Counter(range(10))


def test_a_lease_that_runs_out_during_a_delivery_is_the_next_ones(begun: Counter[Any], clock: ManualClock) -> None:
    """What a delivery takes over is known at its first look, so that it has an end."""

    def die(data: Any) -> None:
        raise DiedError

    Signal("b").send("later")
    with pytest.raises(DiedError):
        deliver([("b", die)], reliable=True, lease_seconds=60)

    def handler(data: Any) -> None:
        begun[data] += 1
        clock.advance(10)

    assert deliver([("a", handler), ("b", handler)], reliable=True).delivered == 10
    assert begun == Counter(range(10))
    assert deliver([("a", handler), ("b", handler)], reliable=True).delivered == 1
    assert begun["later"] == 1


def test_a_takeover_leaves_weak_receivers_out(begun: Counter[Any]) -> None:
    weak: list[Any] = []
    receivers = Receivers()
    receivers.connect("a", lambda data: begun.update([data]), reliable=True, id="reliable")
    receivers.connect("a", weak.append, id="weak")
    assert deliver(receivers).delivered == 10
    assert (begun, weak) == (Counter(range(10)), [])


@pytest.mark.parametrize("due", [0, 1, 5])
def test_more_messages_that_are_not_due_than_a_page_can_mark_all_go_back(
    mailbox: Mailbox, clock: ManualClock, due: int
) -> None:
    """Some that are due stand before them, so that positions are written as well."""
    count = 3 * MAX_MARKS
    tomorrow_ms = mailbox.now_ms() + 86_400_000
    records = [
        Record(f"id-{number}", 1, codec.dumps(number), not_before_ms=0 if number < due else tomorrow_ms)
        for number in range(count)
    ]
    made = bundle("bundle", records)
    lease = Lease(
        "lease of the dead", mailbox.now_ms() - 60_000, Holding(0, 0, Inline.of([made.ref]), weight=made.ref.size)
    )
    mailbox.write([made.write(mailbox.now_ms()), Set(page_key("a"), Page("epoch", leases=(lease,)).to_bytes())])
    handled: list[Any] = []
    assert deliver([("a", handled.append)], reliable=True).delivered == due
    clock.advance(2 * 86400)
    while not deliver([("a", handled.append)], reliable=True).is_idle:
        pass
    assert sorted(handled) == list(range(count))


@pytest.mark.parametrize("named", [(), ("weak", "reliable"), ("weak",)])
def test_what_a_takeover_gives_back_is_never_run_again_by_a_weak_receiver(
    mailbox: Mailbox, clock: ManualClock, named: tuple[str, ...]
) -> None:
    """The weak one had run five of the messages when the process died; some had been given back for these alone."""
    weak: list[Any] = []
    reliable: list[Any] = []
    has_died = False

    def handler(data: Any) -> None:
        nonlocal has_died
        if data == 4 and not has_died:
            has_died = True
            raise DiedError
        reliable.append(data)

    receivers = Receivers()
    receivers.connect("a", weak.append, id="weak")
    receivers.connect("a", handler, reliable=True, id="reliable")
    rest = named or ("reliable",)
    records = [Record(f"id-{number}", 1, codec.dumps(number), receivers=named) for number in range(10)]
    records[4] = replace(records[4], receivers=())
    mailbox.send_records([("a", record) for record in records])
    with pytest.raises(DiedError):
        deliver(receivers, lease_seconds=60)
    clock.advance(71)
    deliver(receivers, max_messages=2)
    while not deliver(receivers).is_idle:
        pass
    assert max(Counter(weak).values()) == 1
    assert set(reliable) == (set(range(10)) if "reliable" in rest else {4})


@pytest.mark.parametrize("bound", ["max_messages", "max_seconds"])
def test_fresh_messages_do_not_starve_a_lease_that_ran_out(begun: Counter[Any], clock: ManualClock, bound: Any) -> None:
    def handler(data: Any) -> None:
        clock.advance(1)
        begun[data] += 1

    for _ in range(40):
        send_many([("a", "fresh") for _ in range(12)])
        deliver([("a", handler)], reliable=True, **{bound: 5})
    assert begun.pop("fresh")
    assert begun == Counter(range(10))


def test_a_message_that_kills_its_process_is_charged_though_fresh_messages_use_up_the_time(
    mailbox: Mailbox, clock: ManualClock
) -> None:
    handled: Counter[Any] = Counter()

    def handler(data: Any) -> None:
        if data == "deadly":
            raise DiedError
        handled[data] += 1

    receivers = Receivers()
    receivers.connect("a", handler, reliable=True, max_attempts=3, backoff_seconds=1, id="h")
    send_many([("a", "deadly"), ("a", "beside")])
    for number in range(60):
        send_many([("a", number) for _ in range(3)])
        with contextlib.suppress(DiedError):
            deliver(receivers, max_messages=3, lease_seconds=60)
        clock.advance(71)
    [letter] = DeadLetters(mailbox).list("a")
    assert (letter.data, letter.attempt) == ("deadly", 3)
    assert handled["beside"]


def test_a_name_is_as_reliable_as_the_strictest_of_its_receivers(clock: ManualClock) -> None:
    """A process that dies costs the reliable one nothing, whoever listens beside it."""
    seen: list[Any] = []

    def die_at_first(data: Any) -> None:
        seen.append(data)
        if len(seen) == 1:
            raise DiedError

    receivers = Receivers()
    receivers.connect("a", lambda data: None, id="weak")
    receivers.connect("a", die_at_first, reliable=True, id="firm")
    Signal("a").send("it")
    with pytest.raises(DiedError):
        deliver(receivers)
    clock.advance(400)
    assert deliver(receivers).delivered == 1
    assert seen == ["it", "it"]


@pytest.mark.parametrize("leases", [1, 2])
def test_help_is_asked_for_before_a_takeover_where_there_is_something_for_others(
    clock: ManualClock, leases: int
) -> None:
    """What one process held when it died waits together, and is run message by message."""

    def die(data: Any) -> None:
        raise DiedError

    for _ in range(leases):
        send_many([("a", number) for number in range(3)])
        with pytest.raises(DiedError):
            deliver([("a", die)], reliable=True, lease_seconds=60)
    clock.advance(71)
    events: list[Any] = []
    deliver([("a", events.append)], reliable=True, on_backlog=lambda names: events.append(list(names)))
    assert events == [["a"]] * (leases - 1) + [0, 1, 2] * leases
