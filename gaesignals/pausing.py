"""Pausing names: they are sent to as ever, and a worker that asks here does not dispatch or deliver them.

Which names are paused stands in one small page that does not expire. Memcache may forget it, and with it every pause:
the names are then delivered again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from . import codec
from .connection import Connection, Seen
from .errors import DecodeError, StoreError, TooManyPausedError
from .keys import PAUSED_NAMES
from .store import Outcome

VERSION = 1
MAX_PAUSED = 1000
_EMPTY_TTL_SECONDS = 300
_MAX_ATTEMPTS = 30
_MAX_FAILURES = 3


@dataclass(frozen=True, slots=True)
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
        body = codec.unseal(value, version=VERSION)
        if not isinstance(body, dict) or not all(_is_entry(name, at) for name, at in body.items()):
            raise DecodeError("not the page of paused names")
        return cls(body)


def _is_entry(name: object, at: object) -> bool:
    return isinstance(name, str) and isinstance(at, int) and 0 <= at < 2**47


class Pauses:
    """The paused names of a mailbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def names(self) -> dict[str, float]:
        """The paused names with the time, in seconds since the epoch, of each pause; one call.

        Raises `StoreError` if memcache does not answer.
        """
        return {name: at / 1000 for name, at in _value(self._read()).since_ms.items()}

    def pause(self, names: Iterable[str]) -> int:
        """Pause `names`; return how many were not paused before.

        Raises `TooManyPausedError` if that would be more than a thousand together, and `StoreError`.
        """
        wanted = frozenset(names)
        return self._change(
            lambda page: wanted - page.since_ms.keys(),
            lambda page: page.with_paused(wanted, self._connection.now_ms()),
        )

    def resume(self, names: Iterable[str]) -> int:
        """End the pause of `names`; return how many were paused. Raises `StoreError`."""
        wanted = frozenset(names)
        return self._change(lambda page: wanted & page.since_ms.keys(), lambda page: page.without(wanted))

    def _read(self) -> Seen[PausedNames]:
        return self._connection.read([PAUSED_NAMES], PausedNames.from_bytes)[PAUSED_NAMES]

    def _change(
        self, find: Callable[[PausedNames], Collection[str]], change: Callable[[PausedNames], PausedNames]
    ) -> int:
        """Write the changed page where it is as it was read; return how many names that concerned."""
        concerned: set[str] = set()
        failures = 0
        for _ in self._connection.attempts(_MAX_ATTEMPTS):
            seen = self._read()
            page = seen.value or PausedNames()
            found = find(page)
            if not seen.is_writable:
                outcome = Outcome.FAILED
            elif found:
                concerned.update(found)
                outcome = self._write(seen, change(page))
            else:
                outcome = Outcome.STORED
            if outcome is Outcome.STORED:
                return len(concerned)
            failures += outcome is Outcome.FAILED
            if failures >= _MAX_FAILURES:
                break
        raise StoreError("memcache did not store which names are paused; look at them before repeating it")

    def _write(self, seen: Seen[PausedNames], page: PausedNames) -> Outcome:
        ttl_seconds = 0 if page.since_ms else _EMPTY_TTL_SECONDS
        return self._connection.write([seen.replaced_by(PAUSED_NAMES, page, ttl_seconds=ttl_seconds)])[PAUSED_NAMES]


def _value(seen: Seen[PausedNames]) -> PausedNames:
    if not seen.is_writable:
        raise StoreError(f"which names are paused cannot be read ({seen.state.value}); try again")
    return seen.value or PausedNames()
