"""Siblings: the tasks that one task brings in for a long backlog, and those that go on with what it leaves.

Together they bound how long others wait for a place in the queue. No task works for long: what is left then goes to the
end of the line, so that places become free all the time. And a task that had to wait for its place brings in nobody, so
that a backlog has as many tasks as run at once and hardly any that wait.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from .dispatcher import Dispatcher
from .queue import MAX_SIBLINGS

CROWDED_SECONDS: Final = 2.0
"""Who waits longer for a place is not the only one who does."""
NAMES_A_PART: Final = 4
"""Names that had no turn in a task go on in tasks of so many: a slow one keeps three others waiting at most."""


class Siblings:
    """The right of one task to bring in another, which may bring in `allowed - 1` more.

    A task that has it without a number is the first at its names: half of its right is for whoever goes on with what
    it leaves, lest the right ends with a sibling that found nothing. A task that waited long for its place leaves all.
    """

    def __init__(self, dispatcher: Dispatcher, allowed: int | None, *, waited_seconds: float = 0.0) -> None:
        self._dispatcher = dispatcher
        self._left = MAX_SIBLINGS if allowed is None else allowed
        self._kept = MAX_SIBLINGS // 2 if allowed is None else 0
        self._may_ask = self._left > 0 and waited_seconds <= CROWDED_SECONDS
        self.is_used = False
        self.passed_on: set[str] = set()

    def pass_on(self, names: Sequence[str]) -> Collection[str]:
        """Give each name a task of its own; return those that the queue took."""
        passed = [name for name in names if self._dispatcher.bring_in([name], siblings=self._left)]
        self.passed_on.update(passed)
        return passed

    def bring_in(self, names: Sequence[str]) -> None:
        """Ask for one that helps with `names`, unless that was done."""
        if self._may_ask:
            # A refusal uses up the right as well: the queue is not asked again at every claim.
            self._may_ask = False
            self.is_used = self._dispatcher.bring_in(names, siblings=self._left - 1 - self._kept)
            self._left = self._kept

    def hand_over(self, names: Sequence[str], unbegun: Collection[str]) -> tuple[str, ...]:
        """Leave `names` to new tasks, those of them that are `unbegun` to some of their own; return what was refused.

        Where many names are slow, a task has turns for a few of them alone: the others need not wait for it.
        """
        begun = [name for name in names if name not in unbegun]
        others = [name for name in names if name in unbegun]
        parts = [others[start : start + NAMES_A_PART] for start in range(0, len(others), NAMES_A_PART)]
        return self._dispatcher.hand_over([part for part in (begun, *parts) if part], siblings=self._left)
