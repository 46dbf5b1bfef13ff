"""What the history counts by: the receivers, and the names and patterns that they are connected to.

A name made at run time has no counts of its own: the pattern that it matches stands for it, so what is stored is
bounded by the code.
"""

from __future__ import annotations

from functools import lru_cache

from gaesignals.format.history import EVERYTHING, label_of, shard_of
from gaesignals.receivers import Receivers

_CACHED_NAMES = 10_000


class Labels:
    """The labels of a worker's receivers and of the names that these are connected to."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._by_receiver = {each.id: label_of("receiver", each.id) for each in receivers}
        self._by_template = {str(each.template): label_of("name", str(each.template)) for each in receivers}
        self.template_of = lru_cache(maxsize=_CACHED_NAMES)(self._template_of)
        """The name or pattern that the counts of a name are under; None for a name that nobody here listens to."""

    def of_receiver(self, receiver: str) -> bytes:
        """The label of a receiver, also of one that this worker does not have."""
        return self._by_receiver.get(receiver) or label_of("receiver", receiver)

    def of_name(self, name: str) -> bytes | None:
        template = self.template_of(name)
        return None if template is None else self._by_template[template]

    def of_template(self, template: str) -> bytes | None:
        """The label of a name or pattern as it stands in the code."""
        return self._by_template.get(template)

    @property
    def receivers(self) -> frozenset[bytes]:
        """The labels of all receivers here."""
        return frozenset(self._by_receiver.values())

    @property
    def names(self) -> frozenset[bytes]:
        """The labels of all names and patterns here."""
        return frozenset(self._by_template.values())

    @property
    def titles(self) -> dict[bytes, str]:
        """What each label is of: nothing for that of everything, a receiver's id, or a name or pattern."""
        labelled = [*self._by_receiver.items(), *self._by_template.items()]
        return {EVERYTHING: ""} | {label: title for title, label in labelled}

    @property
    def templates(self) -> tuple[str, ...]:
        """All names and patterns here."""
        return tuple(self._by_template)

    @property
    def shards(self) -> frozenset[int]:
        """The shards that hold anything this worker can count."""
        return frozenset(map(shard_of, (EVERYTHING, *self._by_receiver.values(), *self._by_template.values())))

    def _template_of(self, name: str) -> str | None:
        """The name itself where a receiver is connected to it, else the first pattern that matches."""
        templates = [str(match.receiver.template) for match in self._receivers.matching(name)]
        return name if name in templates else next(iter(templates), None)
