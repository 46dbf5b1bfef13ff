"""What a store of pages can do: three verbs over many keys, each one call.

Every answer is told apart for each key. `Failed` always means "unknown": a read that failed says nothing about the key,
a write that failed may have taken effect, and may even take effect later.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from gaesignals.values import value


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What one call to a store can hold, and the largest value of one key."""

    keys: int
    bytes: int
    value_bytes: int
    sure_keys: int = field(init=False)
    """As many keys as fit in a call, however large their values are."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sure_keys", min(self.keys, self.bytes // self.value_bytes))


MEMCACHE_LIMITS: Final = CallLimits(keys=1000, bytes=16 * 2**20, value_bytes=1_000_000)


@value
class Found:
    """A value as it was read, with the id that a later `Cas` of it must name.

    The id is the store's own affair: two of one key are equal where nothing was written between the reads, and that is
    all that may be asked of it.
    """

    value: bytes
    cas: object


class Absent(enum.Enum):
    """Why a read has no value: the key is `MISSING`, or the read `FAILED` and nothing is known."""

    MISSING = "missing"
    FAILED = "failed"


Read: TypeAlias = Found | Absent


@value
class Add:
    """Store `value` if the key does not exist. `ttl_seconds` 0 means no expiry.

    `new_cas` is the id that it is to have, as new as a random number is. None leaves that to the store, as all do but
    those that have `takes_ids`.
    """

    key: bytes
    value: bytes
    ttl_seconds: int = 0
    new_cas: bytes | None = None


@value
class Cas:
    """Store `value` if the key still holds what was read with the id `cas`. `new_cas` is as that of `Add`."""

    key: bytes
    value: bytes
    cas: object
    ttl_seconds: int = 0
    new_cas: bytes | None = None


@value
class Set:
    """Store `value` whatever the key holds."""

    key: bytes
    value: bytes
    ttl_seconds: int = 0


@value
class Check:
    """Store nothing; it is `STORED` if the key still holds what was read with the id `cas`.

    Only for a store that has `takes_ids`.
    """

    key: bytes
    cas: object
    value: bytes = b""
    ttl_seconds: int = 0


Write: TypeAlias = Add | Cas | Set | Check


class Outcome(enum.Enum):
    """What became of one write.

    `CONFLICT`: an `Add` found the key, or a `Cas` or `Check` another value; nothing was written. `MISSING`: a `Cas` or
    `Check` found no key. `FAILED`: unknown.
    """

    STORED = "stored"
    CONFLICT = "conflict"
    MISSING = "missing"
    FAILED = "failed"


class Store(Protocol):
    """Three verbs, each one call to the service, as much at a time as `limits` says.

    None of them raises when the service fails: the keys concerned are answered as failed. A value that is not plain
    bytes of ours is answered as `Found(b"", cas)`, which no decoder accepts.

    A store may have `takes_ids`, which is True where a writer may choose the id that its value gets, eight bytes, and
    knows it therefore without a read, and `Check` is understood.
    """

    @property
    def limits(self) -> CallLimits:
        """What one call can hold. More is a mistake, and raises."""

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        """Read all `keys` in one call."""

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        """Carry out all `writes`, each on a key of its own, in one call; they are not atomic together."""

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        """Delete all `keys` in one call; True where the key is certainly gone."""


MAX_KEY_BYTES: Final = 250
_KEY_TYPES: Final = frozenset({bytes})
_KEY_LENGTHS: Final = frozenset(range(1, MAX_KEY_BYTES + 1))
MAX_TTL_SECONDS: Final = 30 * 24 * 3600
"""Anything longer would be read as a time since 1970, and expire the value at once."""


def checked_keys(keys: Collection[bytes], limits: CallLimits) -> list[bytes]:
    """Return `keys` without repetitions, all of them usable in one call."""
    unique = list(dict.fromkeys(keys))
    if len(unique) > limits.keys:
        raise ValueError(f"{len(unique)} keys in one call; the limit is {limits.keys}")
    if not (_KEY_TYPES.issuperset(map(type, unique)) and _KEY_LENGTHS.issuperset(map(len, unique))):
        raise _unfit(unique)
    return unique


def _unfit(keys: Collection[bytes]) -> Exception:
    """What is wrong with the first of `keys` that cannot be one."""
    for key in keys:
        if type(key) is not bytes:
            return TypeError(f"a key is bytes, not {type(key).__name__}")
        if len(key) not in _KEY_LENGTHS:
            return ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes, not {len(key)}")
    raise AssertionError(keys)


def check_writes(writes: Sequence[Write], limits: CallLimits) -> None:
    """Check that `writes` can go in one call, each to a key of its own."""
    if len(checked_keys([write.key for write in writes], limits)) != len(writes):
        raise ValueError("two writes of one call are to the same key")
    for write in writes:
        _check_value(write, limits)
    if sum([len(write.value) for write in writes]) > limits.bytes:
        raise ValueError(f"more than {limits.bytes:,} bytes in one call")


def _check_value(write: Write, limits: CallLimits) -> None:
    if type(write.value) is not bytes:
        raise TypeError(f"a value is bytes, not {type(write.value).__name__}")
    if len(write.value) > limits.value_bytes:
        raise ValueError(f"a value has at most {limits.value_bytes:,} bytes, not {len(write.value):,}")
    if type(write.ttl_seconds) is not int:
        raise TypeError(f"an expiry is a whole number of seconds, not {write.ttl_seconds!r}")
    if not 0 <= write.ttl_seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"an expiry is 0 to {MAX_TTL_SECONDS} seconds, not {write.ttl_seconds}")
