"""The one loop around compare-and-set, with a planner that appends words to pages of words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.page import EMPTY_TTL_SECONDS
from gaesignals.mailbox.rewrite import CONTENDED, NEWER, Fate, Plan, rewrite
from gaesignals.stores.client import Connection, Kind, Seen
from gaesignals.stores.store import Outcome, Set, Write
from gaesignals.testing import Call, ManualClock, MemoryStore


@dataclass(frozen=True)
class Words:
    words: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        return b"words " + " ".join(self.words).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Words:
        if value == b"newer":
            raise NewerFormatError("newer")
        if not value.startswith(b"words "):
            raise DecodeError("not words")
        return cls(tuple(value[6:].decode().split()))


class Appending:
    """Appends a word of its own to each key; everything that happened stands in `told`."""

    def __init__(self, *keys: bytes, word: str = "mine", is_marked: bool = True, before: Sequence[Set] = ()) -> None:
        self.todo = dict.fromkeys(keys, Kind(Words.from_bytes))
        self.word = word
        self.is_marked = is_marked
        self.before = before
        self.told: list[tuple[bytes, Fate | str]] = []

    def wanted(self) -> Mapping[bytes, Kind[Words]]:
        return self.todo

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            if each.is_writable:
                words = Words((*(each.value or Words()).words, self.word))
                is_mine = (lambda stored: self.word in stored.words) if self.is_marked else None
                yield Plan(key, each, words, before=self.before, is_mine=is_mine)

    def learn(self, plan: Plan, fate: Fate) -> None:
        self.told.append((plan.key, fate))
        if fate in (Fate.STORED, Fate.FOUND, Fate.UNSURE):
            del self.todo[plan.key]

    def give_up(self, key: bytes, reason: str) -> None:
        self.told.append((key, reason))
        del self.todo[key]


class TroubledStore(MemoryStore):
    """A store whose first writes go wrong: carried out twice, or answered as failed before or after taking effect."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.troubles: list[str] = []
        self.late: list[Sequence[Write]] = []

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        trouble = self.troubles.pop(0) if self.troubles else "none"
        lost = {write.key: Outcome.FAILED for write in writes}
        if trouble == "before":
            return lost
        if trouble == "late":
            self.late.append(writes)
            return lost
        outcomes = super().write(writes)
        if trouble == "twice":
            outcomes = super().write(writes)
        return lost if trouble == "after" else outcomes

    def arrive(self) -> None:
        for writes in self.late:
            super().write(writes)
        self.late.clear()

    def words(self, key: bytes) -> tuple[str, ...]:
        return Words.from_bytes(self.raw(key) or b"").words


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> TroubledStore:
    return TroubledStore(clock)


@pytest.fixture
def connection(store: TroubledStore, clock: ManualClock) -> Connection:
    return Connection(store, clock=clock, sleep=lambda _: None)


def someone_else(store: MemoryStore, key: bytes, words: str) -> None:
    store.set_raw(key, b"words " + words.encode())


def test_all_keys_are_changed_in_one_read_and_one_write(connection: Connection, store: TroubledStore) -> None:
    someone_else(store, b"b", "theirs")
    store.calls.clear()
    rewrite(connection, Appending(b"a", b"b"))
    assert [call.verb for call in store.calls] == ["gets", "write"]
    assert (store.words(b"a"), store.words(b"b")) == (("mine",), ("theirs", "mine"))


def test_a_conflict_is_told_and_planned_again(connection: Connection, store: TroubledStore) -> None:
    someone_else(store, b"a", "one")
    planner = Appending(b"a", b"b")
    interrupt(store, lambda: someone_else(store, b"a", "one two"))
    rewrite(connection, planner)
    assert planner.told == [(b"b", Fate.STORED), (b"a", Fate.LOST), (b"a", Fate.STORED)]
    assert store.words(b"a") == ("one", "two", "mine")


def interrupt(store: MemoryStore, action: Callable[[], object], *, verb: str = "write", number: int = 1) -> None:
    """Do something before that call of the verb."""
    left = iter(range(number - 1, -1, -1))

    def before(call: Call) -> None:
        if call.verb == verb and next(left, None) == 0:
            action()

    store.before = before


@pytest.mark.parametrize(("is_marked", "fate"), [(True, Fate.UNSURE), (False, Fate.LOST)])
def test_a_conflict_is_no_loss_until_the_mark_was_looked_for(
    connection: Connection, store: TroubledStore, is_marked: bool, fate: Fate
) -> None:
    store.troubles = ["twice"]
    planner = Appending(b"a", is_marked=is_marked)
    interrupt_reads_after_the_first(store)
    rewrite(connection, planner)
    assert planner.told[0] == (b"a", fate)
    assert store.words(b"a") == ("mine",)


def interrupt_reads_after_the_first(store: MemoryStore) -> None:
    reads = 0

    def fail(call: Call) -> Collection[bytes]:
        nonlocal reads
        reads += call.verb == "gets"
        return call.keys if call.verb == "gets" and reads > 1 else ()

    store.before = fail


def test_a_key_that_vanishes_is_made_anew(connection: Connection, store: TroubledStore) -> None:
    someone_else(store, b"a", "one")
    planner = Appending(b"a")
    interrupt(store, lambda: store.evict(b"a"))
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.LOST), (b"a", Fate.STORED)]
    assert store.words(b"a") == ("mine",)


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("trouble", ["twice", "after"])
def test_a_write_that_took_effect_is_recognised_whatever_the_answer(
    connection: Connection, store: TroubledStore, trouble: str, is_there: bool
) -> None:
    if is_there:
        someone_else(store, b"a", "one")
    store.troubles = [trouble]
    planner = Appending(b"a")
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.FOUND)]
    assert store.words(b"a").count("mine") == 1


