"""Shapes: what data of a declared type looks like on its way, and how it becomes that type again.

A dataclass travels as a plain dict of its fields and an enum as its value, so that what waits can be read without the
classes; everything else travels as the codec carries it. A shape checks exactly: what it takes comes back equal and of
the same types. Reading is lenient where versions of a program differ, and nowhere else: fields that the class does not
know are left out, and those that are missing get their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, ClassVar, Final, Protocol
from uuid import UUID

from gaesignals.errors import DecodeError, InvalidDataError, brief

from .advice import conversion_of

_PLAIN: Final[tuple[type, ...]] = (
    type(None),
    bool,
    str,
    bytes,
    datetime,
    time,
    timedelta,
    Decimal,
    Fraction,
    UUID,
)
SCALARS: Final[Mapping[type, frozenset[type]]] = {
    # What may stand where the first is declared, as for a type checker. It comes back as what it was.
    float: frozenset({float, int, bool}),
    int: frozenset({int, bool}),
    date: frozenset({date, datetime}),
    **{kind: frozenset({kind}) for kind in _PLAIN},
}
_EVERYTHING: Final = frozenset({*SCALARS, list, dict, tuple, set, frozenset})


class Misfit(Exception):
    """A value that is not of its shape; its place is collected from the inside out. Never says what the value is."""

    def __init__(self, reason: str, *place: str) -> None:
        super().__init__(reason)
        self.place = list(place)

    def __str__(self) -> str:
        return f"data{''.join(reversed(self.place))} {self.args[0]}"


class Shape(Protocol):
    """How values of one type are written and read.

    `kinds` are the types that they have as written. `is_plain`: they are written as they are. `is_hashable`: what is
    written can be in a set.
    """

    @property
    def is_plain(self) -> bool: ...

    @property
    def is_hashable(self) -> bool: ...

    @property
    def kinds(self) -> frozenset[type]: ...

    def takes(self, value: object) -> bool:
        """Whether the type of `value` is right, whatever is in it."""

    def write(self, value: Any) -> object:
        """Return what stands for `value`; raise `Misfit`."""

    def read(self, written: Any) -> object:
        """Return the value that `written` stands for; raise `Misfit`."""


def to_plain(shape: Shape, data: object) -> object:
    """Return what is sent for `data`; raise `InvalidDataError`, which names the place, if it is not of this shape."""
    try:
        return shape.write(data)
    except Misfit as misfit:
        raise InvalidDataError(str(misfit)) from None
    except RecursionError:
        raise InvalidDataError("data is nested too deep, or contains itself; send a flatter structure") from None


def from_plain(shape: Shape, plain: object) -> Any:
    """Return the data that `plain` was sent for; raise `DecodeError`, and nothing else, if it cannot be rebuilt."""
    try:
        return shape.read(plain)
    except (Misfit, RecursionError) as error:
        raise DecodeError(f"the data of a message cannot be rebuilt: {error}") from error


def type_name(kind: Any) -> str:
    return "None" if kind is type(None) else getattr(kind, "__qualname__", None) or brief(kind)


def misfit_of(value: object, shape: object) -> Misfit:
    conversion = conversion_of(type(value)) if type(value) not in _EVERYTHING else ""
    advice = f": send {conversion}" if conversion else ""
    return Misfit(f"is of type {type_name(type(value))}; {shape} is declared{advice}")


def placed(place: str, work: Callable[[Any], object], value: object) -> object:
    """Let `work` see a part of a value, and say where it is if it does not fit."""
    try:
        return work(value)
    except Misfit as misfit:
        misfit.place.append(place)
        raise


@dataclass(frozen=True, slots=True)
class Scalar:
    """One of the types that the codec carries as they are; with `values`, one of these only."""

    name: str
    kinds: frozenset[type]
    values: tuple[object, ...] = ()
    is_plain: ClassVar[bool] = True
    is_hashable: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.name

    def takes(self, value: object) -> bool:
        return type(value) in self.kinds

    def write(self, value: object) -> object:
        if not self.takes(value):
            raise misfit_of(value, self)
        if self.values and not any(type(value) is type(one) and value == one for one in self.values):
            raise Misfit(f"is none of the values that are declared: {self}")
        return value

    read = write


@dataclass(frozen=True, slots=True)
class Anything:
    """Undeclared: whatever the codec carries."""

    kinds: ClassVar[frozenset[type]] = _EVERYTHING
    is_plain: ClassVar[bool] = True
    is_hashable: ClassVar[bool] = True

    def __str__(self) -> str:
        return "Any"

    def takes(self, value: object) -> bool:
        return True

    def write(self, value: object) -> object:
        return value

    read = write


@dataclass(frozen=True, slots=True)
class Choice:
    """A member of an enum, which travels as its value."""

    enum: type[Enum]
    is_plain: ClassVar[bool] = False
    is_hashable: ClassVar[bool] = True

    def __str__(self) -> str:
        return type_name(self.enum)

    @property
    def kinds(self) -> frozenset[type]:
        return frozenset(type(member.value) for member in self.enum)

    def takes(self, value: object) -> bool:
        return isinstance(value, self.enum)

    def write(self, value: Enum) -> object:
        if not self.takes(value):
            raise misfit_of(value, self)
        return value.value

    def read(self, written: object) -> object:
        if type(written) not in self.kinds:
            raise misfit_of(written, self)
        try:
            return self.enum(written)
        except Exception as error:  # An enum's own `_missing_` may raise anything.
            raise Misfit(f"is no value of {self}") from error
