"""Pausing names: they are sent to as ever, and a worker that asks here does not dispatch or deliver them.

Which names are paused stands in one small page that does not expire. Memcache may forget it, and with it every pause:
the names are then delivered again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from gaesignals.errors import StoreError
from gaesignals.format.keys import PAUSED_NAMES
from gaesignals.format.pauses import PausedNames
from gaesignals.stores.client import Connection, Seen
from gaesignals.stores.store import Outcome

_EMPTY_TTL_SECONDS = 300
_MAX_ATTEMPTS = 30
_MAX_FAILURES = 3


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