def test_a_write_that_failed_before_it_took_effect_is_repeated_as_it_is(
    connection: Connection, store: TroubledStore
) -> None:
    someone_else(store, b"a", "one")
    store.troubles = ["before"]
    planner = Appending(b"a")
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.STORED)]
    assert store.words(b"a") == ("one", "mine")


def test_a_write_that_takes_effect_late_is_recognised(connection: Connection, store: TroubledStore) -> None:
    someone_else(store, b"a", "one")
    store.troubles = ["late", "before"]
    planner = Appending(b"a")
    interrupt(store, store.arrive, verb="gets", number=3)
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.FOUND)]
    assert store.words(b"a") == ("one", "mine")


def test_after_a_write_of_unknown_outcome_nobody_can_tell_where_the_key_has_changed_without_the_mark(
    connection: Connection, store: TroubledStore
) -> None:
    someone_else(store, b"a", "one")
    store.troubles = ["after"]
    planner = Appending(b"a")
    interrupt(store, lambda: someone_else(store, b"a", "two"), verb="gets", number=2)
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.UNSURE)]
    assert store.words(b"a") == ("two",)


def test_a_key_that_was_missing_for_longer_than_an_empty_page_lives_may_have_been_there(
    connection: Connection, store: TroubledStore, clock: ManualClock
) -> None:
    store.troubles = ["before"]
    planner = Appending(b"a")
    connection.attempts = lambda limit: (clock.advance(EMPTY_TTL_SECONDS) or n for n in range(limit))  # type: ignore
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.UNSURE)]


def test_without_a_mark_a_write_is_repeated_until_it_is_stored(connection: Connection, store: TroubledStore) -> None:
    store.troubles = ["after", "twice"]
    planner = Appending(b"a", is_marked=False)
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.LOST), (b"a", Fate.LOST), (b"a", Fate.STORED)]


def test_what_comes_before_is_written_once_and_first(connection: Connection, store: TroubledStore) -> None:
    someone_else(store, b"a", "one")
    store.calls.clear()
    interrupt(store, lambda: someone_else(store, b"a", "two"), number=2)
    rewrite(connection, Appending(b"a", before=[Set(b"part", b"x")]))
    assert [call.keys for call in store.calls if call.verb == "write"] == [(b"part",), (b"a",), (b"a",)]


def test_a_plan_whose_part_cannot_be_written_is_not_and_is_given_up(
    connection: Connection, store: TroubledStore
) -> None:
    store.troubles = ["before"] * 3
    planner = Appending(b"a", before=[Set(b"part", b"x")])
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.UNPREPARED)] * 3 + [(b"a", "the store failed")]
    assert store.raw(b"a") is None


def test_a_key_that_cannot_be_read_is_given_up_and_the_others_go_on(
    connection: Connection, store: TroubledStore
) -> None:
    store.before = lambda call: [b"a"] if call.verb == "gets" else None
    planner = Appending(b"a", b"b")
    rewrite(connection, planner)
    assert planner.told == [(b"b", Fate.STORED), (b"a", "the store failed")]


def test_a_write_that_never_has_an_answer_is_unsure(connection: Connection, store: TroubledStore) -> None:
    store.troubles = ["before"] * 9
    planner = Appending(b"a")
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.UNSURE)]


def test_whoever_loses_every_attempt_gives_up(connection: Connection, store: TroubledStore) -> None:
    someone_else(store, b"a", "0")
    numbers = iter(range(1, 100))
    store.before = lambda call: someone_else(store, b"a", str(next(numbers))) if call.verb == "write" else None
    planner = Appending(b"a")
    rewrite(connection, planner, attempts=4)
    assert planner.told == [*[(b"a", Fate.LOST)] * 4, (b"a", CONTENDED)]


def test_a_conflict_says_nothing_of_an_earlier_write_of_unknown_outcome(
    connection: Connection, store: TroubledStore
) -> None:
    """It took effect late, before it was repeated, and somebody has taken what it wrote since."""
    someone_else(store, b"a", "one")
    store.troubles = ["late"]
    planner = Appending(b"a")

    def arrive_and_take() -> None:
        store.arrive()
        someone_else(store, b"a", "taken")

    interrupt(store, arrive_and_take)
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.UNSURE)]


def test_what_a_later_version_wrote_is_given_up_at_once_and_the_others_go_on(
    connection: Connection, store: TroubledStore
) -> None:
    store.set_raw(b"a", b"newer")
    planner = Appending(b"a", b"b")
    rewrite(connection, planner)
    assert planner.told == [(b"b", Fate.STORED), (b"a", NEWER)]
    assert [call.verb for call in store.calls] == ["gets", "write"]
    assert store.raw(b"a") == b"newer"


def test_what_a_later_version_writes_in_between_is_given_up_too(connection: Connection, store: TroubledStore) -> None:
    interrupt(store, lambda: store.set_raw(b"a", b"newer"))
    planner = Appending(b"a")
    rewrite(connection, planner)
    assert planner.told == [(b"a", Fate.LOST), (b"a", NEWER)]
    assert [call.verb for call in store.calls] == ["gets", "write", "gets"]
