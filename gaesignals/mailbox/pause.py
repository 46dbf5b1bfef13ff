"""Pausing names: paused ones are sent to as ever, and a worker that asks here does not dispatch or deliver them.

Which names are paused stands in one small page that does not expire. Memcache may forget it, and with it every pause:
the names are then delivered again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gaesignals.errors import LeftAloneError, StoreError
from gaesignals.format.keys import PAUSED_NAMES
from gaesignals.format.pauses import PausedNames
from gaesignals.stores.client import Connection, Kind, Seen, State

from .rewrite import PAUSED, Fate, Plan, rewrite

_EMPTY_TTL_SECONDS = 300
_MAX_ATTEMPTS = 30
_LEFT_ALONE: Final = "a later version of gaesignals has stored which names are paused, and it alone can change that"


class Pauses:
    """The paused names of a mailbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def names(self) -> dict[str, float]:
        """The paused names with the time, in seconds since the epoch, of each pause; one call.

        Raises `StoreError` if memcache does not answer, `LeftAloneError` if only a later version can tell.
        """
        return paused_names(self._connection.read([PAUSED_NAMES], PausedNames.from_bytes)[PAUSED_NAMES])

    def pause(self, names: Iterable[str]) -> int:
        """Pause `names`; return how many were not paused before.

        Raises `TooManyPausedError` if that would be more than a thousand together, and `StoreError`.
        """
        return self._change(_Pausing(names, self._connection.now_ms()))

    def resume(self, names: Iterable[str]) -> int:
        """End the pause of `names`; return how many were paused. Raises `StoreError`."""
        return self._change(_Resuming(names))

    def _change(self, changing: _Changing) -> int:
        rewrite(self._connection, changing, attempts=_MAX_ATTEMPTS)
        if changing.is_left_alone:
            raise LeftAloneError(_LEFT_ALONE)
        if changing.has_failed:
            raise StoreError("the store did not take which names are paused; look at them before repeating it")
        return len(changing.concerned)


class _Changing:
    """The planner of a change of the page, which makes no difference the second time. `concerned` are its names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._is_done = False
        self.has_failed = False
        self.is_left_alone = False
        self.concerned: set[str] = set()

    def wanted(self) -> Mapping[bytes, Kind[PausedNames]]:
        is_over = self._is_done or self.has_failed or self.is_left_alone
        return {} if is_over else {PAUSED_NAMES: PAUSED}

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            page: PausedNames = each.value or PausedNames()
            found = self.find(page)
            self._is_done = each.is_writable and not found
            self.is_left_alone = each.state is State.NEWER
            if each.is_writable and found:
                self.concerned.update(found)
                changed = self.change(page)
                yield Plan(key, each, changed, 0 if changed.since_ms else _EMPTY_TTL_SECONDS)

    def find(self, page: PausedNames) -> frozenset[str]:
        """The names that the change is about, of those that are wanted."""
        raise NotImplementedError

    def change(self, page: PausedNames) -> PausedNames:
        raise NotImplementedError

    def learn(self, plan: Plan, fate: Fate) -> None:
        self._is_done = fate is Fate.STORED

    def give_up(self, key: bytes, reason: str) -> None:
        self.has_failed = True


class _Pausing(_Changing):
    def __init__(self, names: Iterable[str], now_ms: int) -> None:
        super().__init__(names)
        self._now_ms = now_ms

    def find(self, page: PausedNames) -> frozenset[str]:
        return self._names - page.since_ms.keys()

    def change(self, page: PausedNames) -> PausedNames:
        return page.with_paused(self._names, self._now_ms)


class _Resuming(_Changing):
    def find(self, page: PausedNames) -> frozenset[str]:
        return self._names & page.since_ms.keys()

    def change(self, page: PausedNames) -> PausedNames:
        return page.without(self._names)


def paused_names(seen: Seen[PausedNames]) -> dict[str, float]:
    """What the page says as it was read. Raises what `Pauses.names` does where it could not be read."""
    if seen.state is State.NEWER:
        raise LeftAloneError(_LEFT_ALONE)
    if not seen.is_writable:
        raise StoreError(f"which names are paused cannot be read ({seen.state.value}); try again")
    return {name: at / 1000 for name, at in (seen.value or PausedNames()).since_ms.items()}
