"""What a claim leaves behind: asking for help with names that have more waiting than a delivery has claimed."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

logger = logging.getLogger("gaesignals")

HELP_SECONDS: Final = 1.0
"""A task that was asked for takes less to begin, where there is a place for it."""


class Leftovers:
    """Tells of the names of one delivery that there is more of.

    Once told, a name is told of again only where no more leases of others are seen a while later: nobody has come.
    """

    def __init__(self, tell: Callable[[Sequence[str]], None] | None, clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._told: dict[str, tuple[float, float]] = {}

    def note(self, names: Collection[str], live: Mapping[str, int]) -> None:
        """Ask for help with `names`; `live` counts the leases of others that hold some of each."""
        now = self._clock()
        wanted = []
        for name in sorted(names):
            seen, at = self._told.get(name, (math.inf, -math.inf))
            if live.get(name, 0) <= seen and now >= at + HELP_SECONDS:
                self._told[name] = live.get(name, 0), now
                wanted.append(name)
        if wanted and self._tell is not None:
            try:
                self._tell(wanted)
            except Exception:
                logger.exception("on_backlog failed; what was claimed is delivered all the same")
