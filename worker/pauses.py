"""The pauses as this instance knows them: read anew each time, and remembered for when memcache does not answer.

If only this one page cannot be read, what the instance knew last stands: a person paused for a reason. An instance that
never read it delivers everything: that one page must not stop all the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from gaesignals.errors import LeftAloneError, StoreError
from gaesignals.format.pauses import PausedNames
from gaesignals.mailbox.pause import Pauses, paused_names
from gaesignals.stores.client import Seen

logger = logging.getLogger("gaesignals.worker")


class KnownPauses:
    """The paused names of a mailbox, for those who have to go on without memcache's answer. Safe in threads."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._known: Mapping[str, float] = {}
        self._are_left_alone = False

    @property
    def known(self) -> Mapping[str, float]:
        """What was read last, without a call."""
        return self._known

    @property
    def are_left_alone(self) -> bool:
        """Whether a later version has stored which names are paused, so that there may be others than are known."""
        return self._are_left_alone

    def names(self) -> Mapping[str, float]:
        """The paused names with the time, in seconds since the epoch, of each pause; one call to memcache."""
        return self._learn(self._pauses.names)

    def learn(self, seen: Seen[PausedNames]) -> Mapping[str, float]:
        """As `names`, from their page as a delivery has read it beside others."""
        return self._learn(lambda: paused_names(seen))

    def _learn(self, read: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
        try:
            self._known = read()
            self._are_left_alone = False
        except StoreError as error:
            self._are_left_alone = isinstance(error, LeftAloneError)
            logger.warning(
                "which names are paused cannot be read; what was known stands",
                extra={"detail": str(error), "signals_count": len(self._known)},
            )
        return self._known

    def pause(self, names: Iterable[str]) -> int:
        """As `Pauses.pause`."""
        return self._pauses.pause(names)

    def resume(self, names: Iterable[str]) -> int:
        """As `Pauses.resume`."""
        return self._pauses.resume(names)
