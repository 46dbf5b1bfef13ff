"""What several instances count adds up in the store, once each, whatever the store does."""

from __future__ import annotations

import random

import pytest

from gaesignals.data import codec
from gaesignals.format.counts import Field
from gaesignals.format.fleet import Instance, News
from gaesignals.format.history import EVER, EVERYTHING, HOURS, MINUTES, SpanKey, deltas
from gaesignals.format.keys import FLEET
from gaesignals.mailbox.history import Addition, History
from gaesignals.stores.client import Connection
from gaesignals.stores.store import Outcome
from gaesignals.testing import Call, ManualClock, MemoryStore

AT_MS = 1_700_000_000_000
MINUTE = SpanKey.of(MINUTES, MINUTES.of(AT_MS)[0], EVERYTHING)
HOUR = SpanKey.of(HOURS, HOURS.of(AT_MS)[0], EVERYTHING)
ALL_TIME = SpanKey(EVER, 0, 0)
ONE, TWO = (News(Instance(name, 1, "", AT_MS, AT_MS)) for name in ("one", "two"))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=ManualClock())


@pytest.fixture
def connection(store: MemoryStore) -> Connection:
    return Connection(store, clock=ManualClock(), random=random.Random(7), sleep=lambda _: None)


@pytest.fixture
def history(connection: Connection) -> History:
    return History(connection)


def add(history: History, count: int = 1, news: News = ONE) -> Addition:
    return history.add(deltas(AT_MS, {EVERYTHING: {Field.DELIVERED: count}}, [0]), news)


def delivered(history: History) -> list[int | None]:
    spans = history.read([MINUTE, HOUR, ALL_TIME]).spans
    slots = {MINUTE: MINUTES.of(AT_MS)[1], HOUR: HOURS.of(AT_MS)[1], ALL_TIME: 0}
    cells = [spans[place].cell(EVERYTHING, slot) if place in spans else None for place, slot in slots.items()]
    return [None if cell is None else cell.get(Field.DELIVERED, 0) for cell in cells]


def instances(history: History) -> set[str]:
    fleet = history.read([]).fleet
    return {each.id for each in fleet.instances} if fleet else set()


def test_what_instances_count_adds_up_in_every_grain(history: History) -> None:
    for count, news in ((1, ONE), (2, TWO)):
        added = add(history, count, news)
        assert (added.refused, added.is_told) == ({}, True)
    assert delivered(history) == [3, 3, 3]
    assert instances(history) == {"one", "two"}


def test_it_is_one_read_and_one_write(history: History, store: MemoryStore) -> None:
    add(history)
    add(history)
    assert [call.verb for call in store.calls] == ["gets", "write"] * 2


def test_who_loses_to_another_instance_adds_to_what_that_wrote(history: History, store: MemoryStore) -> None:
    other = History(Connection(store, clock=ManualClock(), random=random.Random(8)))
    left = iter(range(1))

    def come_between(call: Call) -> None:
        if call.verb == "write" and next(left, None) is not None:
            add(other, 2, TWO)

    store.before = come_between
    add(history)
    assert delivered(history) == [3, 3, 3]
    assert instances(history) == {"one", "two"}


def test_a_write_that_was_carried_out_though_it_failed_counts_once(history: History, store: MemoryStore) -> None:
    left = iter(range(1))
    write = store.write

    def fail(writes: list[object]) -> dict[bytes, Outcome]:
        outcomes = write(writes)  # type: ignore[arg-type]
        return dict.fromkeys(outcomes, Outcome.FAILED) if next(left, None) is not None else outcomes

    store.write = fail  # type: ignore[method-assign, assignment]
    added = add(history)
    assert (added.refused, added.is_told) == ({}, True)
    assert delivered(history) == [1, 1, 1]


def test_what_a_silent_store_does_not_take_is_given_back(history: History, store: MemoryStore) -> None:
    store.before = lambda call: list(call.keys)
    addition = add(history)
    assert not addition.is_told
    assert set(addition.refused) == {MINUTE, HOUR, ALL_TIME}
    store.before = None
    history.add(addition.refused, ONE)
    assert delivered(history) == [1, 1, 1]


def test_one_span_that_cannot_be_written_leaves_the_others(history: History, store: MemoryStore) -> None:
    store.before = lambda call: [key for key in call.keys if key == HOUR.key]
    addition = add(history)
    assert (set(addition.refused), addition.is_told) == ({HOUR}, True)
    assert delivered(history)[0::2] == [1, 1]


@pytest.mark.parametrize("planted", [b"", b"junk", codec.seal(1, [1, 2]), b"x" * 700_000], ids=len)
def test_what_was_planted_counts_as_forgotten(history: History, store: MemoryStore, planted: bytes) -> None:
    add(history)
    for key in (MINUTE.key, FLEET):
        store.set_raw(key, planted)
    assert delivered(history) == [None, 1, 1]
    assert instances(history) == set()
    add(history)
    assert delivered(history) == [1, 2, 2]
    assert instances(history) == {"one"}


def test_a_newer_format_is_left_alone_and_not_tried_again(history: History, store: MemoryStore) -> None:
    newer = codec.seal(200, [])
    store.set_raw(MINUTE.key, newer)
    added = add(history)
    assert (added.refused, added.is_told) == ({}, True)
    assert store.raw(MINUTE.key) == newer
    assert delivered(history) == [None, 1, 1]
