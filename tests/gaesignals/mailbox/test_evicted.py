"""Segments that memcache has forgotten: passed over a thousand at a time, and none of those that are still there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals import Signal, deliver
from gaesignals.data import codec
from gaesignals.format.entries import Record
from gaesignals.format.inline import Inline
from gaesignals.format.keys import Address, page_key, segment_key
from gaesignals.format.page import Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.evicted import pass_over
from gaesignals.testing import Call, MemoryStore

HOME = Address("a")
MODES = pytest.mark.parametrize("reliable", [False, True])


def plant(store: MemoryStore, promised: int, *there: int) -> None:
    """A page that promises so many segments, of which some are there."""
    page = Page("e" * 24, next=promised, heaviest=1000, sealed_count=16 * promised)
    store.set_raw(HOME.key, page.to_bytes())
    for index in there:
        records = [Record(f"{index:023}{n:x}", 0, codec.dumps((index, n))) for n in range(16)]
        store.set_raw(segment_key(page.epoch, index), Inline.of(records).to_bytes())


def page_of(store: MemoryStore) -> Page:
    value = store.raw(page_key("a"))
    assert value is not None
    return Page.from_bytes(value)


@MODES
def test_a_page_that_promises_a_million_segments_costs_calls_by_the_thousand(
    store: MemoryStore, mailbox: Mailbox, reliable: bool
) -> None:
    plant(store, 100_000)
    report = deliver([("a", lambda data: None)], reliable=reliable)
    assert report.lost == 1_600_000
    assert len(store.calls) < 4 * 100 + 20
    assert deliver([("a", lambda data: None)], reliable=reliable).is_idle


@MODES
def test_what_is_behind_a_gap_or_between_gaps_is_delivered(
    store: MemoryStore, mailbox: Mailbox, reliable: bool
) -> None:
    plant(store, 3000, 70, 71, 1500, 2999)
    Signal("a").send((3000, 0))
    ran: list[tuple[int, int]] = []
    for _ in range(3):
        deliver([("a", ran.append)], reliable=reliable)
    assert sorted(ran) == sorted([(index, n) for index in (70, 71, 1500, 2999) for n in range(16)] + [(3000, 0)])


def test_no_more_is_passed_over_than_is_missing(store: MemoryStore, mailbox: Mailbox) -> None:
    plant(store, 500, 200)
    passed = pass_over(mailbox, [HOME])
    assert (passed.lost, passed.more) == ({"a": 200 * 16}, ())
    assert (page_of(store).first, page_of(store).sealed_count) == (200, 300 * 16)
    assert pass_over(mailbox, [HOME]).lost == {}


def test_tasks_of_durable_messages_learn_that_some_may_be_gone(store: MemoryStore, mailbox: Mailbox) -> None:
    plant(store, 10)
    pass_over(mailbox, [HOME])
    assert page_of(store).loss != ""


def test_where_memcache_does_not_answer_nothing_is_passed_over(store: MemoryStore, mailbox: Mailbox) -> None:
    plant(store, 500)

    def fail_segments(call: Call) -> object:
        return [key for key in call.keys if key != HOME.key] if call.verb == "gets" else None

    store.before = fail_segments
    assert pass_over(mailbox, [HOME]).lost == {}
    assert page_of(store).first == 0


def test_a_sender_who_comes_between_costs_another_look(store: MemoryStore, mailbox: Mailbox) -> None:
    plant(store, 500)
    page = page_of(store)
    changes = iter([replace(page, messages=Inline.of([Record("f" * 24, 0, codec.dumps(1))]))])

    def come_between(call: Call) -> None:
        if call.verb == "write" and (changed := next(changes, None)) is not None:
            store.set_raw(HOME.key, changed.to_bytes())

    store.before = come_between
    assert pass_over(mailbox, [HOME]).lost == {"a": 8000}
    after = page_of(store)
    assert (after.first, after.next, after.messages.entries) == (500, 500, 1)


def test_a_write_whose_answer_was_lost_counts_once(store: MemoryStore, mailbox: Mailbox) -> None:
    plant(store, 500)
    lost = iter([True])
    store.after = lambda call: call.keys if call.verb == "write" and next(lost, False) else None
    assert pass_over(mailbox, [HOME]).lost == {"a": 8000}
    assert page_of(store).first == 500
