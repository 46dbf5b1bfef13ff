"""The page of a mailbox: values in, values out. No memcache, no clock, no randomness of its own.

Two rules here keep messages from being lost (both are what `seal` and `claim` are made of):

1. A sealed segment has one possible content. The messages of a full page change only by being sealed exactly as they
   were read, or by being claimed. Inline messages are claimed only together with the last waiting segment, and the next
   index is then burnt. Otherwise a slow sender, whose compare-and-set is going to fail, would overwrite a segment that
   somebody else has just sealed under the same index.
2. Only an empty page expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gaesignals.data import codec
from gaesignals.errors import DecodeError

from .entries import (
    VERSION,
    Entry,
    Ref,
    count_messages,
    entries_from_wire,
    inline_bytes,
    is_count,
    is_due,
    is_id,
    referenced_bytes,
    weight,
)
from .lease import MAX_SEGMENTS_A_CLAIM, Holding, Lease

FULL_ENTRIES = 16
FULL_INLINE_BYTES = 8 * 1024
FULL_REFERENCED_BYTES = 256 * 1024
SEGMENT_BYTES = 2 * FULL_INLINE_BYTES
"""About what a sealed segment takes at most; reads of several are divided into calls by it."""
MAX_LEASES = 4
MAX_WIDTH = 64
MAX_SEGMENTS = 2**24
MANY_RETRIES = 16
SMALL_BUNDLE_BYTES = 250_000
EMPTY_TTL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Budget:
    """What a claim may take at most: bytes to read, messages to run. None means no limit on messages."""

    bytes: int
    messages: int | None = None
    is_first: bool = True

    def less(self, holding: Holding) -> Budget:
        """What is left after `holding`. Only the first claim of a delivery may exceed the bytes, by one segment."""
        messages = None if self.messages is None else max(0, self.messages - holding.count)
        return Budget(max(0, self.bytes - holding.weight), messages, is_first=self.is_first and holding.weight == 0)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a mailbox, the home page of a name or one of its lanes.

    `epoch` is random and new with each page, so that the segments of a page that was evicted are never taken for those
    of its successor. The waiting segments are `first` to `next - 1`; `heaviest` is the weight of the heaviest of them,
    `sealed_count` how many messages they hold together. `claim` is the token of the last claim.
    """

    epoch: str
    messages: tuple[Entry, ...] = ()
    first: int = 0
    next: int = 0
    heaviest: int = 0
    sealed_count: int = 0
    leases: tuple[Lease, ...] = ()
    retries: tuple[Ref, ...] = ()
    width: int = 1
    claim: str = ""

    @property
    def is_full(self) -> bool:
        return (
            len(self.messages) >= FULL_ENTRIES
            or inline_bytes(self.messages) >= FULL_INLINE_BYTES
            or referenced_bytes(self.messages) >= FULL_REFERENCED_BYTES
        )

    @property
    def is_waiting(self) -> bool:
        """Whether there are fresh messages or sealed segments; leases and retries do not count."""
        return bool(self.messages) or self.first < self.next

    @property
    def is_empty(self) -> bool:
        return not (self.is_waiting or self.leases or self.retries) and self.width == 1

    @property
    def ttl_seconds(self) -> int:
        return EMPTY_TTL_SECONDS if self.is_empty else 0

    @property
    def waiting_count(self) -> int:
        """About how many fresh messages wait here."""
        return self.sealed_count + count_messages(self.messages)

    def seal(self) -> Page:
        """This page after its messages were written, exactly as they are, as the segment `next`."""
        return replace(
            self,
            messages=(),
            next=self.next + 1,
            heaviest=max(self.heaviest, weight(self.messages)),
            sealed_count=self.sealed_count + count_messages(self.messages),
        )

    def append(self, entries: Sequence[Entry]) -> Page:
        """This page with `entries` behind its messages; a full one has to be sealed first."""
        if self.is_full:
            raise ValueError("a full page is sealed before anything is appended")
        return replace(self, messages=(*self.messages, *entries))

    def has_room(self, entries: Sequence[Entry]) -> bool:
        """Whether `entries` fit here inline without making the page more than full."""
        return (
            len(self.messages) + len(entries) <= FULL_ENTRIES
            and inline_bytes(self.messages) + inline_bytes(entries) <= FULL_INLINE_BYTES
        )

    def take(self, token: str, budget: Budget) -> tuple[Page, Holding]:
        """Take waiting messages within `budget`, oldest first; leases and retries stay.

        The first claim of a delivery takes at least one segment, or all inline messages, whatever they weigh, so that
        anything that can be sent can be delivered. Nothing to take is a holding without messages.
        """
        sealed = self.next - self.first
        taken = min(sealed, MAX_SEGMENTS_A_CLAIM, self._segments_within(budget))
        part = round(self.sealed_count * taken / sealed) if sealed else 0
        mass = taken * self.heaviest
        if taken == sealed and self.messages and self._is_inline_within(budget, part, mass):
            # The index is burnt: whoever seals the page as it was read writes a segment that nobody will look for.
            end = self.next + 1
            page = replace(self, messages=(), first=end, next=end, heaviest=0, sealed_count=0, claim=token)
            return page, Holding(self.first, self.next, self.messages, part, mass + weight(self.messages))
        first = self.first + taken
        holding = Holding(self.first, first, (), part, mass)
        if not taken:
            return self, holding
        heaviest = self.heaviest if first < self.next else 0
        return replace(
            self, first=first, sealed_count=self.sealed_count - part, heaviest=heaviest, claim=token
        ), holding

    def _segments_within(self, budget: Budget) -> int:
        if self.first == self.next or budget.messages == 0:
            return 0
        count = budget.bytes // max(1, self.heaviest)
        if budget.messages is not None:
            each = max(1, self.sealed_count // (self.next - self.first))
            count = min(count, -(-budget.messages // each))
        return max(count, 1 if budget.is_first else 0)

    def _is_inline_within(self, budget: Budget, taken_count: int, taken_bytes: int) -> bool:
        if budget.messages is not None and taken_count >= budget.messages:
            return False
        return taken_bytes + weight(self.messages) <= budget.bytes or (budget.is_first and not taken_bytes)

    def due_retries(self, now_ms: int) -> tuple[Ref, ...]:
        """The bundles of failed messages to claim now: those due, and small ones early where there are too many."""
        due = tuple(ref for ref in self.retries if is_due(ref.not_before_ms, now_ms))
        small = tuple(
            ref for ref in self.retries if not is_due(ref.not_before_ms, now_ms) and ref.size < SMALL_BUNDLE_BYTES
        )
        return due + small if len(self.retries) > MANY_RETRIES and len(small) > 1 else due

    def lease(
        self,
        lease_id: str,
        *,
        now_ms: int,
        expires_ms: int,
        budget: Budget,
        holder: str = "",
        retries_first: bool = False,
    ) -> tuple[Page, Lease] | None:
        """Turn what can be run now into a lease; None if that is nothing, or if the page has its four leases.

        Retries may use half the bytes and fresh messages the rest, so that neither starves the other. Fresh messages
        that do not fit in the rest go alone where they may; the retries are next. With `retries_first` what is due of
        these goes alone.
        """
        if len(self.leases) >= MAX_LEASES or budget.messages == 0:
            return None
        due = self._retries_within(budget, now_ms)
        rest = replace(budget, bytes=budget.bytes - weight(due), is_first=budget.is_first and not due)
        is_alone = retries_first and bool(due)
        page, fresh = self.take(lease_id, replace(rest, messages=0) if is_alone else rest)
        if budget.is_first and due and self.is_waiting and page is self and not is_alone:
            due = ()
            page, fresh = self.take(lease_id, budget)
        if not due and not fresh.entries and not fresh.segments:
            return None
        holding = replace(fresh, entries=(*fresh.entries, *due), weight=fresh.weight + weight(due))
        lease = Lease(lease_id, expires_ms, holding, holder=holder)
        kept = tuple(ref for ref in page.retries if ref not in due)
        return replace(page, retries=kept, leases=(*page.leases, lease), claim=lease_id), lease

    def _retries_within(self, budget: Budget, now_ms: int) -> tuple[Ref, ...]:
        """The retries to claim now that fit half the bytes; one at least for the first claim of a delivery."""
        within: tuple[Ref, ...] = ()
        for ref in self.due_retries(now_ms):
            if weight(within) + ref.size <= budget.bytes // 2 or (budget.is_first and not within):
                within = (*within, ref)
        return within

    def find_lease(self, lease_id: str) -> Lease | None:
        return next((lease for lease in self.leases if lease.id == lease_id), None)

    def replace_lease(self, lease_id: str, *leases: Lease) -> Page:
        """This page with the lease of that id replaced by `leases`, none to be rid of it."""
        kept = tuple(lease for lease in self.leases if lease.id != lease_id)
        return replace(self, leases=(*kept, *leases))

    def with_retries(self, refs: Sequence[Ref]) -> Page:
        return replace(self, retries=(*self.retries, *refs)) if refs else self

    def contains(self, entries: Sequence[Entry]) -> bool:
        """Whether every one of `entries` is here: a message for the same receivers, or a reference to the same bundle.

        A message that was requeued for one receiver is not that of another.
        """
        return set(map(_mark, self.messages)).issuperset(map(_mark, entries))

    def to_bytes(self) -> bytes:
        wire: dict[str, Any] = {"e": self.epoch, "f": self.first, "n": self.next}
        optional = {
            "m": [entry.to_wire() for entry in self.messages],
            "h": self.heaviest,
            "s": self.sealed_count,
            "l": [lease.to_wire() for lease in self.leases],
            "r": [ref.to_wire() for ref in self.retries],
            "k": self.claim,
        }
        wire.update((name, value) for name, value in optional.items() if value)
        if self.width != 1:
            wire["w"] = self.width
        return codec.seal(VERSION, wire)

    @classmethod
    def from_bytes(cls, value: bytes) -> Page:
        """Read a stored page. Raises `DecodeError`, or `NewerFormatError` for a later format."""
        match codec.unseal(value, version=VERSION):
            case {"e": str(epoch), "f": int(first), "n": int(next_), **rest} if (
                is_id(epoch) and is_count(first) and first <= next_ <= first + MAX_SEGMENTS
            ):
                return cls(epoch, first=first, next=next_, **_optional_fields(rest))
        raise DecodeError("not a page")


def _mark(entry: Entry) -> object:
    return entry.key if isinstance(entry, Ref) else (entry.id, entry.receivers)


def _optional_fields(wire: dict[Any, Any]) -> dict[str, Any]:
    match wire.get("h", 0), wire.get("s", 0), wire.get("w", 1), wire.get("k", ""), wire.get("l", []), wire.get("r", []):
        case int(heaviest), int(sealed_count), int(width), str(claim), list(leases), list(retries) if (
            is_count(heaviest) and is_count(sealed_count) and 1 <= width <= MAX_WIDTH
        ):
            return {
                "messages": entries_from_wire(wire.get("m", [])),
                "heaviest": heaviest,
                "sealed_count": sealed_count,
                "leases": tuple(Lease.from_wire(lease) for lease in leases),
                "retries": tuple(Ref.from_wire(ref) for ref in retries),
                "width": width,
                "claim": claim,
            }
    raise DecodeError("not a page")
