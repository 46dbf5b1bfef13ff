"""Fan-out: from names that wait in the index to tasks in the queue.

A name that is dispatched is due again after the redispatch time, so a task that gets lost is made up for. One that the
queue refuses is due at once. Whatever happens in between, no name leaves the index here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from gaesignals.errors import InvalidNameError, StoreError
from gaesignals.mailbox.index import FanOut, Index
from gaesignals.receivers import Receivers
from gaesignals.template import check_name

from .log import escaped_names
from .queue import TaskQueue, tasks_for
from .travel import Travel

logger = logging.getLogger("gaesignals.worker")


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What a fan-out came to.

    `names` went out in `tasks`; `refused` are the names that the queue did not take, `unmatched` those that wait and
    that no receiver listens to, `paused` those that would have gone out and are paused. `unreadable` counts the index
    slots that memcache did not answer for. `listed` are all names that the index has, due or not.
    """

    names: tuple[str, ...] = ()
    tasks: int = 0
    refused: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    unreadable: int = 0
    paused: tuple[str, ...] = ()
    listed: frozenset[str] = frozenset()

    @property
    def has_failed(self) -> bool:
        """True if there was something to dispatch and the queue took none of it."""
        return bool(self.refused) and not self.names

    def counts(self) -> dict[str, int]:
        return {
            "names": len(self.names),
            "tasks": self.tasks,
            "refused": len(self.refused),
            "unmatched": len(self.unmatched),
            "unreadable": self.unreadable,
            "paused": len(self.paused),
        }


class Dispatcher:
    """Sends names to the queue, but for those that `paused` gives."""

    def __init__(
        self,
        *,
        index: Index,
        receivers: Receivers,
        queue: TaskQueue,
        redispatch_seconds: float,
        travel: Travel | None = None,
        paused: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._index = index
        self._receivers = receivers
        self._queue = queue
        self._redispatch_seconds = redispatch_seconds
        self._travel = travel or Travel(receivers, own="", lease_seconds=math.inf)
        self._paused = paused

    def matches(self, name: str) -> bool:
        return bool(self._receivers.matching(name))

    def fan_out(self) -> Dispatch:
        """Dispatch the names that are due. Raises `StoreError` if the index cannot be read."""
        return self._dispatch(
            self._index.fan_out(self.matches, redispatch_seconds=self._redispatch_seconds, paused=self._paused())
        )

    def fan_out_all(self) -> Dispatch:
        """Dispatch all names that are listed, also those that are not due. Raises `StoreError` as `fan_out` does."""
        return self._dispatch(
            self._index.fan_out_all(self.matches, redispatch_seconds=self._redispatch_seconds, paused=self._paused())
        )

    def fan_out_named(self, names: Collection[str]) -> Dispatch:
        """Dispatch these names, listed or not: whoever asks for a name gets a task for it."""
        matched = [name for name in dict.fromkeys(names) if self.matches(name)]
        paused = self._paused()
        found = self._index.fan_out_named(matched, redispatch_seconds=self._redispatch_seconds, paused=paused)
        # Also those that a sender has just changed the slot of.
        wanted = tuple(name for name in matched if name not in paused)
        asked_for = tuple(sorted(name for name in names if name in paused))
        return self._dispatch(replace(found, names=wanted, paused=asked_for))

    def _dispatch(self, found: FanOut) -> Dispatch:
        names = [name for name in found.names if _is_usable(name)]
        tasks, refused = self._send(names, siblings=None)
        if refused:
            self._index.put_back(refused)
        self._settle_unmatched(found)
        gone = set(refused)
        sent = tuple(name for name in names if name not in gone)
        unmatched = tuple(sorted(found.unmatched))
        return Dispatch(sent, tasks, refused, unmatched, found.unreadable, found.paused, found.listed)

    def _settle_unmatched(self, found: FanOut) -> None:
        """Some of the names that nobody here listens to may be empty by now."""
        try:
            self._index.settle_unmatched(found.unmatched)
        except StoreError as error:
            logger.warning("names without a receiver were not looked at", extra={"detail": str(error)})

    def hand_over(self, parts: Sequence[Sequence[str]], *, siblings: int) -> tuple[str, ...]:
        """Send on what a delivery leaves behind, each part in a task of its own; return the names that were refused.

        The names are pushed forward in the index as by a fan-out, so that cron does not add another task every few
        minutes to those that are at work on a long backlog. If that fails it costs no more than such a task.
        """
        if not parts:
            return ()
        try:
            names = [name for part in parts for name in part]
            self._index.postpone(names, seconds=self._redispatch_seconds)
        except StoreError as error:
            logger.warning("names handed over were not pushed forward in the index", extra={"detail": str(error)})
        _, refused = self._send(*parts, siblings=siblings)
        return refused

    def bring_in(self, names: Sequence[str], *, siblings: int) -> bool:
        """Create the sibling of a task that leaves `names` behind; True if the queue took it."""
        tasks, _ = self._send(names, siblings=siblings)
        return tasks > 0

    def pass_on(self, names: Sequence[str], *, siblings: int | None) -> tuple[str, ...]:
        """Send names that came in the wrong task into one of the right queue; return those that the queue refused.

        Wherever that task arrives, it delivers them.
        """
        _, refused = self._send(names, siblings=siblings, is_handed_over=True)
        return refused

    def _send(
        self, *parts: Sequence[str], siblings: int | None, is_handed_over: bool = False
    ) -> tuple[int, tuple[str, ...]]:
        tasks = [
            task
            for part in parts
            for group in self._travel.groups(part)
            for task in tasks_for(group.names, siblings=siblings, queue=group.queue, is_handed_over=is_handed_over)
        ]
        if not tasks:
            return 0, ()
        accepted = self._queue.create(tasks)
        refused = tuple(name for task, ok in zip(tasks, accepted, strict=True) if not ok for name in task.names)
        if refused:
            logger.error(
                "names were not dispatched", extra={"count": len(refused), "signals_names": escaped_names(refused)}
            )
        return sum(accepted), refused


def _is_usable(name: str) -> bool:
    """False for a name that `send` would not have let in: its task would be refused, and its neighbours with it."""
    try:
        check_name(name)
    except InvalidNameError as error:
        logger.error("the index has a name that cannot be used", extra={"detail": str(error)})
        return False
    return True
