"""The signature of a handler or a hook, checked before it is connected: what it will be called with has to fit."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from .errors import InvalidMappingError, InvalidOptionError, brief
from .handler import Handler, identity, is_any, is_coroutine_function
from .template import Template


def check_handler(handler: object, template: Template, *, takes_batch: bool) -> None:
    """Raise `InvalidMappingError` unless `handler` can be called with one argument and the fields as keywords.

    A handler whose signature Python does not know, as of many builtins, is taken on trust.
    """
    if not callable(handler):
        raise InvalidMappingError(f"the handler of {str(template)!r} cannot be called: it is {brief(handler)}")
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


def check_backoff(backoff: object) -> None:
    """Raise `InvalidOptionError` unless `backoff` can be called with the number of an attempt."""
    _check_hook("backoff", backoff, "attempt", may_await=False)


def _check_hook(role: str, hook: object, *arguments: str, may_await: bool) -> None:
    if not callable(hook):
        raise InvalidOptionError(f"{role}={brief(hook)} cannot be called")
    problem = _problem(hook, role, *arguments, may_await=may_await)
    if problem:
        raise InvalidOptionError(f"{identity(hook)} {problem}")


def _problem(
    function: Handler, role: str, *arguments: str, fields: Sequence[str] = (), may_await: bool = False
) -> str | None:
    """Why `function` cannot be called with `arguments` and with `fields` as keywords, or None."""
    if is_coroutine_function(function) and not may_await:
        return "is asynchronous; give a plain function"
    if is_any(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
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
