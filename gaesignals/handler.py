"""A handler: what a receiver calls, its name, and what kind of function it is."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

Handler: TypeAlias = Callable[..., object]
_DECORATED = "__signals_receiver__"
DataT_contra = TypeVar("DataT_contra", contravariant=True)


class DataHandler(Protocol[DataT_contra]):
    """To a type checker: a handler whose first argument may be of this type, whatever fields it takes besides."""

    def __call__(self, data: DataT_contra, /, *args: Any, **kwargs: Any) -> object: ...


def named(handler: Handler) -> Any:
    """What `handler` has its name from: the function in a partial, and the class of a callable object."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return handler if isinstance(getattr(handler, "__qualname__", None), str) else type(handler)


def identity(handler: Handler) -> str:
    """Return `module.qualname` of what `handler` has its name from."""
    source = named(handler)
    module = getattr(source, "__module__", None)
    return f"{module}.{source.__qualname__}" if module else str(source.__qualname__)


def is_coroutine_function(handler: object) -> bool:
    """Whether a call of `handler` is to be awaited: of an `async def`, in a partial, a method or `__call__` as well."""
    return is_any(handler, inspect.iscoroutinefunction)


def mark_decorated(handler: Handler) -> None:
    """Note on a function that `receiver` decorates it; what cannot be written on is left alone."""
    with contextlib.suppress(AttributeError, TypeError):
        setattr(handler, _DECORATED, True)


def is_decorated(handler: Handler) -> bool:
    """Whether `receiver` decorates this function: it has been connected, and a wrapper of it comes too late."""
    return hasattr(handler, _DECORATED)


def is_any(handler: Any, *kinds: Callable[[object], bool]) -> bool:
    """Whether a call of `handler` runs a function of one of these kinds of `inspect`."""
    return any(kind(handler) or kind(type(handler).__call__) for kind in kinds)
