"""Backlogs: how many messages of each name a delivery leaves, and how many it has yet to run before it ends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gaesignals.mailbox.claim import Claim


class Backlog:
    """Counts of messages by name, as far as one delivery has seen.

    `waiting` are those that could be run at once and that nobody had claimed when the delivery looked last, with those
    that it has given back since. Of those that waited at its first look, a delivery ends when all have had their turn.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.waiting = dict.fromkeys(names, 0)
        self._todo: dict[str, int] = {}

    def see(self, waiting: Mapping[str, int]) -> None:
        """So many of each name were left where the delivery has just claimed."""
        self.waiting |= waiting

    def begin(self, claims: Iterable[Claim]) -> None:
        """The first look is over: what waits and what was claimed at it is what the delivery is to run."""
        self._todo = dict(self.waiting)
        for claim in claims:
            self._todo[claim.name] += claim.holding.count

    def take_turns(self, name: str, count: int) -> None:
        """So many messages of `name` have their turn now, or are gone."""
        self._todo[name] -= count

    def pass_over(self, name: str, count: int) -> None:
        """So many messages of `name` that seemed to wait are gone."""
        self._todo[name] -= count
        self.waiting[name] = max(0, self.waiting[name] - count)

    def leave(self, name: str) -> None:
        """Nothing can be done for what was claimed of `name`, so nothing of it is waited for."""
        self._todo[name] = 0

    def give_back(self, name: str, count: int) -> None:
        """So many messages of `name` went back and can be run at once, in this delivery or by somebody else."""
        self.waiting[name] += count
        self._todo[name] += count

    def unfinished(self, names: Collection[str]) -> list[str]:
        """Those of `names` of which not all that waited at the first look had its turn."""
        return [name for name, count in self._todo.items() if name in names and count > 0]
