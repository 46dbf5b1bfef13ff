"""A user's data to and from what plain CBOR carries: the types that README lists under "Send", each exactly.

`pack` refuses what `unpack` could not give back with its type and value, subclasses included, and says where it is.

Some values keep their worth and lose a detail: an aware datetime or time keeps its instant, its UTC offset and nothing
else of its zone (`ZoneInfo("Europe/Paris")` comes back as `timezone(timedelta(hours=1))`), and an object that appears
twice in the data comes back as two equal ones.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from cbor2 import CBORTag

from gaesignals.errors import InvalidDataError

from .advice import conversion_of
from .bounds import MAX_DEPTH, MAX_INTEGER_BITS, MAX_KEYS, trouble_with_keys

# What plain CBOR lacks or leaves open has a tag of ours. The tags that CBOR decoders know (times, patterns, addresses,
# shared references) are not used at all: what they turn into is up to the decoder and its version.
TUPLE, SET, FROZENSET, PAIRS = 26480, 26481, 26482, 26483
DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID_, FRACTION = 26484, 26485, 26486, 26487, 26488, 26489, 26490

_AS_THEY_ARE: Final = frozenset({type(None), bool, float})
# Nobody can choose the hashes of these. Other keys travel in a tag, and are looked at before a dict is made of them.
PLAIN_KEYS: Final = frozenset({str, bytes})


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
        kind = type(value)
        if kind in _SCALARS:
            size, packer = _SCALARS[kind]
            self.take(1 + size(value))
            return packer(value)
        self.take(1)
        if kind in _AS_THEY_ARE:
            return value
        if kind in _CONTAINERS:
            if depth >= MAX_DEPTH:
                raise InvalidDataError(
                    f"data is nested more than {MAX_DEPTH} deep, or contains itself; send a flatter structure"
                )
            return _CONTAINERS[kind](self, value, depth + 1)
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

    def elements(self, values: Collection[object], depth: int) -> list[object]:
        _check_sent_keys(values)
        packed = self.named(values, depth, "<element {}>", values)
        _check_moments(values)
        return packed

    def mapping(self, values: dict[object, object], depth: int) -> object:
        is_plain = PLAIN_KEYS.issuperset(map(type, values))
        if not is_plain or len(values) > MAX_KEYS:
            _check_sent_keys(values)
        keys = self.named(values, depth, "<key {}>", values)
        if not is_plain:
            _check_moments(values)
        items = self.named(values.values(), depth, "[{}]", values)
        return dict(zip(keys, items, strict=True)) if is_plain else CBORTag(PAIRS, [keys, items])

    def named(self, values: Iterable[object], depth: int, place: str, keys: Iterable[object]) -> list[object]:
        """Pack `values`; the place of one that is refused names that one of `keys` which stands where it does."""
        packed: list[object] = []
        try:
            for value in values:
                packed.append(self.pack(value, depth))
        except _Refused as refused:
            refused.place.append(place.format(shown(list(keys)[len(packed)])))
            raise
        return packed


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
    base = next((base for base in kind.__mro__[1:] if base in _CONTAINERS or base in _SCALARS or base is float), None)
    if issubclass(kind, enum.Enum):
        advice = "which would not come back as one: send its .value"
    elif kind in (bytearray, memoryview):
        advice = "which would come back as bytes: send bytes(...) of it"
    elif base is not None:
        advice = f"which would come back as a plain {base.__name__}: send {conversion_of(kind)}"
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
    return CBORTag(DATETIME, _packed_moment(value))


def _pack_time(value: time) -> CBORTag:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise _Refused("is a time whose zone has no UTC offset without a date: send a datetime, or a naive time")
    return CBORTag(TIME, _packed_moment(value))


def _packed_moment(value: datetime | time) -> list[object]:
    # The offset is kept apart from the text, since fromisoformat() drops one that is shorter than a second.
    offset = value.utcoffset()
    offset_us = None if offset is None else offset // timedelta(microseconds=1)
    return [value.replace(tzinfo=None).isoformat(), value.fold, offset_us]


def _pack_timedelta(value: timedelta) -> CBORTag:
    return CBORTag(TIMEDELTA, [value.days, value.seconds, value.microseconds])


def _pack_int(value: int) -> int:
    if value.bit_length() > MAX_INTEGER_BITS:
        raise _Refused(f"is an int of more than {MAX_INTEGER_BITS:,} bits: send it as bytes, or a rounded value")
    return value


def _pack_fraction(value: Fraction) -> CBORTag:
    if _bits(value.numerator, value.denominator) > MAX_INTEGER_BITS:
        raise _Refused(f"is a Fraction of more than {MAX_INTEGER_BITS:,} bits a side: send a rounded value")
    return CBORTag(FRACTION, [value.numerator, value.denominator])


def _bits(*values: int) -> int:
    return max(value.bit_length() for value in values)


def _check_sent_keys(keys: Collection[object]) -> None:
    reason = trouble_with_keys(keys)
    if reason:
        raise _Refused(f"has {reason}: send a list in place of it")


def _check_moments(keys: Collection[object]) -> None:
    """Of an hour that a clock change repeats, zones keep moments apart that are one when they come back."""
    moments = [_moment(key) for key in keys if type(key) in _MAY_HAVE_ZONES]
    if len(set(moments)) != len(moments):
        raise _Refused(
            "has two keys that are one moment, in an hour that a clock change repeats: use datetimes in UTC as keys"
        )


def _moment(key: Any) -> object:
    """The key as it comes back, with an offset in place of a zone."""
    if type(key) is tuple or type(key) is frozenset:
        return type(key)(map(_moment, key))
    offset = key.utcoffset() if type(key) in (datetime, time) else None
    return key if offset is None else key.replace(tzinfo=timezone(offset))


_MAY_HAVE_ZONES: Final = frozenset({datetime, time, tuple, frozenset})


def _one(value: object) -> int:
    return 1


_CONTAINERS: Final[dict[type, Callable[[_Packer, Any, int], object]]] = {
    list: _Packer.items,
    dict: _Packer.mapping,
    tuple: lambda packer, value, depth: CBORTag(TUPLE, packer.items(value, depth)),
    set: lambda packer, value, depth: CBORTag(SET, packer.elements(value, depth)),
    frozenset: lambda packer, value, depth: CBORTag(FROZENSET, packer.elements(value, depth)),
}
_SCALARS: Final[dict[type, tuple[Callable[[Any], int], Callable[[Any], object]]]] = {
    str: (len, _pack_str),
    bytes: (len, lambda value: value),
    int: (lambda value: value.bit_length() // 8, _pack_int),
    datetime: (_one, _pack_datetime),
    date: (_one, lambda value: CBORTag(DATE, value.isoformat())),
    time: (_one, _pack_time),
    timedelta: (_one, _pack_timedelta),
    Decimal: (lambda value: len(value.as_tuple().digits), lambda value: CBORTag(DECIMAL, str(value))),
    Fraction: (lambda value: value.denominator.bit_length() // 8, _pack_fraction),
    UUID: (_one, lambda value: CBORTag(UUID_, value.bytes)),
}
