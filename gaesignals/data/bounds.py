"""How deep, how long and how alike data may be: what keeps reading it from taking for ever, whoever wrote it.

Senders are held to the same bounds, so that nothing is refused that was sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

MAX_DEPTH: Final = 64
MAX_INTEGER_BITS: Final = 80_000
"""Of an int and of each side of a Fraction. Larger ones take seconds to reduce to lowest terms, or to compare."""
MAX_KEYS: Final = 10_000
"""Of a set or a dict."""
MAX_COMPARISONS: Final = 100_000
"""Of the keys of a set or dict that have the same hash, which Python compares one with another."""


def trouble_with_keys(keys: Collection[object]) -> str:
    """Say why a set or dict of `keys` might take long to make; empty if it does not."""
    if len(keys) > MAX_KEYS:
        return f"more than {MAX_KEYS:,} keys"
    if _comparisons(keys) > MAX_COMPARISONS:
        return "too many keys of the same hash"
    return ""


def _comparisons(keys: Collection[object]) -> int:
    """At most how many comparisons it takes to make a set of `keys`.

    Anybody can choose numbers of the same hash. Honest ones hardly ever have it, but for -1 and -2 and tuples of them.
    """
    if len(set(map(hash, keys))) == len(keys):
        return 0
    alike = Counter(map(hash, keys))
    return sum(alike[hash(key)] * _size(key) for key in keys if alike[hash(key)] > 1)


def _size(key: Any) -> int:
    """At most how many comparisons it takes to tell `key` from another of its hash."""
    if type(key) is tuple:
        return sum(map(_size, key), start=1)
    if type(key) is frozenset:
        alike = Counter(map(hash, key))
        return sum((alike[hash(each)] * _size(each) for each in key), start=1)
    return 1
