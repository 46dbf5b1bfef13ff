"""How names travel: which queue delivers each, and which have a task of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gaesignals.receivers import Receivers

from .log import escaped_names

logger = logging.getLogger("gaesignals.worker")


@dataclass(frozen=True, slots=True)
class Group:
    """Names that travel together; `queue` is empty for the worker's own."""

    queue: str
    names: tuple[str, ...]


class Travel:
    """What `receivers` declare of the way of their names; `own` is the queue of the settings.

    A name whose receivers lease it for longer than `lease_seconds` travels alone, so that nothing quick waits behind
    what takes an hour.
    """

    def __init__(self, receivers: Receivers, *, own: str, lease_seconds: float) -> None:
        self._receivers = receivers
        self._own = own
        self._lease_seconds = lease_seconds
        self._told: set[frozenset[str]] = set()

    def queues(self) -> frozenset[str]:
        """All queues whose tasks deliver names."""
        return frozenset([self._own, *(receiver.queue for receiver in self._receivers if receiver.queue)])

    def queue_of(self, name: str) -> str:
        """The queue whose tasks deliver `name`."""
        queues = [match.receiver.queue for match in self._receivers.matching(name) if match.receiver.queue]
        if len(set(queues)) > 1:
            self._tell_once(name, queues)
        return queues[0] if queues else self._own

    def is_alone(self, name: str) -> bool:
        return any(
            (match.receiver.lease_seconds or 0) > self._lease_seconds for match in self._receivers.matching(name)
        )

    def groups(self, names: Iterable[str]) -> list[Group]:
        """Split `names` into those that may share a task."""
        together: dict[str, list[str]] = {}
        groups: list[Group] = []
        for name in names:
            queue = self.queue_of(name)
            if self.is_alone(name):
                groups.append(Group(self._written(queue), (name,)))
            else:
                together.setdefault(queue, []).append(name)
        return [Group(self._written(queue), tuple(group)) for queue, group in together.items()] + groups

    def misplaced(self, names: Sequence[str], *, arrived_in: str) -> tuple[str, ...]:
        """Those of a task's names that belong into a task of another queue, or of their own."""
        return tuple(
            name for name in names if self.queue_of(name) != arrived_in or (len(names) > 1 and self.is_alone(name))
        )

    def _written(self, queue: str) -> str:
        return "" if queue == self._own else queue

    def _tell_once(self, name: str, queues: Sequence[str]) -> None:
        pair = frozenset(queues)
        if pair not in self._told:
            self._told.add(pair)
            logger.error(
                "the receivers of a name declare several queues; the first one delivers it",
                extra={"signals_names": escaped_names([name]), "queues": list(dict.fromkeys(queues))},
            )
