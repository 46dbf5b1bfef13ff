"""Pages are values: what sending, claiming and leasing make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.entries import Entry, Record, Ref, entries_from_bytes
from gaesignals.format.inline import NOTHING, Inline
from gaesignals.format.lease import Holding, Lease, Mark
from gaesignals.format.page import (
    EMPTY_TTL_SECONDS,
    FULL_MESSAGES,
    MARK_BYTES,
    MAX_GROUPS,
    MAX_LEASES,
    MAX_MARKS,
    MAX_RETRIES,
    VERSION,
    Page,
)


def record(number: int, size: int = 10) -> Record:
    return Record(f"id-{number}", 1_700_000_000_000_000 + number, bytes(size))


def ref(number: int, *, size: int = 1000, count: int = 1, not_before_ms: int = 0) -> Ref:
    return Ref(f"bundle-{number}", size, count, not_before_ms)


def some(*entries: Entry) -> Inline:
    return Inline.of(entries)


def full_page(**changes: object) -> Page:
    return replace(Page("epoch", some(*map(record, range(FULL_MESSAGES)))), **changes)


def test_a_page_comes_back_from_its_bytes_as_it_was() -> None:
    held = Holding(1, 3, some(record(1), ref(2)), 32, 900)
    lease = Lease("l", 5000, held, (1, 2, 3), (Mark((1, 0, 0), 2, 7, ("r",), "e"),))
    retries = (ref(3, not_before_ms=9),)
    page = Page("e", some(record(1), ref(1)), 3, 5, 700, 32, (lease,), retries, 8, 5, b"mark1mark2", "loss", 9, True, 8)
    assert Page.from_bytes(page.to_bytes()) == page


def test_a_page_has_the_marks_of_its_last_writers() -> None:
    marks = [bytes([number]) * MARK_BYTES for number in range(MAX_MARKS + 1)]
    page = Page("e")
    for mark in marks:
        page = page.marked(mark)
    assert [page.has_mark(mark) for mark in marks] == [False, *[True] * MAX_MARKS]
    assert Page.from_bytes(page.to_bytes()).marks == page.marks
    assert not page.has_mark(page.marks[1 : MARK_BYTES + 1]), "no mark begins within another"


def test_a_record_keeps_options_that_this_version_does_not_know() -> None:
    known = Record("id", 1, b"x", "tenant", 3, 4, ("a",), "boom", (("future", 1),), "context", 5, 6, "task", True, 7)
    assert entries_from_bytes(some(known).to_bytes()) == (known,)


GOOD: list[object] = ["x", 0, 0, 0, 0, 1, 0, b"", "", 0, False, 0, 0, 0, 0, b"", [], []]
WRONG: list[tuple[int, list[object]]] = [
    (0, [1, "", "x" * 61, "é"]),
    (1, [-1, 1, 2**50, True, 1.0]),
    (2, [-1, 2**25, None]),
    *((number, [-1, 2**48, "", True]) for number in (3, 4, 6, 9, 11)),
    (5, [0, 65, True]),
    (7, ["", b"four", b"six...", bytes(MAX_MARKS * MARK_BYTES + MARK_BYTES), None]),
    (8, [b"", None]),
    (10, [0, None]),
    *((number, [1, -1, True, "", 2**48]) for number in (12, 13)),
    (14, [-1, True, "", 2**48]),
    (15, [b"x", ""]),
    (16, [{}, [{}], [{"i": "l", "x": 1, "f": 0, "n": 65, "m": [0, 0, 0, b""], "s": 0, "h": 0}]]),
    (16, [[{"i": "l", "x": 1, "f": 0, "n": 1, "m": [], "s": 0, "h": 0}]]),
    (17, [{}, [["a"]], [[2**60, "key", 1, 0]], [[1, "k" * 61, 1, 0]], [[1, "key", 0, 0]], [[True, "key", 1, 0]]]),
]


INLINE: list[list[object]] = [
    [0, 0, 0, b"x"],
    [1, 1, 0, b""],
    [2, 1, 0, b"xx"],
    [2, 2, 0, b"x"],
    [1, 2**48, 0, b"x"],
    [1, 1, 2**48, b"x"],
    [1, 1, -1, b"x"],
    [-1, 1, 0, b"x"],
]


@pytest.mark.parametrize("body", [GOOD, GOOD[:-2]], ids=["with leases and retries", "with neither"])
def test_the_page_that_nothing_is_wrong_with_is_one(body: list[object]) -> None:
    assert Page.from_bytes(codec.seal(VERSION, body)) == Page("x")


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        GOOD[:-1],
        [*GOOD, 0],
        *([*GOOD[:place], each, *GOOD[place + 1 :]] for place, wrong in WRONG for each in wrong),
        *([*GOOD[:12], *each, *GOOD[16:]] for each in INLINE),
    ],
)
def test_anything_else_under_a_valid_checksum_is_a_decode_error(body: object) -> None:
    with pytest.raises(DecodeError):
        Page.from_bytes(codec.seal(VERSION, body))


def test_a_newer_format_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(NewerFormatError):
        Page.from_bytes(codec.seal(VERSION + 1, {}))


@pytest.mark.parametrize(
    "page",
    [
        full_page(),
        Page("e", some(record(1, 8 * 1024))),
        Page("e", some(ref(1, size=256 * 1024))),
        Page("e", some(record(1), ref(1, count=15))),
    ],
)
def test_a_page_is_full_by_messages_by_inline_bytes_or_by_what_it_refers_to(page: Page) -> None:
    assert page.is_full
    filled, [group] = page.fill(some(record(9)))
    assert group == page.messages
    assert filled.messages == some(record(9))


def test_sealing_counts_and_weighs_the_segments_and_leaves_what_fills_none() -> None:
    heavy = ref(1, count=20, size=5000)
    page = full_page(messages=full_page().messages + some(heavy, record(77)), next=3, first=2)
    filled, groups = page.fill(some(record(9)))
    assert groups == [full_page().messages, some(heavy)]
    assert (filled.first, filled.next, filled.sealed_count, filled.heaviest) == (2, 5, 36, some(heavy).size)
    assert filled.messages == some(record(77), record(9))


def test_a_page_that_is_not_full_is_not_sealed() -> None:
    page = Page("e", some(record(1)))
    assert page.fill(some(record(2))) == (replace(page, messages=some(record(1), record(2))), [])


def test_one_send_seals_thirty_two_groups_at_most() -> None:
    refs = [ref(number, count=16) for number in range(40)]
    page = Page("e", some(*refs))
    filled, groups = page.fill(some(record(9)))
    assert len(groups) == MAX_GROUPS
    assert filled.messages == some(*refs[MAX_GROUPS:], record(9))


@pytest.mark.parametrize(("entries", "burnt"), [(0, 1), (1, 1), (16, 1), (40, 2), (16 * 50, MAX_GROUPS)])
def test_what_sealing_would_use_is_burnt(entries: int, burnt: int) -> None:
    page = Page("e", some(*map(record, range(entries))), next=7, first=7)
    left = page.burnt(NOTHING)
    assert (left.first, left.next, left.messages) == (7 + burnt, 7 + burnt, NOTHING)


def test_a_name_is_hot_for_a_minute_and_cold_after_five() -> None:
    page = Page("e").heated(5, 1_000_000)
    assert page.width == 8
    assert [page.is_hot(1_000_000 + after) for after in (0, 59_999, 60_000)] == [True, True, False]
    assert [page.is_cold(1_000_000 + after) for after in (60_000, 300_000, 300_001)] == [False, False, True]
    assert not page.is_hot(1_000_000 - 60_000), "a clock that runs ahead makes no name hot for ever"
    assert page.narrowed().is_empty


def test_too_many_leases_or_retries_are_refused() -> None:
    leases = tuple(Lease(f"l{number}", 1, Holding(0, 0)) for number in range(MAX_LEASES + 1))
    for page in (Page("e", leases=leases), Page("e", retries=tuple(ref(n) for n in range(MAX_RETRIES + 1)))):
        with pytest.raises(DecodeError):
            Page.from_bytes(page.to_bytes())


def test_only_an_empty_page_expires() -> None:
    lease = Lease("l", 9, Holding(0, 0, some(record(1))))
    assert Page("e").ttl_seconds == EMPTY_TTL_SECONDS
    for page in (
        Page("e", some(record(1))),
        Page("e", first=1, next=2),
        Page("e", leases=(lease,)),
        Page("e", retries=(ref(1),)),
        Page("e", width=2),
    ):
        assert page.ttl_seconds == 0
