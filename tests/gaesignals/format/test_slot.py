"""Slots of the index are values: what listing and dropping make of them."""

from __future__ import annotations

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.slot import (
    FRESH_MS,
    LISTED_AHEAD_MS,
    MAX_AHEAD_MS,
    MAX_BYTES,
    MAX_OVERDUE_MS,
    MAX_PUSH_MS,
    VERSION,
    Slot,
)

NOW_MS = 1_700_000_000_000


def test_a_slot_comes_back_from_its_bytes_as_it_was() -> None:
    slot = Slot({"a": NOW_MS, "é" * 100: 0, "pushed": NOW_MS}, {"pushed": 300_000})
    assert Slot.from_bytes(slot.to_bytes()) == slot


@pytest.mark.parametrize("body", [None, [], {1: 2}])
def test_anything_else_under_a_valid_checksum_is_a_decode_error(body: object) -> None:
    with pytest.raises(DecodeError):
        Slot.from_bytes(codec.seal(VERSION, body))


def test_a_newer_format_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(NewerFormatError):
        Slot.from_bytes(codec.seal(VERSION + 1, {}))


def test_nothing_is_due_earlier_than_now() -> None:
    assert Slot().with_due({"a": 0, "b": NOW_MS + 5}, NOW_MS) == Slot({"a": NOW_MS, "b": NOW_MS + 5})


def test_nothing_is_listed_so_far_ahead_that_another_clock_takes_it_for_a_fault() -> None:
    slot = Slot().with_due({"a": NOW_MS + 3600_000}, NOW_MS)
    assert slot.due_ms["a"] == NOW_MS + LISTED_AHEAD_MS
    assert not slot.is_due("a", NOW_MS - 179_000)


def test_what_is_due_far_ahead_is_due_now() -> None:
    slot = Slot({"ahead": NOW_MS + MAX_AHEAD_MS + 1, "later": NOW_MS + MAX_AHEAD_MS, "soon": NOW_MS + 1, "now": NOW_MS})
    assert [name for name in slot.due_ms if slot.is_due(name, NOW_MS)] == ["ahead", "now"]


def push(slot: Slot) -> Slot:
    return slot.pushed({"a": slot.next_push_ms("a", 300_000)}, NOW_MS, mark_ms=7)


def test_a_name_is_pushed_twice_as_far_each_time_up_to_an_hour() -> None:
    slot = Slot({"a": NOW_MS})
    found = []
    for _ in range(6):
        slot = push(slot)
        found.append(slot.due_ms["a"] - NOW_MS)
        assert not slot.is_due("a", NOW_MS), "however far that is, it is the fan-out's own time"
    assert found == [300_007, 600_007, 1_200_007, 2_400_007, MAX_PUSH_MS + 7, MAX_PUSH_MS + 7]


def test_a_name_that_is_listed_anew_is_pushed_as_at_first() -> None:
    slot = push(push(Slot({"a": NOW_MS, "b": NOW_MS}))).with_due({"a": NOW_MS}, NOW_MS)
    assert slot == Slot({"a": NOW_MS, "b": NOW_MS})
    assert push(slot).due_ms["a"] == NOW_MS + 300_007


def test_a_pushed_name_that_is_taken_out_leaves_nothing() -> None:
    assert push(Slot({"a": NOW_MS})).without(["a"]) == Slot()


@pytest.mark.parametrize("pair", [[NOW_MS], [NOW_MS, 0], [NOW_MS, "1"], [NOW_MS, 1, 1], ["1", 300_000], [-1, 300_000]])
def test_a_planted_pair_that_cannot_be_hides_no_other_name(pair: object) -> None:
    assert Slot.from_bytes(codec.seal(VERSION, {"a": pair, "b": NOW_MS})) == Slot({"b": NOW_MS})


def test_entries_seven_days_overdue_stay_where_there_is_room() -> None:
    """The clock of whoever writes may be wrong."""
    slot = Slot({"old": NOW_MS - MAX_OVERDUE_MS, "older": 0, "young": NOW_MS - MAX_OVERDUE_MS + 1})
    assert slot.overdue(NOW_MS) == {"old", "older"}
    assert slot.with_due({"new": NOW_MS}, NOW_MS).due_ms.keys() == {"old", "older", "young", "new"}


def test_a_slot_has_room_for_names_until_memcache_would_not_take_it() -> None:
    names = [f"{number:04}".ljust(200, "x") for number in range(MAX_BYTES // 210)]
    full = Slot(dict.fromkeys(names, NOW_MS))
    while len(full.to_bytes()) > MAX_BYTES:
        full = full.without([names.pop()])
    assert full.has_room_for(names, NOW_MS), "those that are listed already need no room"
    assert not full.has_room_for(["one more".ljust(200, "x")], NOW_MS)
    assert full.without(names[:1]).has_room_for(["one more".ljust(200, "x")], NOW_MS)
    assert full.has_room_for(["one more".ljust(200, "x")], NOW_MS + MAX_OVERDUE_MS), "what is dropped makes room"


@pytest.mark.parametrize(
    ("slot", "is_listed"),
    [
        (Slot(), False),
        (Slot({"a": NOW_MS - 3}), False),
        (Slot({"a": NOW_MS - 2}), True),
        (Slot({"a": NOW_MS}), True),
        (Slot({"a": NOW_MS + 1}), False),
        (Slot({"a": NOW_MS + 60_000 - 2 + FRESH_MS}, {"a": 60_000}), True),
        (Slot({"a": NOW_MS + 60_000}, {"a": 60_000}), False),
    ],
)
def test_a_slot_says_whether_a_name_was_listed_since(slot: Slot, is_listed: bool) -> None:
    assert slot.is_listed_since("a", NOW_MS - 2, NOW_MS) is is_listed


def test_an_entry_half_way_to_being_dropped_does_not_count_as_kept() -> None:
    slot = Slot({"old": NOW_MS - MAX_OVERDUE_MS // 2, "young": NOW_MS - MAX_OVERDUE_MS // 2 + 1, "later": NOW_MS + 5})
    assert [slot.is_keeping(name, NOW_MS) for name in ("old", "young", "later", "missing")] == [
        False,
        True,
        True,
        False,
    ]
