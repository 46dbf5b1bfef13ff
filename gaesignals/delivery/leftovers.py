"""What a claim or a takeover leaves behind: asking for help with names that there is more of than it has taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

logger = logging.getLogger("gaesignals")


class Leftovers:
    """Tells once of each name of a delivery that there is more of."""

    def __init__(self, tell: Callable[[Sequence[str]], None] | None) -> None:
        self._tell = tell
        self._told: set[str] = set()

    def note(self, names: Collection[str]) -> None:
        """Ask for help with `names`."""
        wanted = sorted(set(names) - self._told)
        self._told.update(wanted)
        if wanted and self._tell is not None:
            try:
                self._tell(wanted)
            except Exception:
                logger.exception("on_backlog failed; what was claimed is delivered all the same")
