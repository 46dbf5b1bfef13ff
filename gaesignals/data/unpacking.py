"""What plain CBOR carried, back as the data that was sent.

`unpack` takes nothing for granted: a value that `pack` could not have made raises one of the built-in errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from cbor2 import CBORTag

from .bounds import MAX_INTEGER_BITS, MAX_KEYS, trouble_with_keys
from .packing import (
    DATE,
    DATETIME,
    DECIMAL,
    FRACTION,
    FROZENSET,
    PAIRS,
    PLAIN_KEYS,
    SET,
    TIME,
    TIMEDELTA,
    TUPLE,
    UUID_,
)

_PLAIN: Final = frozenset({type(None), bool, float, str, bytes})


def unpack(value: Any) -> Any:
    """Return the data that `pack` made `value` from; raise a built-in error if it cannot have made it."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return _unpack_int(value)
    if kind is CBORTag:
        unpacker = _UNPACKERS.get(value.tag)
        if unpacker is None:
            raise ValueError(f"tag {value.tag} is not one of ours")
        return unpacker(value.value)
    if kind is list or kind is tuple:  # inside a tag, CBOR's decoder makes tuples of lists and frozen dicts of dicts
        return _unpack_items(value)
    if kind is dict or isinstance(value, Mapping):
        return _unpack_map(value)
    raise ValueError(f"{kind.__name__} is not a type of ours")


def _unpack_map(value: Mapping[Any, Any]) -> dict[Any, Any]:
    if len(value) > MAX_KEYS:
        raise ValueError("a map has too many keys")
    unpacked = {}
    for key, item in value.items():
        if type(key) not in PLAIN_KEYS:
            raise ValueError("a map has a key that is not plain")
        unpacked[key] = item if type(item) in _PLAIN else unpack(item)
    return unpacked


def _unpack_items(values: Any) -> list[Any]:
    if type(values) is not list and type(values) is not tuple:
        raise ValueError("a tag does not hold a list")
    return [value if type(value) in _PLAIN else unpack(value) for value in values]


def _unpack_int(value: Any) -> int:
    if type(value) is not int or value.bit_length() > MAX_INTEGER_BITS:
        raise ValueError("not an integer, or one that is too large")
    return value


def _unpack_keys(value: Any) -> list[Any]:
    keys = _unpack_items(value)
    reason = trouble_with_keys(keys)
    if reason:
        raise ValueError(f"a set or map has {reason}")
    return keys


def _unpack_pairs(value: Any) -> dict[Any, Any]:
    keys, items = value
    keys, items = _unpack_keys(keys), _unpack_items(items)
    unpacked = dict(zip(keys, items, strict=True))
    if len(unpacked) != len(keys):
        raise ValueError("a map has the same key twice")
    return unpacked


def _unpack_fraction(value: Any) -> Fraction:
    numerator, denominator = _unpack_items(value)
    return Fraction(_unpack_int(numerator), _unpack_int(denominator))


def _unpack_uuid(value: Any) -> UUID:
    # UUID() asserts what it does not check, and takes any sixteen small integers.
    if type(value) is not bytes or len(value) != 16:
        raise ValueError("a UUID is not of 16 bytes")
    return UUID(bytes=value)


def _unpack_moment(value: Any, kind: type[datetime] | type[time]) -> datetime | time:
    text, fold, offset_us = _unpack_items(value)
    zone = None if offset_us is None else timezone(timedelta(microseconds=offset_us))
    return kind.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _unpack_timedelta(value: Any) -> timedelta:
    days, seconds, microseconds = _unpack_items(value)
    return timedelta(days, seconds, microseconds)


def _unpack_decimal(value: Any) -> Decimal:
    if type(value) is not str:
        raise ValueError("a decimal is not text")
    return Decimal(value)


_UNPACKERS: Final[dict[int, Callable[[Any], Any]]] = {
    TUPLE: lambda value: tuple(_unpack_items(value)),
    SET: lambda value: set(_unpack_keys(value)),
    FROZENSET: lambda value: frozenset(_unpack_keys(value)),
    PAIRS: _unpack_pairs,
    DATETIME: lambda value: _unpack_moment(value, datetime),
    DATE: date.fromisoformat,
    TIME: lambda value: _unpack_moment(value, time),
    TIMEDELTA: _unpack_timedelta,
    DECIMAL: _unpack_decimal,
    UUID_: _unpack_uuid,
    FRACTION: _unpack_fraction,
}
