"""What a person does with one message that is to be retried."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.errors import StoreError
from gaesignals.format.keys import page_key
from gaesignals.mailbox import retries as module
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.contents import contents
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import look
from gaesignals.mailbox.retries import BURIED, drop, hasten, kill
from gaesignals.testing import Call, ManualClock, MemoryStore

Move = Callable[..., object]


class Work:
    """A receiver that fails for some data, and the messages that are to be retried because of it."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.failing: set[object] = set()
        self.handled: list[object] = []
        self.receivers = Receivers()
        self.receivers.connect("a", self._handle, reliable=True, backoff_seconds=3600, id="it")

    def _handle(self, data: object) -> None:
        if data in self.failing:
            raise RuntimeError(f"no {data}")
        self.handled.append(data)

    def fail(self, *values: object) -> list[str]:
        """Have these values fail, in a bundle with another; return their ids."""
        self.failing |= {*values, "other"}
        ids = send_many([("a", value) for value in (*values, "other")])
        self.deliver()
        return ids[:-1]

    def deliver(self) -> None:
        deliver(self.receivers, mailbox=self.mailbox)

    def mend(self) -> None:
        self.failing = set()

    def left(self) -> set[str]:
        return {each.record.id for each in contents(self.mailbox, "a").messages}


@pytest.fixture
def work(mailbox: Mailbox) -> Work:
    return Work(mailbox)


class TestHastening:
    def test_runs_it_with_the_next_delivery_and_leaves_its_neighbours(self, work: Work) -> None:
        (id_,) = work.fail(7)
        work.mend()
        work.deliver()
        assert work.handled == []
        assert hasten(work.mailbox, "a", [id_]) == {id_}
        work.deliver()
        assert work.handled == [7]
        assert len(work.left()) == 1

    def test_costs_no_attempt(self, work: Work) -> None:
        (id_,) = work.fail(7)
        before = next(each.record.attempt for each in contents(work.mailbox, "a").messages if each.record.id == id_)
        hasten(work.mailbox, "a", [id_])
        after = next(each.record for each in contents(work.mailbox, "a").messages if each.record.id == id_)
        assert (after.attempt, after.receivers) == (before, ("it",))

    def test_lists_the_name_as_due(self, work: Work) -> None:
        (id_,) = work.fail(7)
        index = Index(work.mailbox)
        index.settle(["a"])
        assert index.entries()["a"] > work.mailbox.clock() + 60
        hasten(work.mailbox, "a", [id_])
        assert index.entries()["a"] <= work.mailbox.clock()

    def test_of_one_that_is_due_already_is_no_error(self, work: Work, clock: ManualClock) -> None:
        (id_,) = work.fail(7)
        clock.advance(8000)
        assert hasten(work.mailbox, "a", [id_]) == {id_}


class TestDropping:
    def test_throws_it_away_and_leaves_its_neighbours(self, work: Work, clock: ManualClock) -> None:
        (id_,) = work.fail(7)
        assert drop(work.mailbox, "a", [id_]) == {id_}
        work.mend()
        clock.advance(8000)
        work.deliver()
        assert work.handled == ["other"]

    def test_leaves_nothing_behind(self, work: Work, store: MemoryStore, clock: ManualClock) -> None:
        work.fail(7)
        clock.advance(60)
        drop(work.mailbox, "a", work.left())
        assert [key for key in store.keys() if key.startswith(b"gs:b:")] == []  # noqa: SIM118 - not a dict
        assert Index(work.mailbox).entries() == {}
        assert not look(work.mailbox, ["a"])["a"].retrying

    def test_keeps_what_is_fresh(self, work: Work) -> None:
        ids = work.fail(7)
        Signal("a").send("fresh")
        drop(work.mailbox, "a", ids)
        work.mend()
        work.deliver()
        assert work.handled == ["fresh"]


class TestKilling:
    def test_makes_a_dead_letter_of_it_that_says_why_it_failed(self, work: Work, clock: ManualClock) -> None:
        (id_,) = work.fail(7)
        (letter,) = kill(work.mailbox, "a", [id_])
        (stored,) = DeadLetters(work.mailbox).list("a")
        assert (stored.id, stored.data, stored.receivers, stored.attempt) == (id_, 7, ("it",), 1)
        assert "no 7" in stored.error
        assert stored.error.endswith(BURIED)
        assert letter.id == id_
        work.mend()
        clock.advance(8000)
        work.deliver()
        assert work.handled == ["other"]

    def test_it_can_be_requeued(self, work: Work) -> None:
        ids = work.fail(7, 8)
        kill(work.mailbox, "a", ids)
        work.mend()
        DeadLetters(work.mailbox).requeue("a")
        work.deliver()
        assert sorted(map(str, work.handled)) == ["7", "8"]

    def test_makes_no_more_than_a_name_keeps(self, work: Work) -> None:
        ids = work.fail(*range(5))
        assert len(kill(work.mailbox, "a", ids, most=3)) == 3
        assert len(DeadLetters(work.mailbox).list("a")) == 3
        assert len(work.left()) == 3

    def test_where_the_letters_are_not_stored_they_are_to_be_retried_as_before(
        self, work: Work, store: MemoryStore
    ) -> None:
        ids = work.fail(7)
        store.before = lambda call: [key for key in call.keys if key.startswith(b"gs:d:")]
        with pytest.raises(StoreError, match="to be retried as before"):
            kill(work.mailbox, "a", ids)
        store.before = None
        assert work.left() >= set(ids)

    def test_one_that_was_claimed_before_it_was_taken_out_is_no_dead_letter(
        self, work: Work, store: MemoryStore, clock: ManualClock
    ) -> None:
        ids = work.fail(7)
        work.mend()
        clock.advance(8000)

        def deliver_once_it_is_buried(call: Call) -> None:
            if call.verb == "write" and page_key("a") in call.keys:
                store.before = None
                work.deliver()

        store.before = deliver_once_it_is_buried
        assert kill(work.mailbox, "a", ids) == []
        assert not DeadLetters(work.mailbox).list("a")
        assert sorted(map(str, work.handled)) == ["7", "other"]


