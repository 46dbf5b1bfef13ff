"""Pages are values: what sending, claiming and leasing make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gaesignals.data import codec
from gaesignals.errors import DecodeError, NewerFormatError
from gaesignals.format.entries import Record, Ref, entries_from_bytes, entries_to_bytes
from gaesignals.format.lease import Holding, Lease, Mark
from gaesignals.format.page import EMPTY_TTL_SECONDS, FULL_ENTRIES, MANY_RETRIES, MAX_LEASES, Budget, Page

PLENTY = Budget(16 * 2**20)


def record(number: int, size: int = 10) -> Record:
    return Record(f"id-{number}", 1_700_000_000_000_000 + number, bytes(size))


def ref(number: int, *, size: int = 1000, count: int = 1, not_before_ms: int = 0) -> Ref:
    return Ref(f"bundle-{number}", size, count, not_before_ms)


def full_page(**changes: object) -> Page:
    return replace(Page("epoch", messages=tuple(record(number) for number in range(FULL_ENTRIES))), **changes)


def sealed_page(segments: int, inline: int = 1) -> Page:
    page = Page("epoch")
    for _ in range(segments):
        page = page.append([record(number) for number in range(FULL_ENTRIES)]).seal()
    return page.append([record(100 + number) for number in range(inline)]) if inline else page


def test_a_page_comes_back_from_its_bytes_as_it_was() -> None:
    lease = Lease(
        "l", 5000, Holding(1, 3, (record(1), ref(2)), 32, 900), (1, 2, 3), (Mark((1, 0, 0), 2, 7, ("r",), "e"),)
    )
    page = Page("e", (record(1), ref(1)), 3, 5, 700, 32, (lease,), (ref(3, not_before_ms=9),), 8, "token")
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
        Page.from_bytes(codec.seal(1, body))


def test_a_newer_format_is_told_apart_from_a_broken_one() -> None:
    with pytest.raises(NewerFormatError):
        Page.from_bytes(codec.seal(2, {}))


@pytest.mark.parametrize(
    "page",
    [
        full_page(),
        Page("e", (record(1, 8 * 1024),)),
        Page("e", (ref(1, size=256 * 1024),)),
    ],
)
def test_a_page_is_full_by_count_by_inline_bytes_or_by_what_it_refers_to(page: Page) -> None:
    assert page.is_full
    with pytest.raises(ValueError, match="sealed"):
        page.append([record(1)])


def test_sealing_counts_and_weighs_the_segment_and_leaves_room() -> None:
    page = full_page().seal()
    assert (page.first, page.next, page.sealed_count, page.messages) == (0, 1, FULL_ENTRIES, ())
    assert page.heaviest == sum(record(number).size for number in range(FULL_ENTRIES))
    assert page.is_waiting
    assert not page.is_full


def test_inline_messages_are_claimed_with_the_last_segment_and_burn_its_successor() -> None:
    page = sealed_page(2, inline=3)
    after, holding = page.take("token", PLENTY)
    assert (holding.first, holding.next, holding.entries) == (0, 2, page.messages)
    assert (after.first, after.next, after.messages) == (3, 3, ())
    assert not after.is_waiting
    assert after.claim == "token"


def test_a_full_page_that_is_claimed_never_seals_under_the_same_index_again() -> None:
    page = full_page()
    stale_index = page.next
    after, _ = page.take("token", PLENTY)
    refilled = after.append(page.messages)
    assert refilled.is_full
    assert refilled.next != stale_index


def test_part_of_the_segments_leaves_the_inline_messages_alone() -> None:
    page = sealed_page(10)
    after, holding = page.take("token", Budget(PLENTY.bytes, messages=32))
    assert (holding.first, holding.next, holding.entries, holding.count) == (0, 2, (), 32)
    assert (after.first, after.next, after.messages) == (2, 10, page.messages)
    assert after.waiting_count + holding.count == page.waiting_count


def test_a_claim_takes_at_most_64_segments() -> None:
    after, holding = sealed_page(70).take("token", PLENTY)
    assert len(holding.segments) == 64
    assert after.is_waiting


def test_the_first_claim_of_a_delivery_takes_a_segment_however_heavy() -> None:
    page = Page("e", (ref(1, size=900_000),)).seal()
    _, holding = page.take("token", Budget(1000))
    assert len(holding.segments) == 1


def test_a_later_claim_takes_nothing_that_is_too_heavy() -> None:
    page = Page("e", (ref(1, size=900_000),))
    after, holding = page.take("token", Budget(1000, is_first=False))
    assert (after, holding.count) == (page, 0)


def test_a_weak_claim_leaves_leases_and_retries_where_they_are() -> None:
    lease = Lease("l", 5000, Holding(0, 0, (record(1),)))
    page = full_page(leases=(lease,), retries=(ref(1),))
    after, holding = page.take("token", PLENTY)
    assert (after.leases, after.retries) == ((lease,), (ref(1),))
    assert holding.entries == page.messages


def test_a_claim_leaves_the_width_as_it_is() -> None:
    page = full_page(width=8)
    leased = page.lease("l", now_ms=0, expires_ms=9, budget=PLENTY)
    assert leased is not None
    assert (page.take("token", PLENTY)[0].width, leased[0].width) == (8, 8)


def test_a_lease_holds_the_messages_and_the_retries_that_are_due() -> None:
    due, later = ref(1, not_before_ms=10), ref(2, not_before_ms=11)
    page = Page("e", (record(1),), retries=(due, later))
    leased = page.lease("l", now_ms=10, expires_ms=99, budget=PLENTY)
    assert leased is not None
    after, lease = leased
    assert lease.holding.entries == (record(1), due)
    assert (after.messages, after.retries, after.leases) == ((), (later,), (lease,))


def test_there_are_at_most_four_leases_on_a_page() -> None:
    page = Page("e", leases=tuple(Lease(f"l{n}", 9, Holding(0, 0, (record(n),))) for n in range(MAX_LEASES)))
    assert page.append([record(9)]).lease("l", now_ms=0, expires_ms=9, budget=PLENTY) is None


def test_nothing_to_run_makes_no_lease() -> None:
    assert Page("e", retries=(ref(1, not_before_ms=5),)).lease("l", now_ms=4, expires_ms=9, budget=PLENTY) is None


def test_too_many_small_bundles_of_retries_are_claimed_early_and_large_ones_are_not() -> None:
    small = tuple(ref(n, not_before_ms=1000) for n in range(MANY_RETRIES))
    large = ref(99, size=250_000, not_before_ms=1000)
    assert Page("e", retries=(*small, large)).due_retries(0) == small
    assert Page("e", retries=small).due_retries(0) == ()


def test_retries_and_fresh_messages_share_the_budget_so_that_neither_starves() -> None:
    retries = tuple(ref(n, size=400_000) for n in range(50))
    page = replace(sealed_page(5), retries=retries)
    leased = page.lease("l", now_ms=0, expires_ms=9, budget=Budget(4_000_000))
    assert leased is not None
    holding = leased[1].holding
    assert sum(isinstance(entry, Ref) for entry in holding.entries) == 5
    assert len(holding.segments) == 5


def test_fresh_messages_that_do_not_fit_beside_retries_go_alone_where_a_claim_may_be_that_large() -> None:
    retries, heavy = tuple(ref(n, size=400) for n in range(3)), ref(9, size=900)
    page = Page("e", (heavy,), retries=retries)
    leased = page.lease("l", now_ms=0, expires_ms=9, budget=Budget(1000))
    assert leased is not None
    after, lease = leased
    assert (lease.holding.entries, lease.holding.weight, after.retries) == ((heavy,), 900, retries)
    leased = page.lease("l", now_ms=0, expires_ms=9, budget=Budget(1000, is_first=False))
    assert leased is not None
    assert (leased[1].holding.entries, leased[0].messages) == (retries[:1], (heavy,))


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
