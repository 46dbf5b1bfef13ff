"""Which queues the tasks of signals go to, and how long a safety task waits: what senders and the worker agree on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gaesignals.errors import InvalidOptionError

QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,100}")
LEAST_SAFETY_SECONDS: Final = 5.0
MOST_SAFETY_SECONDS: Final = 900.0


DELIVER: Final = "signals"
SAFETY: Final = "signals-safety"
LATER: Final = "signals-later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The queues of tasks that deliver names, that bring back what memcache forgot, and that bring what is for later.

    A safety task comes `safety_seconds` after its message was sent.
    """

    deliver: str = DELIVER
    safety: str = SAFETY
    later: str = LATER
    safety_seconds: float = 600.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Queues:
        """Read the variables of a sender. Raises `InvalidOptionError` for the first that cannot be used."""
        given = environ.get("SIGNALS_SAFETY_SECONDS", "").strip()
        return cls(
            deliver=_name(environ, "SIGNALS_QUEUE", DELIVER),
            safety=_name(environ, "SIGNALS_SAFETY_QUEUE", SAFETY),
            later=_name(environ, "SIGNALS_LATER_QUEUE", LATER),
            safety_seconds=safety_seconds(given or "600"),
        )


def _name(environ: Mapping[str, str], variable: str, default: str) -> str:
    name = environ.get(variable, "").strip() or default
    if not QUEUE_NAME.fullmatch(name):
        raise InvalidOptionError(f"{variable}={name!r:.80}: use the name in queue.yaml: A-Z a-z 0-9 -")
    return name


def safety_seconds(text: str) -> float:
    """Read the setting. Raises `InvalidOptionError` if it is not in its range."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not LEAST_SAFETY_SECONDS <= seconds <= MOST_SAFETY_SECONDS:
        raise InvalidOptionError(
            f"SIGNALS_SAFETY_SECONDS={text!r:.80}: use a number of seconds from {LEAST_SAFETY_SECONDS:g} to "
            f"{MOST_SAFETY_SECONDS:g}; 600 is the default"
        )
    return seconds
