"""Results: what a handler returns, where that is work which is still to be done.

An awaitable is awaited, and a tasklet's future of ndb waited for. What nobody would ever run, such as a generator, is
an error: a message whose handler has not begun is not delivered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from concurrent.futures import Future
from inspect import isawaitable, iscoroutine
from typing import Any, Final

from .coroutines import Coroutines

_LAZY: Final[tuple[type[Any], ...]] = (Generator, AsyncGenerator, map, filter, Future)


def finish(result: object, coroutines: Coroutines) -> None:
    """Do what is left of a plain function's work; raise what that raises, and `TypeError` for what cannot be done."""
    if result is None:
        return
    while isawaitable(result):
        result = coroutines.run(result if iscoroutine(result) else _awaited(result))
    _wait(result)


async def finish_soon(result: object) -> None:
    """As `finish`, inside a running event loop."""
    while isawaitable(result):
        result = await result
    _wait(result)


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def _wait(result: Any) -> None:
    while _is_of_ndb(result):
        result = result.get_result()
    if isinstance(result, _LAZY):
        raise TypeError(
            f"what it returned is a {type(result).__name__}, which nobody runs: have the work done before it returns"
        )


def _is_of_ndb(result: object) -> bool:
    modules = [kind.__module__ for kind in type(result).__mro__]
    is_ndb = any(module.startswith(("google.appengine.ext.ndb.", "google.cloud.ndb.")) for module in modules)
    return is_ndb and callable(getattr(result, "get_result", None))
