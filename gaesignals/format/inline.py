"""Inline entries: those that stand in a page, or in a lease of it, and stay bytes while they only pass.

Each was encoded by who sent it, and is decoded and checked once, by who runs it. What has to be known of them before
stands beside them in numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.values import value

from .entries import (
    VERSION,
    Entry,
    Ref,
    are_counts,
    count_messages,
    entries_from_wire,
    is_list_of,
    is_reference,
)

logger = logging.getLogger("gaesignals")

_WIRE = [int, int, int, bytes]


@value
class Inline:
    """So many `entries`, which are `count` messages and refer to `referenced` bytes elsewhere.

    `encoded` is the CBOR of each, one behind the other. The wire form is a list of the four.
    """

    entries: int = 0
    count: int = 0
    referenced: int = 0
    encoded: bytes = b""

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Inline:
        encoded: list[bytes] = []
        count = referenced = 0
        for entry in entries:
            encoded.append(codec.encode(entry.to_wire()))
            count += entry.count
            if isinstance(entry, Ref):
                referenced += entry.size
        return cls(len(entries), count, referenced, b"".join(encoded))

    @property
    def size(self) -> int:
        """How many bytes have to be read to have every message of them."""
        return len(self.encoded) + self.referenced

    def __add__(self, more: Inline) -> Inline:
        return Inline(
            self.entries + more.entries,
            self.count + more.count,
            self.referenced + more.referenced,
            self.encoded + more.encoded,
        )

    def behind(self, first: Inline) -> Inline:
        """What is left of these behind the `first` of them."""
        return Inline(
            self.entries - first.entries,
            self.count - first.count,
            self.referenced - first.referenced,
            self.encoded[len(first.encoded) :],
        )

    def split(self) -> tuple[Inline, ...]:
        """Each entry alone, in order; all together where they are not what the numbers say.

        The bytes alone decide how, so that whoever divides a page divides it alike.
        """
        try:
            parts = tuple(map(_alone, self._wires()))
        except DecodeError:
            return (self,)
        return parts if joined(parts) == self else (self,)

    def decoded(self) -> tuple[Entry, ...]:
        """The entries; none, which is logged, where they cannot be read or are not what the numbers say."""
        try:
            entries = entries_from_wire(self._wires())
        except DecodeError as error:
            reason = str(error)
        else:
            if count_messages(entries) == self.count:
                return entries
            reason = "they are not as many as their page says"
        logger.error("messages in a page cannot be read", extra={"signals_count": self.count, "signals_reason": reason})
        return ()

    def _wires(self) -> Any:
        return codec.decode(codec.joined(self.entries, self.encoded))

    def to_wire(self) -> list[Any]:
        return [self.entries, self.count, self.referenced, self.encoded]

    def to_bytes(self) -> bytes:
        """The value of a segment or a bundle: it has one possible content, whoever writes it."""
        return codec.sealed(VERSION, codec.joined(self.entries, self.encoded))

    @classmethod
    def from_wire(cls, wire: Any) -> Inline:
        if is_list_of(wire, _WIRE) and are_counts(*wire[:3]) and wire[0] <= wire[1]:
            entries, count, _, encoded = wire
            # An entry takes a byte at least.
            if entries <= len(encoded) and bool(entries) == bool(count) == bool(encoded):
                return cls(*wire)
        raise DecodeError("not the entries of a page")


NOTHING = Inline()


def joined(parts: Sequence[Inline]) -> Inline:
    """Those of all `parts`, one behind the other."""
    return Inline(
        sum([part.entries for part in parts]),
        sum([part.count for part in parts]),
        sum([part.referenced for part in parts]),
        b"".join([part.encoded for part in parts]),
    )


def _alone(wire: Any) -> Inline:
    """One entry. Raises `DecodeError` if it refers to something and does not say to how much."""
    if is_reference(wire):
        ref = Ref.from_wire(wire)
        return Inline(1, ref.count, ref.size, codec.encode(wire))
    return Inline(1, 1, 0, codec.encode(wire))