MOVES = pytest.mark.parametrize("move", [hasten, drop, kill])


@MOVES
class TestEachMove:
    def test_leaves_alone_what_is_not_there(self, work: Work, store: MemoryStore, move: Move) -> None:
        work.fail(7)
        Signal("a").send("fresh")
        before = work.left()
        calls = len(store.calls)
        assert not move(work.mailbox, "a", ["unknown"])
        assert work.left() == before
        assert page_key("a") not in {key for call in store.calls[calls:] for key in call.keys if call.verb == "write"}

    def test_leaves_alone_what_is_leased(self, work: Work, clock: ManualClock, move: Move) -> None:
        (id_,) = work.fail(7)
        work.mend()
        clock.advance(8000)
        moved: list[object] = []
        work.receivers = Receivers()
        work.receivers.connect("a", lambda data: moved.append(move(work.mailbox, "a", [id_])), id="it", reliable=True)
        work.deliver()
        assert [bool(each) for each in moved] == [False, False]

    def test_tries_again_where_somebody_came_before_it(self, work: Work, store: MemoryStore, move: Move) -> None:
        ids = work.fail(7)

        def send_first(call: Call) -> None:
            if call.verb == "write" and page_key("a") in call.keys:
                store.before = None
                Signal("a").send("fresh")

        store.before = send_first
        assert len(move(work.mailbox, "a", ids)) == 1  # type: ignore[arg-type]
        work.mend()
        work.deliver()
        assert "fresh" in work.handled

    def test_finds_out_that_a_write_took_effect_whose_answer_was_lost(
        self, work: Work, store: MemoryStore, move: Move
    ) -> None:
        ids = work.fail(7)

        def lose(call: Call) -> list[bytes]:
            if call.verb == "write" and page_key("a") in call.keys:
                store.after = None
                return list(call.keys)
            return []

        store.after = lose
        assert len(move(work.mailbox, "a", ids)) == 1  # type: ignore[arg-type]

    def test_says_so_where_nobody_can_tell_what_came_of_it(self, work: Work, store: MemoryStore, move: Move) -> None:
        ids = work.fail(7)

        def lose_and_forget(call: Call) -> list[bytes]:
            if call.verb == "write" and page_key("a") in call.keys:
                store.after = None
                store.evict([page_key("a")])
                work.fail(8)
                return list(call.keys)
            return []

        store.after = lose_and_forget
        with pytest.raises(StoreError, match="not known whether"):
            move(work.mailbox, "a", ids)

    def test_changes_nothing_where_memcache_does_not_answer(self, work: Work, store: MemoryStore, move: Move) -> None:
        ids = work.fail(7)
        before = work.left()
        store.before = lambda call: [key for key in call.keys if call.verb == "gets"]
        with pytest.raises(StoreError, match="nothing is changed"):
            move(work.mailbox, "a", ids)
        store.before = None
        assert work.left() == before

    def test_finds_it_among_many(
        self, work: Work, clock: ManualClock, move: Move, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_READ_BYTES", 500)
        ids = [work.fail(number)[0] for number in range(8)]
        random.Random(7).shuffle(ids)
        for id_ in ids:
            assert len(move(work.mailbox, "a", [id_])) == 1  # type: ignore[arg-type]

    def test_searches_a_bounded_number_of_bytes(self, work: Work, move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = [work.fail(number)[0] for number in range(4)]
        monkeypatch.setattr(module, "MAX_SEARCHED_BYTES", 1)
        assert len(move(work.mailbox, "a", ids)) == 1  # type: ignore[arg-type]


def test_one_that_waits_because_it_was_not_begun_can_be_dropped(work: Work) -> None:
    ids = send_many([("a", number) for number in range(40)])
    deliver(work.receivers, mailbox=work.mailbox, max_messages=1)
    handed_back = {each.record.id for each in contents(work.mailbox, "a").messages}
    assert len(handed_back) == 39
    assert drop(work.mailbox, "a", ids) <= handed_back
