"""Values: slotted dataclasses that nobody changes, which a type checker holds and nothing at run time does.

An instance of a frozen dataclass takes about four times as long to make, and a send makes dozens of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import replace as replace

    from typing_extensions import dataclass_transform

    @dataclass_transform(frozen_default=True)
    def value(cls: type[T]) -> type[T]: ...

else:
    value = dataclass(slots=True, unsafe_hash=True)

    @cache
    def _fields_of(cls):
        return attrgetter(*(field.name for field in fields(cls)))

    def replace(old, /, **changes):
        """`old` with other values in some fields, as `dataclasses.replace` has it, in a third of the time."""
        new = type(old)(*_fields_of(type(old))(old))
        for name, changed in changes.items():
            setattr(new, name, changed)
        return new
