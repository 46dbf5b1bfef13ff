"""The page of a mailbox: values in, values out. No memcache, no clock, no randomness of its own.

Three rules keep messages from being lost (`fill` and `burnt`, and `taking.take`, are made of the first):

1. A sealed segment has one possible content. The inline messages of a full page change only by being sealed exactly as
   they were read, divided into full groups in order, or by being claimed or discarded. A claim of inline messages takes
   every waiting segment with them and burns the indexes that sealing the page as it was read would use. Otherwise a
   slow sender, whose compare-and-set is going to fail, would overwrite a segment that somebody else has just sealed
   under the same index. The limits that make a page full belong to the format's version.
2. Only an empty page expires.
3. A name is narrowed only long after its lanes were used last (`is_hot`, `is_cold`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.values import replace, value

from .entries import Ref, are_counts, is_due, is_id, is_list_of
from .inline import NOTHING, Inline, joined
from .lease import Lease

VERSION: Final = 5
FULL_MESSAGES: Final = 16
FULL_INLINE_BYTES: Final = 8 * 1024
FULL_REFERENCED_BYTES: Final = 256 * 1024
SEGMENT_BYTES: Final = 2 * FULL_INLINE_BYTES
"""About what a sealed segment takes at most; reads of several are divided into calls by it."""
MAX_GROUPS: Final = 32
"""Sealed by one send, and burnt by one claim, at most."""
MAX_LEASES: Final = 32
MAX_LEASED_BYTES: Final = 64 * 1024
"""What leases may hold inline before no further one is made: each send reads and writes it."""
MAX_RETRIES: Final = 4096
MAX_WIDTH: Final = 64
MARK_BYTES: Final = 5
MAX_MARKS: Final = 16
"""More than write a page between a write whose answer was lost and the look at what became of it."""
MAX_SEGMENTS: Final = 2**24
MANY_RETRIES: Final = 16
SMALL_BUNDLE_BYTES: Final = 250_000
EMPTY_TTL_SECONDS: Final = 1200
HOT_MS: Final = 60_000
"""For so long after a sender met others at a name, senders use all its lanes; after that its home page alone."""
COLD_MS: Final = 300_000
"""After so long, and with nothing in any lane, a name may have its home page alone again.

