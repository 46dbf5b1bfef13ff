"""Entries of a page stay bytes; numbers beside them say what senders and claims have to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.format.entries import Entry, Record, Ref, entries_from_bytes
from gaesignals.format.inline import NOTHING, Inline, joined

RECORDS = tuple(Record(f"id-{number}", 1_700_000_000_000_000 + number, bytes(10)) for number in range(3))
REF = Ref("bundle", 5000, 16)
SOME = Inline.of((*RECORDS, REF))


def of_wires(*wires: object) -> Inline:
    """What was planted under numbers that are right."""
    return Inline(len(wires), len(wires), 0, b"".join(map(codec.encode, wires)))


def test_the_numbers_say_what_the_entries_come_to() -> None:
    assert (SOME.entries, SOME.count, SOME.referenced) == (4, 19, 5000)
    assert SOME.size == len(SOME.encoded) + 5000


def test_entries_come_back_as_they_went_in() -> None:
    assert SOME.decoded() == (*RECORDS, REF)
    assert NOTHING.decoded() == ()


def test_those_of_several_senders_stand_one_behind_the_other() -> None:
    assert Inline.of(RECORDS) + Inline.of([REF]) == SOME
    assert joined(SOME.split()) == SOME
    assert SOME.split() == tuple(Inline.of([entry]) for entry in (*RECORDS, REF))
    assert SOME.behind(Inline.of(RECORDS[:1])) == Inline.of((*RECORDS[1:], REF))


@pytest.mark.parametrize("entries", [(), (REF,), RECORDS, RECORDS * 10, RECORDS * 200])
def test_a_segment_is_a_head_and_the_bytes_of_the_page(entries: Sequence[Entry]) -> None:
    inline = Inline.of(entries)
    assert entries_from_bytes(inline.to_bytes()) == tuple(entries)
    assert inline.to_bytes().endswith(inline.encoded)


@pytest.mark.parametrize(
    "wires",
    [
        [[1]],
        [["id", -1, b""]],
        [["id", 1, b"", {"a": "no number"}]],
        [["i" * 61, 1, b""]],
        [["id", 1, b"", {"a": 2**60}]],
        [["id", 1, b""], None],
        [["id", 1, b""], [1, "key", 0, 0]],
        [{"id": 1}],
    ],
)
def test_those_that_cannot_be_are_none(wires: list[object], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DecodeError):
        entries_from_bytes(of_wires(*wires).to_bytes())
    assert of_wires(*wires).decoded() == ()
    assert caplog.messages == ["messages in a page cannot be read"]


@pytest.mark.parametrize(
    "planted",
    [
        replace(SOME, entries=3),
        replace(SOME, entries=5),
        replace(SOME, count=18),
        replace(SOME, count=20),
        replace(SOME, encoded=SOME.encoded[:-1]),
        replace(SOME, encoded=SOME.encoded + b"\xf6"),
        replace(SOME, encoded=b"\xff" + SOME.encoded),
    ],
)
def test_those_that_are_not_what_the_numbers_say_are_none_and_stay_together(planted: Inline) -> None:
    assert planted.decoded() == ()
    assert planted.split() == (planted,)


def test_what_another_encoder_wrote_is_read_and_never_divided() -> None:
    """Its bytes would not be those that it is made of again, and a segment has one possible content."""
    long_form = Inline(2, 2, 0, b"\x98\x03" + Inline.of(RECORDS[:1]).encoded[1:] + Inline.of(RECORDS[1:2]).encoded)
    assert long_form.decoded() == RECORDS[:2]
    assert long_form.split() == (long_form,)


def test_records_that_this_version_cannot_read_are_divided_as_by_one_that_can() -> None:
    newer = of_wires(["id", 1, b"", {"z": [1.5, "new"], "a": 2, "b": {}}], ["id", 1, "not bytes"])
    assert [part.entries for part in newer.split()] == [1, 1]
