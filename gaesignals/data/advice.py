"""Advice: how a value of a subclass becomes one of a type that is carried, in a way that works in a test as well.

Calling the type is often no way: `str()` of a markup-safe string is one again, and in a test that freezes time
`datetime(...)` makes one of the frozen kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

_CONVERSIONS: Final[Mapping[type[Any], str]] = {
    str: "str.__str__(value)",
    bytes: "bytes(value)",
    int: "int.__int__(value)",
    float: "float(value)",
    list: "list(value)",
    tuple: "tuple(value)",
    dict: "dict(value)",
    set: "set(value)",
    frozenset: "frozenset(list(value))",
    datetime: "datetime.fromisoformat(value.isoformat())",
    date: "date.fromisoformat(value.isoformat())",
    time: "time.fromisoformat(value.isoformat())",
    timedelta: "timedelta(value.days, value.seconds, value.microseconds)",
    Decimal: "Decimal(str(value))",
    Fraction: "Fraction(value.numerator, value.denominator)",
    UUID: "UUID(bytes=value.bytes)",
}


def conversion_of(kind: type[Any]) -> str:
    """What makes a carried value of one of this type, as an expression of `value`; empty where nothing is known."""
    base = next((base for base in kind.__mro__[1:] if base in _CONVERSIONS), None)
    if base is None:
        return ""
    if kind.__name__ == "NaTType":
        return "None"
    for method in ("to_pydatetime", "to_pytimedelta"):
        if hasattr(kind, method):
            return f"value.{method}()"
    if kind.__module__.partition(".")[0] == "freezegun":
        return f"freezegun.api.real_{base.__name__}.fromisoformat(value.isoformat()), or freeze time with time-machine"
    return _CONVERSIONS[base]
