"""What a claim takes out of a page: values in, values out.

Small claims let many workers share a backlog; what each rule is for is said in docs/how-it-works.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias, TypeVar

from gaesignals.values import replace, value

from . import page as pages
from .entries import Ref
from .inline import NOTHING, Inline, joined
from .lease import MAX_SEGMENTS_A_CLAIM, Holding, Lease
from .page import Page

T = TypeVar("T", Ref, Inline)


@value
class Budget:
    """What a claim may take at most: bytes to read, messages to run. None means no limit on messages."""

    bytes: int
    messages: int | None = None
    is_first: bool = True

    def less(self, holding: Holding) -> Budget:
        """What is left after `holding`. Only the first claim of a round may exceed the bytes, by one segment."""
        messages = None if self.messages is None else max(0, self.messages - holding.count)
        return Budget(max(0, self.bytes - holding.weight), messages, is_first=self.is_first and holding.weight == 0)

    def at_most(self, messages: int | None) -> Budget:
        """This budget with no more than so many messages."""
        if messages is None:
            return self
        return replace(self, messages=max(0, messages if self.messages is None else min(messages, self.messages)))


Taking: TypeAlias = Callable[[Page, Budget, int], "tuple[Page, Holding] | None"]
"""Takes messages of one kind out of a page within a budget, now; None if there are none."""


def take(page: Page, budget: Budget) -> tuple[Page, Holding]:
    """Take waiting messages within `budget`, oldest first; leases and retries stay.

    Whole segments, then single entries: at least one of either, whatever its count, and the first claim of a round
    whatever it weighs, so that anything that can be sent can be delivered. A claim of segments alone burns nothing.
    Nothing to take is a holding without messages.
    """
    sealed = len(page.segments)
    taken = min(sealed, MAX_SEGMENTS_A_CLAIM, _segments_within(page, budget))
    holding = Holding(page.first, page.first + taken, NOTHING, page.count_of_segments(taken), taken * page.heaviest)
    if taken == sealed and (entries := _cut(page.messages, budget.less(holding))).entries:
        whole = replace(holding, entries=entries, weight=holding.weight + entries.size)
        return page.burnt(page.messages.behind(entries)), whole
    if not taken:
        return page, holding
    return page.without_segments(taken), holding


def _cut(entries: Inline, budget: Budget) -> Inline:
    """The first of `entries` within `budget`. They are looked into only if not all of them are."""
    if entries.size <= budget.bytes and (budget.messages is None or entries.count <= budget.messages):
        return entries
    return joined(_within(entries.split(), budget))


def _segments_within(page: Page, budget: Budget) -> int:
    if page.first == page.next or budget.messages == 0:
        return 0
    count = budget.bytes // max(1, page.heaviest)
    if budget.messages is not None:
        each = max(1, page.sealed_count // (page.next - page.first))
        count = min(count, -(-budget.messages // each))
    return max(count, 1 if budget.is_first else 0)


def lease(
    page: Page,
    lease_id: str,
    *,
    now_ms: int,
    expires_ms: int,
    budget: Budget,
    kinds: Sequence[Taking],
    holder: str = "",
) -> tuple[Page, Lease] | None:
    """Turn what can be run now into a lease; None if that is nothing, or if the page has no room for one.

    A lease holds one kind, the first of `kinds` that there is any of: failed messages that are due, ones handed back,
    or fresh ones.
    """
    if not page.has_room_for_lease or budget.messages == 0:
        return None
    taken = next((taken for kind in kinds if (taken := kind(page, budget, now_ms)) is not None), None)
    if taken is None:
        return None
    left, holding = taken
    made = Lease(lease_id, expires_ms, holding, holder=holder)
    return replace(left, leases=(*left.leases, made)), made


def _take_failed(page: Page, budget: Budget, now_ms: int) -> tuple[Page, Holding] | None:
    refs = _within(page.failed(now_ms), budget) or _within(page.small_retries(now_ms), replace(budget, messages=None))
    return _without(page, refs)


def _take_handed_back(page: Page, budget: Budget, _: int) -> tuple[Page, Holding] | None:
    refs = page.handed_back()
    if budget.messages is not None and budget.messages <= pages.FULL_MESSAGES:
        refs = refs[:1]
    return _without(page, _within(refs, budget))


def _take_fresh(page: Page, budget: Budget, _: int) -> tuple[Page, Holding] | None:
    left, holding = take(page, budget)
    return None if left is page else (left, holding)


# Fresh messages come last: more of them may come all the time.
FAILED_FIRST: Final = (_take_failed, _take_handed_back, _take_fresh)
FAILED_LAST: Final = (_take_handed_back, _take_fresh, _take_failed)


def _without(page: Page, refs: tuple[Ref, ...]) -> tuple[Page, Holding] | None:
    if not refs:
        return None
    kept = tuple(ref for ref in page.retries if ref not in refs)
    entries = Inline.of(refs)
    return replace(page, retries=kept), Holding(page.first, page.first, entries, 0, entries.size)


def _within(entries: Iterable[T], budget: Budget) -> tuple[T, ...]:
    """The first of `entries` within `budget`, of which only the last may exceed its messages."""
    taken: list[T] = []
    mass = count = 0
    for entry in entries:
        mass += entry.size
        is_heavy = mass > budget.bytes and not (budget.is_first and not taken)
        if is_heavy or (budget.messages is not None and count >= budget.messages):
            break
        taken.append(entry)
        count += entry.count
    return tuple(taken)
