"""A handler: what a receiver calls, and what can be known of it before it is called."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from .errors import InvalidMappingError, InvalidOptionError
from .template import Template

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


def check_handler(handler: object, template: Template, *, takes_batch: bool) -> None:
    """Raise `InvalidMappingError` unless `handler` can be called with one argument and the fields as keywords.

    A handler whose signature Python does not know, as of many builtins, is taken on trust.
    """
    if not callable(handler):
        raise InvalidMappingError(f"the handler of {str(template)!r} cannot be called: it is {handler!r:.80}")
    argument = "messages" if takes_batch else "data"
    problem = _problem(handler, "handler", argument, fields=template.fields, may_await=True)
    if problem:
        raise InvalidMappingError(f"the handler {identity(handler)} of {str(template)!r} {problem}")


def check_on_dead(on_dead: object) -> None:
    """Raise `InvalidOptionError` unless `on_dead` can be called with a message and its error."""
    _check_hook("on_dead", on_dead, "message", "error", may_await=True)


def check_around(around: object) -> None:
    """Raise `InvalidOptionError` unless `around` can be called without an argument, to make a block."""
    _check_hook("around", around, may_await=False)


def _check_hook(role: str, hook: object, *arguments: str, may_await: bool) -> None:
    if not callable(hook):
        raise InvalidOptionError(f"{role}={hook!r:.80} cannot be called")
    problem = _problem(hook, role, *arguments, may_await=may_await)
    if problem:
        raise InvalidOptionError(f"{identity(hook)} {problem}")


def is_coroutine_function(handler: object) -> bool:
    """Whether a call of `handler` is to be awaited: of an `async def`, in a partial, a method or `__call__` as well."""
    return _is_any(handler, inspect.iscoroutinefunction)


def mark_decorated(handler: Handler) -> None:
    """Note on a function that `receiver` decorates it; what cannot be written on is left alone."""
    with contextlib.suppress(AttributeError, TypeError):
        setattr(handler, _DECORATED, True)


def is_decorated(handler: Handler) -> bool:
    """Whether `receiver` decorates this function: it has been connected, and a wrapper of it comes too late."""
    return hasattr(handler, _DECORATED)


def _problem(
    function: Handler, role: str, *arguments: str, fields: Sequence[str] = (), may_await: bool = False
) -> str | None:
    """Why `function` cannot be called with `arguments` and with `fields` as keywords, or None."""
    if is_coroutine_function(function) and not may_await:
        return "is asynchronous; give a plain function"
    if _is_any(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        return "is a generator, of which a call runs nothing; " + (
            "decorate it with contextlib.contextmanager" if role == "around" else "give a function without yield"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*arguments, **dict.fromkeys(fields, ""))
    except TypeError as error:
        call = ", ".join([*arguments, *(f"{field}=..." for field in fields)])
        return f"will be called as {role}({call}), but has the signature {signature} ({error})"
    return None


def _is_any(handler: Any, *kinds: Callable[[object], bool]) -> bool:
    return any(kind(handler) or kind(type(handler).__call__) for kind in kinds)
