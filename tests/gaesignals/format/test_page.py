"""Pages are values: what sending, claiming and leasing make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.entries import VERSION, Record, Ref, entries_from_bytes, entries_to_bytes
from gaesignals.format.lease import Holding, Lease, Mark
from gaesignals.format.page import EMPTY_TTL_SECONDS, FULL_MESSAGES, MAX_GROUPS, MAX_LEASES, MAX_RETRIES, Page


def record(number: int, size: int = 10) -> Record:
    return Record(f"id-{number}", 1_700_000_000_000_000 + number, bytes(size))


def ref(number: int, *, size: int = 1000, count: int = 1, not_before_ms: int = 0) -> Ref:
    return Ref(f"bundle-{number}", size, count, not_before_ms)


def full_page(**changes: object) -> Page:
    return replace(Page("epoch", messages=tuple(record(number) for number in range(FULL_MESSAGES))), **changes)


def test_a_page_comes_back_from_its_bytes_as_it_was() -> None:
    lease = Lease(
        "l", 5000, Holding(1, 3, (record(1), ref(2)), 32, 900), (1, 2, 3), (Mark((1, 0, 0), 2, 7, ("r",), "e"),)
    )
    page = Page("e", (record(1), ref(1)), 3, 5, 700, 32, (lease,), (ref(3, not_before_ms=9),), 8, 5, "token")
    assert Page.from_bytes(page.to_bytes()) == page


def test_a_record_keeps_options_that_this_version_does_not_know() -> None:
    known = Record("id", 1, b"x", "tenant", 3, 4, ("a",), "boom", (("future", 1),), "context", 5, 6, "task", True, 7)
    assert entries_from_bytes(entries_to_bytes([known])) == (known,)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"e": "x", "f": 2, "n": 1},
        {"e": 1, "f": 0, "n": 0},
        {"e": "x", "f": 0, "n": 0, "m": 3},
        {"e": "x", "f": 0, "n": 0, "m": [[1]]},
        {"e": "x", "f": 0, "n": 0, "w": 65},
        {"e": "x", "f": 0, "n": 0, "l": [{}]},
        {"e": "x", "f": 0, "n": 0, "r": [["a"]]},
        {"e": "x", "f": 0, "n": 0, "m": [["id", -1, b""]]},
        {"e": "x", "f": 0, "n": 0, "m": [["id", 1, b"", {"a": "no number"}]]},
        {"e": "x" * 61, "f": 0, "n": 0},
        {"e": "", "f": 0, "n": 0},
        {"e": "x", "f": 0, "n": 2**25},
        {"e": "x", "f": 2**50, "n": 2**50},
        {"e": "x", "f": 0, "n": 1, "s": 2**200},
        {"e": "x", "f": 0, "n": 0, "m": [["i" * 61, 1, b""]]},
        {"e": "x", "f": 0, "n": 0, "m": [["id", 1, b"", {"a": 2**60}]]},
        {"e": "x", "f": 0, "n": 0, "r": [[2**60, "key", 1, 0]]},
        {"e": "x", "f": 0, "n": 0, "r": [[1, "k" * 61, 1, 0]]},
        {"e": "x", "f": 0, "n": 0, "l": [{"i": "l", "x": 1, "f": 0, "n": 65, "m": [], "s": 0, "h": 0}]},
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
        Page("e", (record(1, 8 * 1024),)),
        Page("e", (ref(1, size=256 * 1024),)),
        Page("e", (record(1), ref(1, count=15))),
    ],
)
def test_a_page_is_full_by_messages_by_inline_bytes_or_by_what_it_refers_to(page: Page) -> None:
    assert page.is_full
    filled, [group] = page.fill([record(9)])
    assert group == page.messages
    assert filled.messages == (record(9),)


def test_sealing_counts_and_weighs_the_segments_and_leaves_what_fills_none() -> None:
    page = full_page(messages=(*full_page().messages, ref(1, count=20, size=5000), record(77)), next=3, first=2)
    filled, groups = page.fill([record(9)])
    assert [len(group) for group in groups] == [16, 1]
    assert (filled.first, filled.next, filled.sealed_count, filled.heaviest) == (2, 5, 36, 5000)
    assert filled.messages == (record(77), record(9))


def test_a_page_that_is_not_full_is_not_sealed() -> None:
    page = Page("e", (record(1),))
    assert page.fill([record(2)]) == (replace(page, messages=(record(1), record(2))), [])


def test_one_send_seals_thirty_two_groups_at_most() -> None:
    page = Page("e", tuple(ref(number, count=16) for number in range(40)))
    filled, groups = page.fill([record(9)])
    assert len(groups) == MAX_GROUPS
    assert filled.messages == (*page.messages[MAX_GROUPS:], record(9))


@pytest.mark.parametrize(("entries", "burnt"), [(0, 1), (1, 1), (16, 1), (40, 2), (16 * 50, MAX_GROUPS)])
def test_what_sealing_would_use_is_burnt(entries: int, burnt: int) -> None:
    page = Page("e", tuple(record(number) for number in range(entries)), next=7, first=7)
    left = page.burnt((), "token")
    assert (left.first, left.next, left.claim, left.messages) == (7 + burnt, 7 + burnt, "token", ())


def test_a_name_is_hot_for_a_minute_and_cold_after_five() -> None:
    page = Page("e").heated(5, 1_000_000)
    assert page.width == 8
    assert [page.is_hot(1_000_000 + after) for after in (0, 59_999, 60_000)] == [True, True, False]
    assert [page.is_cold(1_000_000 + after) for after in (60_000, 300_000, 300_001)] == [False, False, True]
    assert not page.is_hot(1_000_000 - 60_000), "a clock that runs ahead makes no name hot for ever"
    assert page.narrowed().is_empty


def test_too_many_leases_or_retries_are_refused() -> None:
    leases = tuple(Lease(f"l{number}", 1, Holding(0, 0, ())) for number in range(MAX_LEASES + 1))
    for page in (Page("e", leases=leases), Page("e", retries=tuple(ref(n) for n in range(MAX_RETRIES + 1)))):
        with pytest.raises(DecodeError):
            Page.from_bytes(page.to_bytes())


def test_only_an_empty_page_expires() -> None:
    lease = Lease("l", 9, Holding(0, 0, (record(1),)))
    assert Page("e").ttl_seconds == EMPTY_TTL_SECONDS
    for page in (
        Page("e", (record(1),)),
        Page("e", first=1, next=2),
        Page("e", leases=(lease,)),
        Page("e", retries=(ref(1),)),
        Page("e", width=2),
    ):
        assert page.ttl_seconds == 0
