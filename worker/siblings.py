"""Siblings: the tasks that one task brings in for a long backlog, and for names that have to travel alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .fanout import Dispatcher


class Siblings:
    """The right of one task to bring in another that goes on so, and a second one that brings in none.

    The second one is for when nobody came, or too few did: a delivery asks again only where it sees no more helpers
    than at first, and of a name that is weak it sees none.
    """

    def __init__(self, dispatcher: Dispatcher, allowed: int) -> None:
        self._dispatcher = dispatcher
        self._may_ask_again = allowed > 0
        self.left = allowed
        self.is_used = False
        self.passed_on: set[str] = set()

    def pass_on(self, names: Sequence[str]) -> Collection[str]:
        """Give each name a task of its own; return those that the queue took."""
        passed = [name for name in names if self._dispatcher.bring_in([name], siblings=self.left)]
        self.passed_on.update(passed)
        return passed

    def bring_in(self, names: Sequence[str]) -> None:
        # A refusal uses up the right as well: the queue is not asked again at every claim.
        if self.left:
            self.is_used = self._dispatcher.bring_in(names, siblings=self.left - 1)
            self.left = 0
        elif self._may_ask_again:
            self._may_ask_again = False
            self._dispatcher.bring_in(names, siblings=0)
