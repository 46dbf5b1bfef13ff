"""Declarations: from a type as it is written in a program to the shape of its data.

Whatever could not be carried and rebuilt is refused here, when a signal is declared, and not when one is sent.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, TypeVar, Union

from gaesignals.errors import InvalidOptionError, brief

from .containers import Alternatives, Field, Fields, Keys, Row, Series, Table
from .shape import SCALARS, Anything, Choice, Scalar, Shape, type_name

_BARE: Final[Mapping[Any, tuple[Any, ...]]] = {
    list: (Any,),
    set: (Any,),
    frozenset: (Any,),
    tuple: (Any, ...),
    dict: (Any, Any),
}
_ENUM_VALUES: Final = frozenset({bool, int, float, str, bytes})


class _RefusedError(Exception):
    """A type that cannot be carried; says why."""


def shape_of(data_type: Any) -> Shape:
    """Return the shape of `data_type`; raise `InvalidOptionError` for one that cannot be carried."""
    try:
        hash(data_type)
    except TypeError:
        raise InvalidOptionError(f"data_type={brief(data_type)} cannot be: give a type, such as a dataclass") from None
    return _shape_of(data_type)


@functools.lru_cache(maxsize=1024)
def _shape_of(data_type: Any) -> Shape:
    try:
        return _Declaration().shape(data_type)
    except _RefusedError as error:
        raise InvalidOptionError(f"data_type={type_name(data_type)} cannot be: {error}") from None
    except RecursionError:
        raise InvalidOptionError(
            f"data_type={type_name(data_type)} cannot be: it is defined by itself; let a dataclass stand in between"
        ) from None


class _Declaration:
    """The reading of one declaration. Knows the classes met so far, which may contain themselves."""

    def __init__(self) -> None:
        self._known: dict[type[Any], Fields | Keys] = {}

    def shape(self, hint: Any) -> Shape:
        origin = typing.get_origin(hint)
        if hint is Any or hint is object:
            return Anything()
        if hint is None or hint in SCALARS:
            kind = type(None) if hint is None else hint
            return Scalar(type_name(kind), SCALARS[kind])
        if origin is Literal:
            return self._literal(typing.get_args(hint))
        if origin in (Union, types.UnionType):
            return self._union([self.shape(part) for part in typing.get_args(hint)])
        if (origin or hint) in _BARE:
            return self._container(origin or hint, typing.get_args(hint), is_bare=origin is None)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return self._choice(hint)
        if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or _is_named_tuple(hint)):
            return self._known.get(hint) or self._fields(hint)
        if _is_typed_dict(hint):
            return self._known.get(hint) or self._keys(hint)
        return self.shape(self._named(hint))

    def _named(self, hint: Any) -> Any:
        """What a NewType, an alias or an annotated type stands for."""
        for attribute in ("__supertype__", "__value__"):
            if hasattr(hint, attribute):
                return getattr(hint, attribute)
        if typing.get_origin(hint) is typing.Annotated:
            return hint.__origin__
        known = ", ".join(sorted(type_name(kind) for kind in (*SCALARS, *_BARE)))
        raise _RefusedError(
            f"{brief(hint)} is no type that can be carried; use a dataclass, a NamedTuple, a TypedDict, an enum, Any "
            f"or one of {known}"
        )

    def _literal(self, values: Sequence[object]) -> Shape:
        for value in values:
            if type(value) not in SCALARS:
                raise _RefusedError(f"Literal[{brief(value)}] is not of plain values; declare the type itself")
        name = f"Literal[{', '.join(map(brief, values))}]"
        return Scalar(name, frozenset(type(value) for value in values), tuple(values))

    def _union(self, shapes: Sequence[Shape]) -> Shape:
        for number, one in enumerate(shapes):
            for other in shapes[:number]:
                if one.kinds & other.kinds and not (one.is_plain and other.is_plain):
                    raise _RefusedError(
                        f"{other} and {one} could not be told apart on their way; use one dataclass that has both"
                    )
        return Alternatives(tuple(shapes))

    def _container(self, kind: type[Any], arguments: tuple[Any, ...], *, is_bare: bool) -> Shape:
        if is_bare:
            arguments = _BARE[kind]
        elif arguments == ((),):  # of tuple[()], before Python 3.11
            arguments = ()
        if kind is dict:
            key, item = map(self.shape, arguments)
            if not key.is_hashable:
                raise _RefusedError(f"{key} cannot be the key of a dict; use a list of pairs")
            return Table(key, item)
        if kind is tuple and arguments[1:] != (...,):
            return Row(tuple(map(self.shape, arguments)))
        return Series(kind, self.shape(arguments[0]))

    def _choice(self, enum: type[Enum]) -> Shape:
        for member in enum:
            if type(member.value) not in _ENUM_VALUES:
                raise _RefusedError(
                    f"{member} has a value of type {type_name(type(member.value))}; the values of an enum that is "
                    "sent are str, int, float, bool or bytes"
                )
        return Choice(enum)

    def _fields(self, cls: type[Any]) -> Shape:
        fields: dict[str, Field] = {}
        known = self._known[cls] = Fields(cls, fields)
        hints = _hints(cls)
        for name, is_required in _declared_fields(cls):
            fields[name] = Field(self._field(cls, name, hints.get(name, Any)), is_required)
        _check_call(cls, fields)
        return known

    def _keys(self, cls: type[Any]) -> Shape:
        keys: dict[str, Field] = {}
        known = self._known[cls] = Keys(cls, keys)
        for name, hint in _hints(cls).items():
            is_required = name in cls.__required_keys__
            while getattr(typing.get_origin(hint), "_name", None) in ("Required", "NotRequired", "ReadOnly"):
                marker = typing.get_origin(hint)._name
                is_required = is_required if marker == "ReadOnly" else marker == "Required"
                (hint,) = typing.get_args(hint)
            keys[name] = Field(self._field(cls, name, hint), is_required)
        return known

    def _field(self, cls: type[Any], name: str, hint: Any) -> Shape:
        try:
            return self.shape(hint)
        except _RefusedError as error:
            raise _RefusedError(f"{cls.__qualname__}.{name}: {error}") from None


def _is_named_tuple(hint: type[Any]) -> bool:
    return issubclass(hint, tuple) and hasattr(hint, "_fields") and hasattr(hint, "_field_defaults")


def _is_typed_dict(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__required_keys__")


def _declared_fields(cls: type[Any]) -> Iterator[tuple[str, bool]]:
    """The fields that the class is called with, and whether they have to be given."""
    if not dataclasses.is_dataclass(cls):
        yield from ((name, name not in cls._field_defaults) for name in cls._fields)
        return
    for field in dataclasses.fields(cls):
        if field.init:
            yield (
                field.name,
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            )


def _hints(cls: type[Any]) -> dict[str, Any]:
    _refuse_init_vars(cls)
    try:
        # With their extras, since what a TypedDict requires is one. Others are looked through anyway.
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:  # noqa: BLE001 - whatever looking up an application's names may raise
        raise _RefusedError(
            f"the types of {cls.__qualname__}'s fields cannot be looked up ({error}); "
            "declare it and them at the top of a module, and import them at run time"
        ) from None
    if any(isinstance(hint, TypeVar) for hint in hints.values()):
        raise _RefusedError(f"{cls.__qualname__} is generic; use a class whose types are given")
    return hints


def _refuse_init_vars(cls: type[Any]) -> None:
    """Before the types are looked up: that fails for an InitVar on Python 3.10."""
    if not dataclasses.is_dataclass(cls):
        return
    kept = {field.name for field in dataclasses.fields(cls)}
    for name in inspect.signature(cls).parameters:
        if name in cls.__dataclass_fields__ and name not in kept:
            raise _RefusedError(f"{cls.__qualname__}.{name} is an InitVar, which an instance does not keep")


def _check_call(cls: type[Any], fields: dict[str, Field]) -> None:
    """A class with an `__init__` of its own may not take its fields."""
    try:
        inspect.signature(cls).bind(**dict.fromkeys(fields))
    except TypeError as error:
        raise _RefusedError(f"{cls.__qualname__}(...) does not take its fields as keywords ({error})") from None
