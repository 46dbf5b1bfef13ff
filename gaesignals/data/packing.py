"""A user's data to and from what plain CBOR carries: the types that README lists under "Send", each exactly.

`pack` refuses what `unpack` could not give back with its type and value, subclasses included, and says where it is.
`unpack` takes nothing for granted: a value that `pack` could not have made raises one of the built-in errors.

Some values keep their worth and lose a detail: an aware datetime or time keeps its instant, its UTC offset and nothing
else of its zone (`ZoneInfo("Europe/Paris")` comes back as `timezone(timedelta(hours=1))`), and an object that appears
twice in the data comes back as two equal ones.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from cbor2 import CBORTag

from gaesignals.errors import InvalidDataError

MAX_DEPTH: Final = 64
MAX_FRACTION_BITS: Final = 80_000
"""Larger ones take seconds to reduce to lowest terms, which unpacking has to do."""

# What plain CBOR lacks or leaves open has a tag of ours. The tags that CBOR decoders know (times, patterns, addresses,
# shared references) are not used at all: what they turn into is up to the decoder and its version.
_TUPLE, _SET, _FROZENSET, _PAIRS = 26480, 26481, 26482, 26483
_DATETIME, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID, _FRACTION = 26484, 26485, 26486, 26487, 26488, 26489, 26490

_AS_THEY_ARE: Final = frozenset({type(None), bool, float})
_PLAIN_KEYS: Final = frozenset({type(None), bool, int, float, str, bytes})


def pack(data: object, *, max_bytes: int) -> object:
    """Return `data` as None, bool, int, float, str, bytes, list, dict and tags of ours.

    Raises `InvalidDataError` for a type that would not come back as it is, with its place (`data["user"][3]`), and for
    what is nested more than `MAX_DEPTH` deep, contains itself or is certain to take more than `max_bytes`.
    """
    try:
        return _Packer(max_bytes).pack(data, 0)
    except _Refused as refused:
        raise InvalidDataError(f"data{''.join(reversed(refused.place))} {refused}") from None
    except RecursionError:
        raise InvalidDataError("there is too little room on the stack to encode data as deeply nested") from None


class _Refused(Exception):
    """A value that cannot be carried; its place is collected from the inside out, as the containers unwind."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.place: list[str] = []


