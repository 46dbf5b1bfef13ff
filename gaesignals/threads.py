"""Threads: calling App Engine's APIs, and so this package, from others than a request's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_this_request(function: Callable[P, T]) -> Callable[P, T]:
    """Make `function` callable from another thread as from this request's: `pool.submit(in_this_request(f), x)`.

    A thread that a request starts may call App Engine's APIs up to Python 3.12 and not since 3.13; one of a pool made
    before the request may not on any, nor may those that serve an ASGI application. What is made here carries the
    request's context, environment and ticket along.
    It works as long as the request lasts.
    """
    # Imported here so that whoever has no use for it needs no SDK.
    from . import request

    return request.in_this_request(function)


def is_in_request() -> bool:
    """Whether this thread or task may call App Engine's APIs, as far as the SDK knows."""
    from . import request

    return request.has_ticket()
