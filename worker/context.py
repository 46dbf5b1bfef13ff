"""The context that handlers run in: that of the request, without this application's own.

Whatever an application keeps in `flask.g` belongs to one request of its own. Here a request delivers the messages of
many, and `current_app` is the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
ResultT = TypeVar("ResultT")

_FLASK = "flask."


def outside_flask(function: Callable[P, ResultT], *args: P.args, **kwargs: P.kwargs) -> ResultT:
    """Call `function` with every context variable as it is, but for those of Flask, which are not set."""
    context = Context()
    for variable, value in copy_context().items():
        if not variable.name.startswith(_FLASK):
            context.run(variable.set, value)
    return context.run(function, *args, **kwargs)
