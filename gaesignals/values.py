"""Values: slotted dataclasses that nobody changes, which a type checker holds and nothing at run time does.

An instance of a frozen dataclass takes about four times as long to make, and a send makes dozens of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    @dataclass_transform(frozen_default=True)
    def value(cls: type[T]) -> type[T]: ...

else:
    value = dataclass(slots=True, unsafe_hash=True)
