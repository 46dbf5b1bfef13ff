"""What claims take out of pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gaesignals.format.entries import Entry, Record, Ref
from gaesignals.format.inline import NOTHING, Inline
from gaesignals.format.lease import MAX_SEGMENTS_A_CLAIM, Holding, Lease
from gaesignals.format.page import FULL_MESSAGES, MANY_RETRIES, MAX_LEASED_BYTES, MAX_LEASES, Page
from gaesignals.format.taking import FAILED_FIRST, FAILED_LAST, Budget, Taking, lease, take

PLENTY = Budget(16 * 2**20)


def record(number: int, size: int = 10) -> Record:
    return Record(f"id-{number}", 1_700_000_000_000_000 + number, bytes(size))


def ref(number: int, *, size: int = 1000, count: int = 1, not_before_ms: int = 0) -> Ref:
    return Ref(f"bundle-{number}", size, count, not_before_ms)


def some(*entries: Entry) -> Inline:
    return Inline.of(entries)


def sealed_page(segments: int, inline: int = 1) -> Page:
    page = Page("epoch")
    for _ in range(segments):
        page = page.fill(some(*map(record, range(FULL_MESSAGES))))[0].fill(NOTHING)[0]
    return page.fill(some(*(record(100 + number) for number in range(inline))))[0]


def leased(
    page: Page, budget: Budget = PLENTY, *, now_ms: int = 0, kinds: Sequence[Taking] = FAILED_LAST
) -> Lease | None:
    made = lease(page, "l", now_ms=now_ms, expires_ms=99, budget=budget, kinds=kinds)
    return made[1] if made else None


def test_inline_messages_are_claimed_with_every_segment_and_burn_the_next_index() -> None:
    page = sealed_page(3)
    left, holding = take(page, PLENTY)
    assert (holding.segments, holding.entries, holding.count) == (range(3), page.messages, 49)
    assert (left.first, left.next, left.messages) == (4, 4, NOTHING)


def test_a_full_page_that_is_claimed_never_seals_under_the_same_index_again() -> None:
    page = Page("e", some(*map(record, range(FULL_MESSAGES))))
    stalled_segment = page.next
    left, _ = take(page, PLENTY)
    _, groups = left.fill(page.messages)[0].fill(some(record(1)))
    assert groups
    assert left.next > stalled_segment


def test_a_claim_of_segments_alone_burns_nothing() -> None:
    page = sealed_page(3)
    left, holding = take(page, Budget(PLENTY.bytes, messages=32))
    assert (holding.segments, holding.entries) == (range(2), NOTHING)
    assert (left.first, left.next, left.messages, left.sealed_count) == (2, 3, page.messages, 16)


@pytest.mark.parametrize("most", [1, 5, 16])
def test_inline_messages_are_claimed_one_by_one(most: int) -> None:
    records = [record(number) for number in range(FULL_MESSAGES + 20)]
    page = Page("e", some(*records))
    left, holding = take(page, Budget(PLENTY.bytes, messages=most))
    assert holding.entries == some(*records[:most])
    assert left.messages == some(*records[most:])
    assert left.first == left.next == page.next + len(page.full_groups()), "whatever part of them is taken"


def test_a_claim_takes_at_most_so_many_segments() -> None:
    left, holding = take(sealed_page(70), PLENTY)
    assert len(holding.segments) == MAX_SEGMENTS_A_CLAIM
    assert left.first == MAX_SEGMENTS_A_CLAIM


def test_the_first_claim_of_a_round_takes_something_however_heavy_and_a_later_one_does_not() -> None:
    page = Page("e", some(ref(1, size=900_000))).fill(some(record(1)))[0]
    assert take(page, Budget(1000))[1].count == 1
    assert take(page, Budget(1000, is_first=False)) == (page, Holding(0, 0))


def test_a_weak_claim_leaves_leases_retries_and_the_width_where_they_are() -> None:
    held = (Lease("l", 5, Holding(0, 1)),)
    page = replace(sealed_page(1), leases=held, retries=(ref(1),), width=8, hot_ms=5)
    left, _ = take(page, PLENTY)
    assert (left.leases, left.retries, left.width, left.hot_ms) == (held, (ref(1),), 8, 5)


class TestALease:
    FAILED = ref(1, not_before_ms=5)
    BACK = ref(2, count=3)
    PAGE = Page("e", some(record(1)), retries=(FAILED, BACK, ref(3, count=4)))

    def test_holds_what_failed_alone_when_the_coin_says_so(self) -> None:
        made = leased(self.PAGE, now_ms=9, kinds=FAILED_FIRST)
        assert made
        assert made.holding.entries == some(self.FAILED)

    def test_holds_what_was_handed_back_before_what_is_fresh(self) -> None:
        made = leased(self.PAGE, now_ms=9)
        assert made
        assert made.holding.entries == some(*self.PAGE.handed_back())

    def test_holds_one_bundle_of_it_where_sixteen_messages_are_enough(self) -> None:
        made = leased(self.PAGE, Budget(PLENTY.bytes, messages=16), now_ms=9)
        assert made
        assert made.holding.entries == some(self.BACK)

    def test_holds_what_is_fresh_where_nothing_was_handed_back(self) -> None:
        made = leased(replace(self.PAGE, retries=(self.FAILED,)), now_ms=9)
        assert made
        assert made.holding.entries == some(record(1))

    def test_holds_what_failed_where_there_is_nothing_else(self) -> None:
        made = leased(Page("e", retries=(self.FAILED,)), now_ms=9)
        assert made
        assert made.holding.entries == some(self.FAILED)

    def test_leaves_the_rest_where_it_is(self) -> None:
        made = lease(self.PAGE, "l", now_ms=9, expires_ms=99, budget=PLENTY, kinds=FAILED_FIRST)
        assert made
        assert made[0].retries == self.PAGE.handed_back()
        assert made[0].messages == self.PAGE.messages

    @pytest.mark.parametrize("page", [Page("e"), Page("e", retries=(FAILED,))])
    def test_is_not_made_where_nothing_can_be_run(self, page: Page) -> None:
        assert leased(page, now_ms=4) is None

    def test_is_not_made_where_there_are_too_many(self) -> None:
        held = tuple(Lease(f"l{number}", 9, Holding(0, 0)) for number in range(MAX_LEASES))
        assert leased(replace(self.PAGE, leases=held)) is None
        assert leased(replace(self.PAGE, leases=held[1:])) is not None

    def test_is_not_made_where_they_hold_too_much_inline(self) -> None:
        large = Lease("l", 9, Holding(0, 0, some(record(1, MAX_LEASED_BYTES))))
        assert leased(replace(self.PAGE, leases=(large,))) is None


def test_too_many_small_bundles_that_are_not_due_are_claimed_early_and_large_ones_are_not() -> None:
    small = tuple(ref(number, not_before_ms=50) for number in range(MANY_RETRIES))
    large = ref(99, size=400_000, not_before_ms=50)
    made = leased(Page("e", retries=(*small, large)))
    assert made
    assert made.holding.entries == some(*small)
    assert leased(Page("e", retries=small)) is None


def test_many_bundles_that_were_handed_back_are_not_claimed_to_be_written_together() -> None:
    back = tuple(ref(number, count=16) for number in range(MANY_RETRIES + 1))
    page = Page("e", retries=(*back, ref(99, not_before_ms=50)))
    made = leased(page, Budget(PLENTY.bytes, messages=16), kinds=FAILED_FIRST)
    assert made
    assert made.holding.entries == some(back[0])
