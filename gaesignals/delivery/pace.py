"""Pace: how fast the messages of each name were run, and so how many to claim of it next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gaesignals.receiver import Match

from .opening import ALONE, Opening

FIRST_CLAIM: Final = 16
LARGEST_CLAIM: Final = 1000
CLAIM_SECONDS: Final = 1.0
"""A claim is of as many messages as so long is enough for, at the pace of the last one."""


class Pace:
    """The pace of one delivery. `chunks` are how many messages of a name are begun together.

    The first claim is of that many for the names of which `opening` says so.
    """

    def __init__(self, matches: Mapping[str, Sequence[Match]], opening: Opening = ALONE) -> None:
        self.chunks = {name: max(match.receiver.chunk for match in group) for name, group in matches.items()}
        self._of_one_batch = frozenset(opening.of_one_batch(matches))
        self._seconds_each: dict[str, float] = {}
        self._seconds = dict.fromkeys(matches, 0.0)

    def note(self, name: str, *, seconds: float, of_claim: float, count: int) -> None:
        """A turn took so long; its claim has taken `of_claim` seconds for `count` messages by now."""
        self._seconds[name] += seconds
        self._seconds_each[name] = of_claim / max(1, count)

    def seconds(self, name: str) -> float:
        """How long the messages of a name were run in this delivery."""
        return self._seconds[name]

    def size(self, name: str, *, seconds_left: float) -> int:
        """How many messages to claim: a few at first, then what a second is enough for, as long as the round lasts."""
        if self.is_of_one_batch(name):
            return self.chunks[name]
        size = FIRST_CLAIM
        if name in self._seconds_each:
            seconds = min(CLAIM_SECONDS, seconds_left)
            size = min(LARGEST_CLAIM, int(seconds / max(self._seconds_each[name], 1e-6)))
        return max(size, self.chunks[name])

    def most_at_once(self, name: str) -> int | None:
        """How many messages of a name to keep of a claim that took more; None where that makes no difference."""
        if self.is_of_one_batch(name) or self._seconds_each.get(name, 0) > CLAIM_SECONDS:
            return self.chunks[name]
        return None

    def is_of_one_batch(self, name: str) -> bool:
        """Whether this is the first claim of a name, and is to be of one batch."""
        return name in self._of_one_batch and name not in self._seconds_each
