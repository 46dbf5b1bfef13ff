"""Dead letters as they are stored: the page of a name, and the index of the names that have one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timezone
from itertools import accumulate
from typing import Any

from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.values import value

from .entries import Record, Ref
from .keys import bundle_key
from .names import listed

logger = logging.getLogger("gaesignals")

VERSION = 2


MAX_LETTERS = 1000
"""The most that `Receivers(max_dead_letters=...)` can ask a name to keep."""


KEPT_LETTERS = 100


_MAX_PAGE_BYTES = 950_000


MAX_ERROR_CHARACTERS = 1500


BURIED = "an administrator made it a dead letter"
"""The last line of the error of a message that a person gave no further attempt."""


_MAX_INDEX_BYTES = 600_000


@value
class DeadLetter:
    """A message that will not be run again by itself.

    `record.receivers` are the ids of the receivers that failed, `attempt` how often they were tried, `error` the last
    failure with its traceback. A large payload is in `body`, and `record` has none until it was read.
    """

    record: Record
    died_ms: int
    error: str
    body: Ref | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def attempt(self) -> int:
        return self.record.attempt

    @property
    def receivers(self) -> tuple[str, ...]:
        return self.record.receivers

    @property
    def sent_at(self) -> datetime:
        return self.record.sent_at

    @property
    def died_at(self) -> datetime:
        return datetime.fromtimestamp(self.died_ms / 1000, timezone.utc)

    @property
    def order(self) -> tuple[int, int]:
        """Of letters of one message, the one that was requeued last, or has died last, comes last."""
        return self.record.due_ms, self.died_ms

    @property
    def data(self) -> Any:
        """What was sent. Raises `DecodeError` if it cannot be decoded."""
        return codec.loads(self.record.payload)

    @property
    def size(self) -> int:
        """About how many bytes it takes on its page, never fewer."""
        return self.record.size + len(self.error.encode()) + 100

    def is_same(self, other: DeadLetter) -> bool:
        return (self.id, self.receivers) == (other.id, other.receivers)

    def to_wire(self) -> list[Any]:
        wire = [self.record.to_wire(), self.died_ms, self.error]
        return [*wire, self.body.to_wire()] if self.body else wire

    @classmethod
    def from_wire(cls, wire: object) -> DeadLetter:
        match wire:
            case [record, int(died_ms), str(error)] if 0 <= died_ms < 2**47:
                return cls(Record.from_wire(record), died_ms, error)
            case [record, int(died_ms), str(error), body] if 0 <= died_ms < 2**47:
                return cls(Record.from_wire(record), died_ms, error, Ref.from_wire(body))
        raise DecodeError("not a dead letter")


@value
class DeadPage:
    letters: tuple[DeadLetter, ...] = ()

    def with_letters(self, letters: Sequence[DeadLetter], *, most: int = KEPT_LETTERS) -> DeadPage:
        """The page with `letters` in place of earlier ones of theirs: the newest `most`, and what memcache takes.

        Whoever is about to take an earlier one out would take it for that if it came back in place of a later one.
        """
        kept = [old for old in self.letters if not any(old.is_same(new) for new in letters)]
        latest = [max([new, *filter(new.is_same, self.letters)], key=lambda letter: letter.order) for new in letters]
        newest = (*kept, *latest)[-most:]
        sizes = accumulate(letter.size for letter in reversed(newest))
        count = sum(size <= _MAX_PAGE_BYTES for size in sizes)
        return DeadPage(newest[len(newest) - count :])

    @property
    def bodies(self) -> set[bytes]:
        return {bundle_key(letter.body.key) for letter in self.letters if letter.body}

    @property
    def tasks(self) -> set[str]:
        """The tasks that put back letters of durable messages."""
        return {letter.record.safety for letter in self.letters if letter.record.safety}

    def to_bytes(self) -> bytes:
        return codec.seal(VERSION, [letter.to_wire() for letter in self.letters])

    @classmethod
    def from_bytes(cls, value: bytes) -> DeadPage:
        body = codec.unseal(value, version=VERSION)
        if not isinstance(body, list):
            raise DecodeError("not a page of dead letters")
        return cls(tuple(DeadLetter.from_wire(letter) for letter in body))


@value
class DeadNames:
    """One page of the index: how many dead letters each of its names has, the one that changed last at the end."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def with_counts(self, counts: Mapping[str, int]) -> DeadNames:
        kept = {name: count for name, count in self.counts.items() if name not in counts}
        kept.update((name, count) for name, count in counts.items() if count)
        size = sum(map(_entry_bytes, kept))
        for name in list(kept):
            if size <= _MAX_INDEX_BYTES:
                break
            size -= _entry_bytes(name)
            del kept[name]
            logger.error("too many names have dead letters; one is not listed", extra={"signals_name": ascii(name)})
        return DeadNames(kept)

    def to_bytes(self) -> bytes:
        return codec.seal(VERSION, dict(self.counts))

    @classmethod
    def from_bytes(cls, value: bytes) -> DeadNames:
        return cls(listed(codec.unseal(value, version=VERSION), what="the index of dead names"))


def _entry_bytes(name: str) -> int:
    """What a name and its count take in the index, never fewer."""
    return len(name.encode()) + 12
