"""What this process has just read or written: it need not be decoded again, and from some stores not even be read.

Whoever sends several messages to a name finds its page, as a rule, as the last send left it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from gaesignals.format.page import Page
from gaesignals.stores.client import Connection, Seen, State, Storable, decoded
from gaesignals.stores.store import Add, Cas, Check, Found, Outcome, Read
from gaesignals.values import value

CAS_BYTES: Final = 8
MAX_KEYS: Final = 200
MAX_BYTES: Final = 16 * 1024
"""Of a value; larger ones are few, and not kept."""
RECALL_MS: Final = 1000
"""After so long somebody has probably taken what was there."""
SHUN_MS: Final = 10_000
"""For so long after a recollection was found to be out of date, its key is read: others write it as well."""


@value
class _Entry:
    stored: bytes
    seen: Seen[Any]
    at_ms: int


class Known:
    """The last values of a few keys, by those bytes that they were, with the ids that a compare-and-set names.

    Safe in threads: an entry is replaced as a whole. Whatever is forgotten is read and decoded as ever.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._shunned: dict[bytes, int] = {}

    def find(self, key: bytes, stored: bytes) -> Any:
        """The value that is known to stand for these bytes, or None."""
        entry = self._entries.get(key)
        return entry.seen.value if entry is not None and entry.stored == stored else None

    def keep(self, key: bytes, stored: bytes, seen: Seen[Any], now_ms: int) -> None:
        """Note that `key` held `stored`, which means `seen`, at `now_ms`."""
        if len(stored) > MAX_BYTES:
            self._entries.pop(key, None)
            return
        if len(self._entries) >= MAX_KEYS and key not in self._entries:
            self._entries.clear()
        self._entries[key] = _Entry(stored, seen, now_ms)

    def refresh(self, key: bytes, now_ms: int) -> None:
        """Note that `key` held at `now_ms` what is known of it."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = _Entry(entry.stored, entry.seen, now_ms)

    def recall(self, keys: Collection[bytes], now_ms: int) -> dict[bytes, Seen[Any]]:
        """What all `keys` held shortly ago; nothing where that is not known of each, or others write them too.

        A full page is read before it is sealed: its segments are written without being compared, and where the server
        has gone back in time, another may have been sealed in their place.
        """
        recalled: dict[bytes, Seen[Any]] = {}
        for key in keys:
            entry = self._entries.get(key)
            if entry is None or not 0 <= now_ms - entry.at_ms < RECALL_MS or now_ms < self._shunned.get(key, 0):
                return {}
            if _is_full_page(entry.seen.value):
                return {}
            recalled[key] = entry.seen
        return recalled

    def shun(self, key: bytes, now_ms: int) -> None:
        """Note that `key` did not hold any more what was known of it."""
        if len(self._shunned) >= MAX_KEYS:
            self._shunned.clear()
        self._shunned[key] = now_ms + SHUN_MS


def _is_full_page(value: object) -> bool:
    return isinstance(value, Page) and value.is_full


class Recollection:
    """What one rewrite knows beforehand and leaves behind; nothing where `known` is None.

    A store that takes ids has no need to be read in the first pass: the write names the ids of all that it was made of,
    so that it counts only where a read just before would have found the same.
    """

    def __init__(self, connection: Connection, known: Known | None) -> None:
        self._connection = connection
        self._known = known
        self._takes_ids = known is not None and getattr(connection.store, "takes_ids", False)
        self._recalled: dict[bytes, Seen[Any]] = {}
        self._checked: list[bytes] = []

    @property
    def is_in_use(self) -> bool:
        """Whether the next write is made of what was recalled."""
        return bool(self._recalled)

    def recall(self, keys: Collection[bytes]) -> Mapping[bytes, Seen[Any]] | None:
        """What is known of all `keys`, if it need not be read; else None."""
        if self._known and self._takes_ids and keys:
            self._recalled = self._known.recall(keys, self._connection.now_ms())
        return self._recalled or None

    def decoded(self, key: bytes, read: Read, decode: Callable[[bytes], Any]) -> Seen[Any]:
        """As the function of that name, but what is known is not decoded, and what is not is kept."""
        known = self._known
        if known is None or not isinstance(read, Found):
            return decoded(key, read, decode)
        value = known.find(key, read.value)
        seen = decoded(key, read, decode) if value is None else Seen(State.FOUND, value, read.cas)
        if seen.state is State.FOUND and (value is None or self._takes_ids):
            known.keep(key, read.value, seen, self._connection.now_ms())
        return seen

    def new_cas(self) -> bytes | None:
        """The id for what is written next, which nothing ever had, not even with a seeded randomness."""
        return os.urandom(CAS_BYTES) if self._takes_ids else None

    def checks(self, writes: Collection[Add | Cas]) -> list[Check]:
        """Whether what `writes` were made of and leave as it is, is as it was recalled."""
        if not writes:
            return []
        written = {write.key for write in writes}
        self._checked = [key for key in self._recalled if key not in written]
        return [Check(key, self._recalled[key].cas) for key in self._checked]

    def learn(self, outcomes: Mapping[bytes, Outcome], marked: Collection[bytes], now_ms: int) -> bool:
        """Whether all that the write was made of was as it was recalled, be it checked or written anew.

        But for what is `marked`: what became of that, a later reading tells.
        """
        if self._known is None:
            return True
        outdated = [key for key in self._recalled if outcomes.get(key, Outcome.STORED) is not Outcome.STORED]
        for key in outdated:
            self._known.shun(key, now_ms)
        for key in self._checked:
            if key not in outdated:
                self._known.refresh(key, now_ms)
        self._recalled = {}
        return set(outdated).issubset(marked)

    def keep(self, write: Add | Cas, value: Storable, now_ms: int) -> None:
        """Know what was stored."""
        if self._known:
            self._known.keep(write.key, write.value, Seen(State.FOUND, value, write.new_cas), now_ms)