class _Packer:
    """The packing of one value. It keeps count, so that parts that are shared many times over cannot multiply."""

    __slots__ = ("max_bytes", "room")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = self.room = max_bytes

    def pack(self, value: Any, depth: int) -> object:
        self.take(1)
        kind = type(value)
        if kind in _AS_THEY_ARE:
            return value
        if kind in _CONTAINERS:
            if depth >= MAX_DEPTH:
                raise InvalidDataError(
                    f"data is nested more than {MAX_DEPTH} deep, or contains itself; send a flatter structure"
                )
            return _CONTAINERS[kind](self, value, depth + 1)
        if kind in _SCALARS:
            size, packer = _SCALARS[kind]
            self.take(size(value))
            return packer(value)
        raise _refusal(kind)

    def take(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise InvalidDataError(too_large(self.max_bytes))

    def items(self, values: Iterable[object], depth: int) -> list[object]:
        packed: list[object] = []
        try:
            for value in values:
                packed.append(self.pack(value, depth))
        except _Refused as refused:
            refused.place.append(f"[{len(packed)}]")
            raise
        return packed

    def elements(self, values: Iterable[object], depth: int) -> list[object]:
        return [self.named(value, depth, "<element {}>", value) for value in values]

    def mapping(self, values: dict[object, object], depth: int) -> object:
        keys = [self.named(key, depth, "<key {}>", key) for key in values]
        items = [self.named(value, depth, "[{}]", key) for key, value in values.items()]
        if all(type(key) in _PLAIN_KEYS for key in values):
            return dict(zip(keys, items, strict=True))
        return CBORTag(_PAIRS, [keys, items])

    def named(self, value: object, depth: int, place: str, key: object) -> object:
        try:
            return self.pack(value, depth)
        except _Refused as refused:
            refused.place.append(place.format(shown(key)))
            raise


def too_large(max_bytes: int) -> str:
    return f"data takes more than {max_bytes:,} bytes; store it elsewhere and send the key under which it can be found"


def shown(key: object) -> str:
    """A key as it stands in the place that an error names."""
    try:
        text = json.dumps(key) if type(key) is str else repr(key)
    except ValueError:  # an integer of thousands of digits
        text = "..."
    return text if len(text) <= 60 else f"{text[:60]}..."


def _refusal(kind: type) -> _Refused:
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    base = next((base for base in kind.__mro__[1:] if base in _CONTAINERS or base in _SCALARS), None)
    if issubclass(kind, enum.Enum):
        advice = "which would not come back as one: send its .value"
    elif kind in (bytearray, memoryview):
        advice = "which would come back as bytes: send bytes(...) of it"
    elif base is not None:
        advice = f"which would come back as a plain {base.__name__}: convert it to one first"
    elif dataclasses.is_dataclass(kind):
        advice = "a dataclass, which is carried where it is declared: Signal(..., data_type=...); or send a dict"
    else:
        carried = ", ".join(sorted({known.__name__ for known in (*_SCALARS, *_CONTAINERS)}))
        advice = f"which cannot be carried: convert it to one of None, bool, float, {carried}"
    return _Refused(f"is of type {name}, {advice}")


def _pack_str(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Refused("is text with a lone surrogate, which UTF-8 cannot express: send it as bytes") from None
    return value


def _pack_datetime(value: datetime) -> CBORTag:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise _Refused("is a datetime whose tzinfo gives no UTC offset: use another tzinfo, or none")
    return CBORTag(_DATETIME, _packed_moment(value))


def _pack_time(value: time) -> CBORTag:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise _Refused("is a time whose zone has no UTC offset without a date: send a datetime, or a naive time")
    return CBORTag(_TIME, _packed_moment(value))


def _packed_moment(value: datetime | time) -> list[object]:
    # The offset is kept apart from the text, since fromisoformat() drops one that is shorter than a second.
    offset = value.utcoffset()
    offset_us = None if offset is None else offset // timedelta(microseconds=1)
    return [value.replace(tzinfo=None).isoformat(), value.fold, offset_us]


def _pack_timedelta(value: timedelta) -> CBORTag:
    return CBORTag(_TIMEDELTA, [value.days, value.seconds, value.microseconds])


def _pack_fraction(value: Fraction) -> CBORTag:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_FRACTION_BITS:
        raise _Refused(f"is a Fraction of more than {MAX_FRACTION_BITS:,} bits a side: send a rounded value")
    return CBORTag(_FRACTION, [value.numerator, value.denominator])


def _one(value: object) -> int:
    return 1


_CONTAINERS: Final[dict[type, Callable[[_Packer, Any, int], object]]] = {
    list: _Packer.items,
    dict: _Packer.mapping,
    tuple: lambda packer, value, depth: CBORTag(_TUPLE, packer.items(value, depth)),
    set: lambda packer, value, depth: CBORTag(_SET, packer.elements(value, depth)),
    frozenset: lambda packer, value, depth: CBORTag(_FROZENSET, packer.elements(value, depth)),
}
_SCALARS: Final[dict[type, tuple[Callable[[Any], int], Callable[[Any], object]]]] = {
    str: (len, _pack_str),
    bytes: (len, lambda value: value),
    int: (lambda value: value.bit_length() // 8, lambda value: value),
    datetime: (_one, _pack_datetime),
    date: (_one, lambda value: CBORTag(_DATE, value.isoformat())),
    time: (_one, _pack_time),
    timedelta: (_one, _pack_timedelta),
    Decimal: (lambda value: len(value.as_tuple().digits), lambda value: CBORTag(_DECIMAL, str(value))),
    Fraction: (lambda value: value.denominator.bit_length() // 8, _pack_fraction),
    UUID: (_one, lambda value: CBORTag(_UUID, value.bytes)),
}


def unpack(value: Any) -> Any:
    """Return the data that `pack` made `value` from; raise a built-in error if it cannot have made it."""
    kind = type(value)
    if kind in _PLAIN_KEYS:
        return value
    if kind is CBORTag:
        unpacker = _UNPACKERS.get(value.tag)
        if unpacker is None:
            raise ValueError(f"tag {value.tag} is not one of ours")
        return unpacker(value.value)
    if kind is list or kind is tuple:  # inside a tag, CBOR's decoder makes tuples of lists and frozen dicts of dicts
        return _unpack_items(value)
    if isinstance(value, Mapping):
        if not all(type(key) in _PLAIN_KEYS for key in value):
            raise ValueError("a map has a key that is not plain")
        return {key: unpack(item) for key, item in value.items()}
    raise ValueError(f"{kind.__name__} is not a type of ours")


def _unpack_items(values: Any) -> list[Any]:
    if type(values) is not list and type(values) is not tuple:
        raise ValueError("a tag does not hold a list")
    return [unpack(value) for value in values]


def _unpack_pairs(value: Any) -> dict[Any, Any]:
    keys, items = _unpack_items(value)
    unpacked = dict(zip(keys, items, strict=True))
    if len(unpacked) != len(keys):
        raise ValueError("a map has the same key twice")
    return unpacked


def _unpack_fraction(value: Any) -> Fraction:
    numerator, denominator = _unpack_items(value)
    if type(numerator) is not int or type(denominator) is not int:
        raise ValueError("a fraction is not of integers")
    if max(numerator.bit_length(), denominator.bit_length()) > MAX_FRACTION_BITS:
        raise ValueError("a fraction is too large")
    return Fraction(numerator, denominator)


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
    _TUPLE: lambda value: tuple(_unpack_items(value)),
    _SET: lambda value: set(_unpack_items(value)),
    _FROZENSET: lambda value: frozenset(_unpack_items(value)),
    _PAIRS: _unpack_pairs,
    _DATETIME: lambda value: _unpack_moment(value, datetime),
    _DATE: date.fromisoformat,
    _TIME: lambda value: _unpack_moment(value, time),
    _TIMEDELTA: _unpack_timedelta,
    _DECIMAL: _unpack_decimal,
    _UUID: lambda value: UUID(bytes=value),
    _FRACTION: _unpack_fraction,
}
