"""Which names are paused: one small page, changed by compare-and-set."""

from __future__ import annotations

import pytest

from gaesignals import Signal, send_many
from gaesignals.errors import StoreError, TooManyPausedError
from gaesignals.format.keys import PAUSED_NAMES
from gaesignals.format.pauses import MAX_PAUSED, PausedNames
from gaesignals.format.slot import MAX_OVERDUE_MS
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.index.slots import LONG_OVERDUE_MS
from gaesignals.mailbox.pause import Pauses
from gaesignals.testing import Call, ManualClock, MemoryStore


@pytest.fixture
def pauses(mailbox: Mailbox) -> Pauses:
    return Pauses(mailbox)


def everything(name: str) -> bool:
    return True


class TestPauses:
    def test_of_nothing_are_none(self, pauses: Pauses) -> None:
        assert pauses.names() == {}

    def test_are_kept_with_their_time(self, pauses: Pauses, clock: ManualClock) -> None:
        assert pauses.pause(["a", "b"]) == 2
        since = clock()
        clock.advance(86_400 * 10)
        assert pauses.names() == {"a": since, "b": since}

    def test_of_paused_names_change_nothing(self, pauses: Pauses, clock: ManualClock) -> None:
        pauses.pause(["a"])
        since = pauses.names()
        clock.advance(10)
        assert pauses.pause(["a"]) == 0
        assert pauses.pause(["a", "b"]) == 1
        assert pauses.names() == {**since, "b": clock()}

    def test_end(self, pauses: Pauses) -> None:
        pauses.pause(["a", "b"])
        assert pauses.resume(["a", "never paused"]) == 1
        assert list(pauses.names()) == ["b"]

    def test_that_have_all_ended_leave_nothing_behind(
        self, pauses: Pauses, clock: ManualClock, store: MemoryStore
    ) -> None:
        pauses.pause(["a"])
        assert store.ttl_seconds(PAUSED_NAMES) is None
        pauses.resume(["a"])
        clock.advance(301)
        assert store.raw(PAUSED_NAMES) is None

    def test_of_any_name_are_kept(self, pauses: Pauses) -> None:
        names = ["<b>", "a:b/c*d?e[f", "grüße 字 𝄞", "x" * 200]
        pauses.pause(names)
        assert sorted(pauses.names()) == sorted(names)

    def test_of_a_thousand_names_are_the_most(self, pauses: Pauses) -> None:
        assert pauses.pause([f"n{number}" for number in range(MAX_PAUSED)]) == MAX_PAUSED
        with pytest.raises(TooManyPausedError, match="1000 is the most: nothing was changed"):
            pauses.pause(["one more", "n1"])
        assert "one more" not in pauses.names()
        assert pauses.resume(["n1"]) == 1

    def test_are_one_call_to_read_and_two_to_change(self, pauses: Pauses, store: MemoryStore) -> None:
        pauses.names()
        assert len(store.calls) == 1
        pauses.pause(["a"])
        assert len(store.calls) == 3


class TestTrouble:
    def test_of_two_people_at_once_loses_neither_pause(self, pauses: Pauses, store: MemoryStore) -> None:
        def somebody_else(call: Call) -> None:
            if call.verb == "write":
                store.before = None
                pauses.pause(["theirs"])

        store.before = somebody_else
        assert pauses.pause(["mine"]) == 1
        assert sorted(pauses.names()) == ["mine", "theirs"]

    @pytest.mark.parametrize("side", ["before", "after"])
    def test_of_a_write_that_fails_is_made_up_for(self, pauses: Pauses, store: MemoryStore, side: str) -> None:
        def fail_once(call: Call) -> tuple[bytes, ...]:
            if call.verb != "write":
                return ()
            setattr(store, side, None)
            return call.keys

        setattr(store, side, fail_once)
        assert pauses.pause(["a", "b"]) == 2
        assert sorted(pauses.names()) == ["a", "b"]

    def test_of_memcache_is_told(self, pauses: Pauses, store: MemoryStore) -> None:
        store.before = lambda call: call.keys
        for action in (pauses.names, lambda: pauses.pause(["a"]), lambda: pauses.resume(["a"])):
            with pytest.raises(StoreError):
                action()

    @pytest.mark.parametrize("value", [b"", b"x", PausedNames({"a": 1}).to_bytes()[:-1]])
    def test_of_a_spoilt_page_is_that_of_one_forgotten(self, pauses: Pauses, store: MemoryStore, value: bytes) -> None:
        store.set_raw(PAUSED_NAMES, value)
        assert pauses.names() == {}
        assert pauses.pause(["a"]) == 1


class TestAFanOut:
    def test_holds_names_back_and_keeps_them_listed(self, mailbox: Mailbox) -> None:
        send_many([("a", 1), ("b", 2)])
        found = Index(mailbox).fan_out(everything, redispatch_seconds=300, paused=["a", "quiet"])
        assert (found.names, found.paused, found.unmatched) == (("b",), ("a",), {})
        assert sorted(Index(mailbox).entries()) == ["a", "b"]

    def test_of_names_holds_names_back_too(self, mailbox: Mailbox) -> None:
        Signal("a").send()
        found = Index(mailbox).fan_out_named(["a", "quiet"], redispatch_seconds=300, paused=["a", "quiet"])
        assert (found.names, found.paused) == ((), ("a", "quiet"))
        assert list(Index(mailbox).entries()) == ["a"]

    def test_lets_go_of_them_at_once_when_they_are_resumed(self, mailbox: Mailbox, clock: ManualClock) -> None:
        Signal("a").send()
        Index(mailbox).fan_out(everything, redispatch_seconds=300, paused=["a"])
        assert Index(mailbox).fan_out(everything, redispatch_seconds=300).names == ("a",)

    def test_keeps_them_from_being_dropped_for_their_age(
        self, mailbox: Mailbox, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another name of the slot is written after a week; meanwhile, fan-outs ran."""
        monkeypatch.setattr("gaesignals.format.keys.SLOTS", 1)
        Signal("a").send()
        for _ in range(16):
            clock.advance(MAX_OVERDUE_MS / 1000 / 15)
            Index(mailbox).fan_out(everything, redispatch_seconds=300, paused=["a"])
        Signal("b").send()
        assert "a" in Index(mailbox).entries()

    def test_costs_nothing_more_for_a_name_held_back(
        self, mailbox: Mailbox, store: MemoryStore, clock: ManualClock
    ) -> None:
        Signal("a").send()
        before = len(store.calls)
        Index(mailbox).fan_out(everything, redispatch_seconds=300, paused=["a"])
        assert {call.verb for call in store.calls[before:]} == {"gets"}
        clock.advance(LONG_OVERDUE_MS / 1000 + 1)
        before = len(store.calls)
        Index(mailbox).fan_out(everything, redispatch_seconds=300, paused=["a"])
        assert [call.verb for call in store.calls[before:]].count("write") == 1
