"""Memcache in memory, for tests, with its exact semantics.

This includes what makes them hard: values expire, are evicted at any time, and a call may fail before it took effect or
after.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from gaesignals.values import value

from .store import (
    MEMCACHE_LIMITS,
    Absent,
    Add,
    Cas,
    Check,
    Found,
    Outcome,
    Read,
    Set,
    Write,
    check_writes,
    checked_keys,
)


@dataclass(slots=True)
class Call:
    """One call to a `MemoryStore`: `verb` is `gets`, `write` or `delete`; bytes are those of keys and values."""

    verb: str
    keys: tuple[bytes, ...]
    writes: tuple[Write, ...] = ()
    answers: Mapping[bytes, object] = field(default_factory=dict)

    @property
    def sent_bytes(self) -> int:
        return sum(map(len, self.keys)) + sum(len(write.value) for write in self.writes)

    @property
    def received_bytes(self) -> int:
        return sum(len(answer.value) for answer in self.answers.values() if isinstance(answer, Found))


T = TypeVar("T")
Hook: TypeAlias = Callable[[Call], Collection[bytes] | None]
"""Sees a call and returns the keys for which it fails, if any. What it raises, the call raises."""


@value
class _Item:
    value: bytes
    cas: object
    expires_at: float | None
    is_foreign: bool = False


class MemoryStore:
    """Memcache in this process's memory. Safe in threads.

    `calls` lists every call that was made. `before` runs before a call takes effect: the keys that it returns are left
    as they are and answered as failed. `after` runs when it took effect: the keys that it returns are answered as
    failed all the same. A hook may use the store itself, to play somebody else who comes in between, and an exception
    that it raises stands for a process that dies at this point. With `takes_ids` a writer may choose the ids of its
    values, as it may with `ValkeyStore`.
    """

    limits = MEMCACHE_LIMITS

    def __init__(self, *, clock: Callable[[], float] = time.time, takes_ids: bool = False) -> None:
        self.takes_ids = takes_ids
        self.calls: list[Call] = []
        self.before: Hook | None = None
        self.after: Hook | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._items: dict[bytes, _Item] = {}
        self._cas_ids = itertools.count(1)

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        wanted = checked_keys(keys, self.limits)
        if not wanted:
            return {}
        return self._call(Call("gets", tuple(wanted)), self._read, Absent.FAILED)

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        check_writes(writes, self.limits)
        if not writes:
            return {}
        by_key = {write.key: write for write in writes}
        call = Call("write", tuple(by_key), tuple(writes))
        return self._call(call, lambda key: self._write(by_key[key]), Outcome.FAILED)

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        wanted = checked_keys(keys, self.limits)
        if not wanted:
            return {}
        return self._call(Call("delete", tuple(wanted)), self._delete, False)

    def evict(self, which: Collection[bytes] | Callable[[bytes], bool]) -> list[bytes]:
        """Forget these keys, or those for which the predicate holds; return what was there."""
        with self._lock:
            evicted = [key for key in self._items if (which(key) if callable(which) else key in which)]
            for key in evicted:
                del self._items[key]
        return evicted

    def flush(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()

    def set_raw(self, key: bytes, value: bytes, *, ttl_seconds: int = 0, is_foreign: bool = False) -> None:
        """Plant a value, outside all calls; a foreign one is not plain bytes, as a pickled value is not."""
        with self._lock:
            self._store(Set(key, value, ttl_seconds), is_foreign=is_foreign)

    def raw(self, key: bytes) -> bytes | None:
        """Return the value of `key`, outside all calls."""
        with self._lock:
            item = self._live(key)
        return None if item is None else item.value

    def ttl_seconds(self, key: bytes) -> float | None:
        """Return the time that `key` has left, or None where it is missing or does not expire."""
        with self._lock:
            item = self._live(key)
        return None if item is None or item.expires_at is None else item.expires_at - self._clock()

    def keys(self) -> list[bytes]:
        """Return the keys that exist, outside all calls."""
        with self._lock:
            return [key for key in list(self._items) if self._live(key)]

    def _call(self, made: Call, effect: Callable[[bytes], T], failed: T) -> dict[bytes, T]:
        """Let `effect` happen to the keys of a call, in turn; the answer of those that its hooks return is `failed`."""
        try:
            untouched = (self.before and self.before(made)) or ()
            with self._lock:
                made.answers = answers = {key: failed if key in untouched else effect(key) for key in made.keys}
            unanswered = (self.after and self.after(made)) or ()
        finally:
            self.calls.append(made)
        return answers | {key: failed for key in made.keys if key in unanswered} if unanswered else answers

    def _live(self, key: bytes) -> _Item | None:
        item = self._items.get(key)
        if item is not None and item.expires_at is not None and self._clock() >= item.expires_at:
            del self._items[key]
            return None
        return item

    def _read(self, key: bytes) -> Read:
        item = self._live(key)
        if item is None:
            return Absent.MISSING
        return Found(b"" if item.is_foreign else item.value, item.cas)

    def _delete(self, key: bytes) -> bool:
        self._items.pop(key, None)
        return True

    def _write(self, write: Write) -> Outcome:
        item = self._live(write.key)
        if isinstance(write, Add) and item is not None:
            return Outcome.CONFLICT
        if isinstance(write, (Cas, Check)):
            if item is None:
                return Outcome.MISSING
            if item.cas != write.cas:
                return Outcome.CONFLICT
        if not isinstance(write, Check):
            self._store(write)
        return Outcome.STORED

    def _store(self, write: Add | Cas | Set, *, is_foreign: bool = False) -> None:
        expires_at = self._clock() + write.ttl_seconds if write.ttl_seconds else None
        new_cas = None if isinstance(write, Set) else write.new_cas
        self._items[write.key] = _Item(write.value, new_cas or next(self._cas_ids), expires_at, is_foreign)
