"""The shapes of what has parts: lists, tuples, sets, dicts, dataclasses, and a choice of several shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .packing import shown
from .shape import Misfit, Shape, misfit_of, placed, type_name


@dataclass(frozen=True, slots=True)
class Series:
    """A list, a set, a frozenset or a tuple of any length.

    A set of what cannot be in one as it is written is written as a list.
    """

    kind: type[Any]
    item: Shape

    def __str__(self) -> str:
        return f"{type_name(self.kind)}[{self.item}]"

    @property
    def kinds(self) -> frozenset[type]:
        return frozenset({self.written_kind})

    @property
    def written_kind(self) -> type[Any]:
        is_list = self.kind in (set, frozenset) and not self.item.is_hashable
        return list if is_list else self.kind

    @property
    def is_plain(self) -> bool:
        return self.item.is_plain

    @property
    def is_hashable(self) -> bool:
        return self.written_kind in (tuple, frozenset) and self.item.is_hashable

    def takes(self, value: object) -> bool:
        return type(value) is self.kind

    def write(self, value: Any) -> object:
        if not self.takes(value):
            raise misfit_of(value, self)
        return self.written_kind(self._each(self.item.write, value))

    def read(self, written: Any) -> object:
        if type(written) is not self.written_kind:
            raise misfit_of(written, self)
        items = self._each(self.item.read, written)
        try:
            return self.kind(items)
        except TypeError:
            raise Misfit("has an element that cannot be in a set") from None

    def _each(self, work: Callable[[Any], object], values: Iterable[Any]) -> list[object]:
        is_ordered = self.kind in (list, tuple)
        return [
            placed(f"[{number}]" if is_ordered else "<an element>", work, value) for number, value in enumerate(values)
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """A tuple whose places each have a shape of their own."""

    items: tuple[Shape, ...]
    kinds: ClassVar[frozenset[type]] = frozenset({tuple})

    def __str__(self) -> str:
        return f"tuple[{', '.join(map(str, self.items)) or '()'}]"

    @property
    def is_plain(self) -> bool:
        return all(item.is_plain for item in self.items)

    @property
    def is_hashable(self) -> bool:
        return all(item.is_hashable for item in self.items)

    def takes(self, value: object) -> bool:
        return type(value) is tuple

    def write(self, value: Any) -> object:
        return self._each([item.write for item in self.items], value)

    def read(self, written: Any) -> object:
        return self._each([item.read for item in self.items], written)

    def _each(self, work: Sequence[Callable[[Any], object]], values: Any) -> tuple[object, ...]:
        if not self.takes(values):
            raise misfit_of(values, self)
        if len(values) != len(work):
            raise Misfit(f"has {len(values)} items; {self} is declared")
        return tuple(
            placed(f"[{number}]", one, value) for number, (one, value) in enumerate(zip(work, values, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Table:
    """A dict. Keys are of a hashable shape."""

    key: Shape
    item: Shape
    kinds: ClassVar[frozenset[type]] = frozenset({dict})
    is_hashable: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"dict[{self.key}, {self.item}]"

    @property
    def is_plain(self) -> bool:
        return self.key.is_plain and self.item.is_plain

    def takes(self, value: object) -> bool:
        return type(value) is dict

    def write(self, value: Any) -> object:
        if not self.takes(value):
            raise misfit_of(value, self)
        return {
            placed(f"<key {shown(key)}>", self.key.write, key): placed(f"[{shown(key)}]", self.item.write, item)
            for key, item in value.items()
        }

    def read(self, written: Any) -> object:
        if not self.takes(written):
            raise misfit_of(written, self)
        # Errors of deliveries are logged, and a key is a part of the payload.
        return {
            placed("<a key>", self.key.read, key): placed("[...]", self.item.read, item)
            for key, item in written.items()
        }


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of several shapes, which what is written tells apart."""

    shapes: tuple[Shape, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.shapes))

    @property
    def kinds(self) -> frozenset[type]:
        return frozenset().union(*(shape.kinds for shape in self.shapes))

    @property
    def is_plain(self) -> bool:
        return all(shape.is_plain for shape in self.shapes)

    @property
    def is_hashable(self) -> bool:
        return all(shape.is_hashable for shape in self.shapes)

    def takes(self, value: object) -> bool:
        return any(shape.takes(value) for shape in self.shapes)

    def write(self, value: object) -> object:
        return self._first([shape.write for shape in self.shapes if shape.takes(value)], value)

    def read(self, written: object) -> object:
        return self._first([shape.read for shape in self.shapes if type(written) in shape.kinds], written)

    def _first(self, works: Sequence[Callable[[Any], object]], value: object) -> object:
        misfit = misfit_of(value, self)
        for work in works:
            try:
                return work(value)
            except Misfit as error:
                misfit = error
        raise misfit


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a class: its shape, and whether there is a default for it, or it may be missing."""

    shape: Shape
    is_required: bool


@dataclass(slots=True)
class _Class:
    """A class that travels as a dict."""

    cls: type[Any]
    kinds: ClassVar[frozenset[type]] = frozenset({dict})
    is_plain: ClassVar[bool] = False
    is_hashable: ClassVar[bool] = False

    def __str__(self) -> str:
        return type_name(self.cls)


@dataclass(slots=True)
class Fields(_Class):
    """A dataclass or a NamedTuple. Its fields are found later where it contains itself."""

    fields: Mapping[str, Field]

    def takes(self, value: object) -> bool:
        return type(value) is self.cls

    def write(self, value: object) -> object:
        if not self.takes(value):
            raise misfit_of(value, self)
        missing = next((name for name in self.fields if not hasattr(value, name)), None)
        if missing is not None:
            raise Misfit("has no value", f".{missing}")
        return {
            name: placed(f".{name}", field.shape.write, getattr(value, name)) for name, field in self.fields.items()
        }

    def read(self, written: Any) -> object:
        if type(written) is not dict:
            raise misfit_of(written, self)
        missing = next((name for name, field in self.fields.items() if field.is_required and name not in written), None)
        if missing is not None:
            raise Misfit(f"is missing, and {self} has no default for it", f".{missing}")
        values = {
            name: placed(f".{name}", field.shape.read, written[name])
            for name, field in self.fields.items()
            if name in written
        }
        try:
            return self.cls(**values)
        except Exception as error:
            raise Misfit(f"is refused by {self}(...), which raised {type(error).__name__}") from error


@dataclass(slots=True)
class Keys(_Class):
    """A TypedDict: a dict with these keys and no others."""

    keys: Mapping[str, Field]

    def takes(self, value: object) -> bool:
        return type(value) is dict

    def write(self, value: Any) -> object:
        self._check(value)
        unknown = next((key for key in value if key not in self.keys), None)
        if unknown is not None:
            raise Misfit(f"is no key of {self}", f"[{shown(unknown)}]")
        return {key: placed(f"[{shown(key)}]", self.keys[key].shape.write, item) for key, item in value.items()}

    def read(self, written: Any) -> object:
        self._check(written)
        known = {key: item for key, item in written.items() if key in self.keys}
        return {key: placed(f"[{shown(key)}]", self.keys[key].shape.read, item) for key, item in known.items()}

    def _check(self, value: Any) -> None:
        if not self.takes(value):
            raise misfit_of(value, self)
        missing = next((key for key, field in self.keys.items() if field.is_required and key not in value), None)
        if missing is not None:
            raise Misfit(f"is missing, and {self} requires it", f"[{shown(missing)}]")