Far more than `HOT_MS` and what a send may take unchecked together: clocks may differ by the rest.
"""


@value
class Page:
    """One page of a mailbox, the home page of a name or one of its lanes.

    `epoch` is random and new with each page, so that the segments of a page that was evicted are never taken for those
    of its successor. The waiting segments are `first` to `next - 1`; `heaviest` is the weight of the heaviest of them,
    `sealed_count` how many messages they hold together. `marks` are those of the last writers. `width` is how many
    lanes the name has, and `hot_ms` when a sender last met others there; both are a home page's. `loss` is a mark that
    changes when something of it was found missing. `wake_ms` and `is_wake_second` are what it promises of wake tasks.
    `listed_ms` is when the last sender wrote it that listed the name as well, in the same call.
    """

    epoch: str
    messages: Inline = NOTHING
    first: int = 0
    next: int = 0
    heaviest: int = 0
    sealed_count: int = 0
    leases: tuple[Lease, ...] = ()
    retries: tuple[Ref, ...] = ()
    width: int = 1
    hot_ms: int = 0
    marks: bytes = b""
    loss: str = ""
    wake_ms: int = 0
    is_wake_second: bool = False
    listed_ms: int = 0

    @property
    def is_full(self) -> bool:
        return _are_full(self.messages)

    @property
    def is_waiting(self) -> bool:
        """Whether there are fresh messages or sealed segments; leases and retries do not count."""
        return self.messages.entries > 0 or self.first < self.next

    @property
    def segments(self) -> range:
        """The indexes of the segments that wait."""
        return range(self.first, self.next)

    @property
    def is_empty(self) -> bool:
        return not (self.is_waiting or self.leases or self.retries) and self.width == 1

    @property
    def ttl_seconds(self) -> int:
        return EMPTY_TTL_SECONDS if self.is_empty else 0

    @property
    def waiting_count(self) -> int:
        """About how many fresh messages wait here."""
        return self.sealed_count + self.messages.count

    @property
    def has_room_for_lease(self) -> bool:
        leased = sum(len(lease.holding.entries.encoded) for lease in self.leases)
        return len(self.leases) < MAX_LEASES and leased < MAX_LEASED_BYTES

    def is_hot(self, now_ms: int) -> bool:
        """Whether senders may use the lanes of this home page."""
        return self.width > 1 and abs(now_ms - self.hot_ms) < HOT_MS

    def is_cold(self, now_ms: int) -> bool:
        """Whether no sender has used the lanes of this home page for long."""
        return self.width > 1 and abs(now_ms - self.hot_ms) > COLD_MS

    def heated(self, lane: int, now_ms: int) -> Page:
        """This home page with `lane` among its lanes, for senders to use."""
        return replace(self, width=max(self.width, 1 << lane.bit_length()), hot_ms=now_ms)

    def narrowed(self) -> Page:
        """This home page without other lanes."""
        return replace(self, width=1, hot_ms=0)

    def full_groups(self) -> list[Inline]:
        """The first of the messages as the segments that sealing makes of them; what fills none is left out."""
        if not self.is_full:
            return []
        if self.messages.count == FULL_MESSAGES and not _are_large(self.messages):
            return [self.messages]  # without its last entry it is full in no way
        groups: list[Inline] = []
        group = NOTHING
        for entry in self.messages.split():
            group += entry
            if _are_full(group):
                groups.append(group)
                group = NOTHING
                if len(groups) == MAX_GROUPS:
                    break
        return groups

    def fill(self, entries: Inline) -> tuple[Page, list[Inline]]:
        """This page with `entries` behind its messages, and the segments that have to be written before it.

        Of a full page they are its full groups, exactly as they are, from index `next` on.
        """
        if not self.is_full:
            return replace(self, messages=self.messages + entries), []
        groups = self.full_groups()
        sealed = joined(groups)
        page = replace(
            self,
            messages=self.messages.behind(sealed) + entries,
            next=self.next + len(groups),
            heaviest=max([self.heaviest, *(group.size for group in groups)]),
            sealed_count=self.sealed_count + sealed.count,
        )
        return page, groups

    def has_room(self, entries: Inline) -> bool:
        """Whether `entries` fit inline beside what is here, or a full page leaves behind, without filling it twice."""
        filled = self.fill(entries)[0].messages
        return filled.count <= FULL_MESSAGES and len(filled.encoded) <= FULL_INLINE_BYTES

    def count_of_segments(self, count: int) -> int:
        """About how many messages the first `count` segments that wait hold."""
        return round(self.sealed_count * count / len(self.segments)) if count else 0

    def without_segments(self, count: int) -> Page:
        """This page without the first `count` of the segments that wait. Of segments alone no index has to be burnt."""
        first = self.first + count
        return replace(
            self,
            first=first,
            heaviest=self.heaviest if first < self.next else 0,
            sealed_count=self.sealed_count - self.count_of_segments(count),
        )

    def burnt(self, kept: Inline) -> Page:
        """This page with no segments and only `kept` of its messages.

        The indexes are burnt: whoever seals the page as it was read writes segments that nobody will look for.
        """
        end = self.next + max(1, len(self.full_groups()))
        return replace(self, messages=kept, first=end, next=end, heaviest=0, sealed_count=0)

    def handed_back(self) -> tuple[Ref, ...]:
        """The bundles of messages that a claim took and did not begin: nobody failed with them."""
        return tuple(ref for ref in self.retries if not ref.not_before_ms)

    def failed(self, now_ms: int) -> tuple[Ref, ...]:
        """The bundles of failed messages that are due."""
        return tuple(ref for ref in self.retries if ref.not_before_ms and is_due(ref.not_before_ms, now_ms))

    def due_retries(self, now_ms: int) -> tuple[Ref, ...]:
        """The bundles that can be run now, of either kind."""
        return tuple(ref for ref in self.retries if is_due(ref.not_before_ms, now_ms))

    def small_retries(self, now_ms: int) -> tuple[Ref, ...]:
        """The bundles to be claimed early, because too many are not due: they are rewritten together."""
        later = [ref for ref in self.retries if not is_due(ref.not_before_ms, now_ms)]
        small = tuple(ref for ref in later if ref.size < SMALL_BUNDLE_BYTES)
        return small if len(later) > MANY_RETRIES and len(small) > 1 else ()

    def find_lease(self, lease_id: str) -> Lease | None:
        return next((lease for lease in self.leases if lease.id == lease_id), None)

    def replace_lease(self, lease_id: str, *leases: Lease) -> Page:
        """This page with the lease of that id replaced by `leases`, none to be rid of it."""
        kept = tuple(lease for lease in self.leases if lease.id != lease_id)
        return replace(self, leases=(*kept, *leases))

    def with_retries(self, refs: Sequence[Ref]) -> Page:
        return replace(self, retries=(*self.retries, *refs)) if refs else self

    def marked(self, mark: bytes) -> Page:
        """This page with the mark of one more writer."""
        return replace(self, marks=(self.marks + mark)[-MAX_MARKS * MARK_BYTES :])

    def has_mark(self, mark: bytes) -> bool:
        """Whether that is the mark of one of the last writers."""
        return any(self.marks.startswith(mark, at) for at in range(0, len(self.marks), MARK_BYTES))

    def contains(self, entries: Inline) -> bool:
        """Whether all of `entries` are here as they were written: one behind the other, each with an id of its own."""
        return entries.encoded in self.messages.encoded

    def to_bytes(self) -> bytes:
        wire = [
            self.epoch,
            self.first,
            self.next,
            self.heaviest,
            self.sealed_count,
            self.width,
            self.hot_ms,
            self.marks,
            self.loss,
            self.wake_ms,
            self.is_wake_second,
            self.listed_ms,
            *self.messages.to_wire(),
        ]
        if self.leases or self.retries:
            wire += [lease.to_wire() for lease in self.leases], [ref.to_wire() for ref in self.retries]
        return codec.seal(VERSION, wire)

    @classmethod
    def from_bytes(cls, value: bytes) -> Page:
        """Read a stored page. Raises `DecodeError`, or `NewerFormatError` for a later format."""
        wire = codec.unseal(value, version=VERSION)
        is_bare = is_list_of(wire, _BARE)
        if not (is_bare or is_list_of(wire, _HOLDING)):
            raise DecodeError("not a page")
        epoch, first, next_, heaviest, sealed, width, hot_ms, marks, _, wake_ms, _, listed_ms = wire[:12]
        leases, retries = ((), ()) if is_bare else wire[16:]
        if not (
            is_id(epoch)
            and are_counts(first, heaviest, sealed, hot_ms, wake_ms, listed_ms)
            and first <= next_ <= first + MAX_SEGMENTS
            and 1 <= width <= MAX_WIDTH
            and len(marks) in range(0, MAX_MARKS * MARK_BYTES + 1, MARK_BYTES)
            and len(leases) <= MAX_LEASES
            and len(retries) <= MAX_RETRIES
        ):
            raise DecodeError("not a page")
        leased, sent_back = tuple(map(Lease.from_wire, leases)), tuple(map(Ref.from_wire, retries))
        inline = Inline.from_wire(wire[12:16])
        return cls(epoch, inline, first, next_, heaviest, sealed, leased, sent_back, *wire[5:12])


_BARE: Final = [str, int, int, int, int, int, int, bytes, str, int, bool, int, int, int, int, bytes]
_HOLDING: Final = [*_BARE, list, list]
"""With leases and retries, which most pages have none of."""


def _are_full(entries: Inline) -> bool:
    return entries.count >= FULL_MESSAGES or _are_large(entries)


def _are_large(entries: Inline) -> bool:
    return len(entries.encoded) >= FULL_INLINE_BYTES or entries.referenced >= FULL_REFERENCED_BYTES
