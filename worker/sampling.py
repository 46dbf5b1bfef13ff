"""How much waits, looked at once a minute after the fan-out, which knows what is listed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.look import look
from gaesignals.receivers import Receivers

from .counting import Counting
from .dispatcher import Dispatch

logger = logging.getLogger("gaesignals.worker")

EVERY_SECONDS = 30.0
# Two calls to memcache. Where more names are listed, nobody looks, and how much waits is not known.
MAX_NAMES = 2000


class Sampling:
    """Looks at the names that are listed and at the fixed ones, one call for a thousand."""

    def __init__(
        self, mailbox: Mailbox, receivers: Receivers, counting: Counting, *, clock: Callable[[], float]
    ) -> None:
        self._mailbox = mailbox
        self._receivers = receivers
        self._counting = counting
        self._clock = clock
        self._last: float | None = None

    def sample(self, dispatch: Dispatch) -> None:
        """Count what waits under the names that a fan-out has found; nothing where not all of it can be seen."""
        now = self._clock()
        if self._last is not None and now - self._last < EVERY_SECONDS:
            return
        self._last = now
        names = dispatch.listed.union(self._receivers.literal_names())
        if not dispatch.unreadable and len(names) <= MAX_NAMES:
            self._look(names)

    def _look(self, names: Collection[str]) -> None:
        found = look(self._mailbox, names)
        if all(each.is_readable for each in found.values()):
            self._counting.sampled({name: (each.waiting, each.retrying) for name, each in found.items()})
