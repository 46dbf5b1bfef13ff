"""The page of paused names: values in, values out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field

from gaesignals.data import codec
from gaesignals.errors import TooManyPausedError
from gaesignals.values import value

from .names import listed

VERSION = 2


MAX_PAUSED = 1000


@value
class PausedNames:
    """The paused names, each with the time of its pause."""

    since_ms: Mapping[str, int] = field(default_factory=dict)

    def with_paused(self, names: Iterable[str], now_ms: int) -> PausedNames:
        """These and `names`; those that are paused already keep their time. Raises `TooManyPausedError`."""
        since_ms = dict.fromkeys(names, now_ms) | dict(self.since_ms)
        if len(since_ms) > MAX_PAUSED:
            raise TooManyPausedError(
                f"{len(since_ms)} names would be paused and {MAX_PAUSED} is the most: nothing was changed; "
                "resume some, or pause the whole queue"
            )
        return PausedNames(since_ms)

    def without(self, names: Collection[str]) -> PausedNames:
        return PausedNames({name: at for name, at in self.since_ms.items() if name not in names})

    def to_bytes(self) -> bytes:
        return codec.seal(VERSION, dict(self.since_ms))

    @classmethod
    def from_bytes(cls, value: bytes) -> PausedNames:
        """Read the stored page. Raises `DecodeError` or `NewerFormatError`."""
        return cls(listed(codec.unseal(value, version=VERSION), what="the page of paused names"))
