"""What every store refuses, in one place, so that a fake refuses what the service would.

Breaking one of these limits is a mistake of the caller and no failure of the service: `TypeError` or `ValueError`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from .store import MAX_BYTES_A_CALL, MAX_KEYS_A_CALL, MAX_VALUE_BYTES, Write

MAX_KEY_BYTES: Final = 250
MAX_TTL_SECONDS: Final = 30 * 24 * 3600
"""Anything longer would be read as a time since 1970, and expire the value at once."""


def checked_keys(keys: Collection[bytes]) -> list[bytes]:
    """Return `keys` without repetitions, all of them usable in one call."""
    unique = list(dict.fromkeys(keys))
    if len(unique) > MAX_KEYS_A_CALL:
        raise ValueError(f"{len(unique)} keys in one call; the limit is {MAX_KEYS_A_CALL}")
    for key in unique:
        _check_key(key)
    return unique


def check_writes(writes: Sequence[Write]) -> None:
    """Check that `writes` can go in one call, each to a key of its own."""
    if len(checked_keys([write.key for write in writes])) != len(writes):
        raise ValueError("two writes of one call are to the same key")
    for write in writes:
        _check_value(write)
    if sum(len(write.value) for write in writes) > MAX_BYTES_A_CALL:
        raise ValueError(f"more than {MAX_BYTES_A_CALL:,} bytes in one call")


def _check_key(key: bytes) -> None:
    if type(key) is not bytes:
        raise TypeError(f"a key is bytes, not {type(key).__name__}")
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes, not {len(key)}")


def _check_value(write: Write) -> None:
    if type(write.value) is not bytes:
        raise TypeError(f"a value is bytes, not {type(write.value).__name__}")
    if len(write.value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value has at most {MAX_VALUE_BYTES:,} bytes, not {len(write.value):,}")
    if type(write.ttl_seconds) is not int:
        raise TypeError(f"an expiry is a whole number of seconds, not {write.ttl_seconds!r}")
    if not 0 <= write.ttl_seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"an expiry is 0 to {MAX_TTL_SECONDS} seconds, not {write.ttl_seconds}")
