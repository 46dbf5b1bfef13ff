"""Slots of the index are values: what listing and dropping make of them."""

from __future__ import annotations

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.entries import VERSION
from gaesignals.format.slot import MAX_BYTES, MAX_OVERDUE_MS, Slot

NOW_MS = 1_700_000_000_000


def test_a_slot_comes_back_from_its_bytes_as_it_was() -> None:
    slot = Slot({"a": NOW_MS, "é" * 100: 0})
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


def test_entries_seven_days_overdue_are_dropped_by_whoever_writes() -> None:
    slot = Slot({"old": NOW_MS - MAX_OVERDUE_MS, "older": 0, "young": NOW_MS - MAX_OVERDUE_MS + 1})
    assert slot.with_due({"new": NOW_MS}, NOW_MS).due_ms.keys() == {"young", "new"}


def test_a_slot_has_room_for_names_until_memcache_would_not_take_it() -> None:
    names = [f"{number:04}".ljust(200, "x") for number in range(MAX_BYTES // 210)]
    full = Slot(dict.fromkeys(names, NOW_MS))
    while len(full.to_bytes()) > MAX_BYTES:
        full = full.without([names.pop()])
    assert full.has_room_for(names, NOW_MS), "those that are listed already need no room"
    assert not full.has_room_for(["one more".ljust(200, "x")], NOW_MS)
    assert full.without(names[:1]).has_room_for(["one more".ljust(200, "x")], NOW_MS)
    assert full.has_room_for(["one more".ljust(200, "x")], NOW_MS + MAX_OVERDUE_MS), "what is dropped makes room"


def test_an_entry_half_way_to_being_dropped_does_not_count_as_kept() -> None:
    slot = Slot({"old": NOW_MS - MAX_OVERDUE_MS // 2, "young": NOW_MS - MAX_OVERDUE_MS // 2 + 1, "later": NOW_MS + 5})
    assert [slot.is_keeping(name, NOW_MS) for name in ("old", "young", "later", "missing")] == [
        False,
        True,
        True,
        False,
    ]
