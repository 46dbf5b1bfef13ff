"""What the history counts by: the receivers, and the names and patterns that they are connected to.

A name made at run time has no counts of its own: the pattern that it matches stands for it, so what is stored is
bounded by the code. One handler may be connected to several names, as receivers of one id: each has its own counts.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from gaesignals.format.history import EVERYTHING, label_of, shard_of
from gaesignals.receiver import Receiver
from gaesignals.receivers import Receivers

_CACHED_NAMES = 10_000


class Labels:
    """The labels of a worker's receivers and of the names that these are connected to."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._times = Counter(each.id for each in receivers)
        self._by_receiver = {title: label_of("receiver", title) for title in map(self._title, receivers)}
        self._by_template = {str(each.template): label_of("name", str(each.template)) for each in receivers}
        self.template_of = lru_cache(maxsize=_CACHED_NAMES)(self._template_of)
        """The name or pattern that the counts of a name are under; None for a name that nobody here listens to."""
        self._title_of = lru_cache(maxsize=_CACHED_NAMES)(self._title_of_shared)

    def of(self, receiver: Receiver) -> bytes:
        """The label of one of the receivers."""
        return self._labelled(self._title(receiver))

    def of_receiver(self, id: str, name: str) -> bytes:
        """The label of the receiver of that id of the messages of a name, also of one that this worker does not have.

        Where receivers share the id, the name says which of them is meant.
        """
        return self._labelled(self._title_of(id, name) if self._times[id] > 1 else id)

    def listens(self, id: str, name: str) -> bool:
        """Whether a receiver of that id here has messages of a name, or of a pattern as it stands in the code."""
        return any(match.receiver.id == id for match in self._receivers.matching(name))

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
        """What each label is of: nothing for that of everything, a receiver, or a name or pattern."""
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

    def _title(self, receiver: Receiver) -> str:
        """The id of a receiver, and the name or pattern as well where others have that id."""
        return receiver.id if self._times[receiver.id] < 2 else f"{receiver.id} ({receiver.template})"

    def _labelled(self, title: str) -> bytes:
        return self._by_receiver.get(title) or label_of("receiver", title)

    def _title_of_shared(self, id: str, name: str) -> str:
        """The title of the one receiver of that id that a name has: they never match the same one."""
        matching = self._receivers.matching(name)
        return next((self._title(match.receiver) for match in matching if match.receiver.id == id), id)

    def _template_of(self, name: str) -> str | None:
        """The name itself where a receiver is connected to it, else the first pattern that matches."""
        templates = [str(match.receiver.template) for match in self._receivers.matching(name)]
        return name if name in templates else next(iter(templates), None)
