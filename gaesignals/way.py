"""How the messages of a signal travel: what it declares besides its name and its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .errors import InvalidOptionError, brief
from .format.wake import MAX_GATHER_MS


@dataclass(frozen=True, slots=True)
class Way:
    """`wake_ms` is how long messages gather before a task wakes the worker, None for no task.

    Of what `is_latest` only the newest of a name counts.
    """

    wake_ms: int | None = None
    is_durable: bool = False
    is_latest: bool = False

    @classmethod
    def of(cls, *, wake: bool | float, durable: bool, latest: bool = False) -> Way:
        """Read the options of a signal. Raises `InvalidOptionError` for what they cannot be."""
        for name, value in (("durable", durable), ("latest", latest)):
            if not isinstance(value, bool):
                raise InvalidOptionError(f"{name}={brief(value)} cannot be: give True or False")
        return cls(_wake_ms(wake), durable, latest)


PLAIN: Final = Way()


def _wake_ms(wake: object) -> int | None:
    if isinstance(wake, bool):
        return 0 if wake else None
    most = MAX_GATHER_MS / 1000
    if not isinstance(wake, (int, float)) or not 0 <= wake <= most:
        raise InvalidOptionError(f"wake={brief(wake)} cannot be: give True, False, or up to {most:g} seconds to gather")
    return round(wake * 1000)
