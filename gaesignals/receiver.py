"""A receiver: a handler, the names it is for, and how it wants to be run."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, TypedDict, TypeVar

from .data.codec import loads
from .data.shape import Shape, from_plain
from .errors import InvalidMappingError, InvalidOptionError
from .template import Template, check_name

MAX_BATCH: Final = 1000
MAX_BACKOFF_SECONDS: Final = 7 * 86400
MAX_CONCURRENCY: Final = 1000
CONCURRENCY: Final = 10


class Options(TypedDict, total=False):
    """The options of `connect`, but for `batch`, which decides what a handler is called with."""

    reliable: bool
    max_attempts: int
    backoff_seconds: float
    id: str | None
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Receiver:
    """A handler, the names it is for, and how it is run.

    `id` finds it again after a deploy. `batch` is the most messages a call of the handler gets as a list; None stands
    for a handler that takes the data of one. A message that fails is run again after a random part of
    `backoff_seconds`, doubled each time up to an hour, until `max_attempts` have been made. `shape` is that of the data
    where its signal declares a type. `concurrency` is how many messages a coroutine handler is run for at a time.
    `is_pair` where it was made from a plain pair, whose name may have been made at run time.
    """

    id: str
    handler: Handler
    template: Template
    shape: Shape | None = None
    reliable: bool = False
    max_attempts: int = 20
    backoff_seconds: float = 10.0
    batch: int | None = None
    concurrency: int = 1
    is_pair: bool = False

    @property
    def chunk(self) -> int:
        """How many messages are taken up together.

        For a coroutine handler that is enough for a slow one not to keep the next ones waiting.
        """
        return self.batch or (10 * self.concurrency if self.concurrency > 1 else 1)

    def load(self, payload: bytes) -> Any:
        """Return the data of a message as the handler gets it, anew each time; raise `DecodeError` if it cannot be."""
        data = loads(payload)
        return data if self.shape is None else from_plain(self.shape, data)


@dataclass(frozen=True, slots=True)
class Match:
    """A receiver of a name, with what the name holds for the fields of its pattern."""

    receiver: Receiver
    captures: Mapping[str, str]


def concurrency_of(handler: Handler, *, batch: int | None, wanted: int | None = None) -> int:
    """Return how many messages `handler` is run for at a time; raise `InvalidOptionError` where that has no meaning."""
    if is_coroutine_function(handler) and batch is None:
        return CONCURRENCY if wanted is None else wanted
    if wanted is not None:
        raise InvalidOptionError(f"concurrency={wanted!r:.80} is for an async def handler of one message; leave it out")
    return 1


def check_options(receiver: Receiver) -> None:
    """Raise `InvalidOptionError` for an option that cannot be."""
    options: dict[str, tuple[object, bool, str]] = {
        "reliable": (receiver.reliable, isinstance(receiver.reliable, bool), "True or False"),
        "batch": (
            receiver.batch,
            receiver.batch is None or _is_whole(receiver.batch, most=MAX_BATCH),
            f"a whole number from 1 to {MAX_BATCH}, or None for one message a call",
        ),
        "concurrency": (
            receiver.concurrency,
            _is_whole(receiver.concurrency, most=MAX_CONCURRENCY),
            f"a whole number from 1 to {MAX_CONCURRENCY}",
        ),
        "max_attempts": (receiver.max_attempts, _is_whole(receiver.max_attempts), "a whole number from 1"),
        "backoff_seconds": (
            receiver.backoff_seconds,
            _is_number(receiver.backoff_seconds) and 0 <= receiver.backoff_seconds <= MAX_BACKOFF_SECONDS,
            f"0 to {MAX_BACKOFF_SECONDS} (seven days)",
        ),
        "id": (receiver.id, _is_id(receiver.id), "a short text without control characters"),
    }
    for option, (value, is_valid, wanted) in options.items():
        if not is_valid:
            raise InvalidOptionError(f"{option}={value!r:.80} cannot be: give {wanted}")


def _is_whole(value: object, *, most: float = math.inf) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    try:
        check_name(value)
    except ValueError:
        return False
    return True


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
    if not callable(on_dead):
        raise InvalidOptionError(f"on_dead={on_dead!r:.80} cannot be called")
    problem = _problem(on_dead, "on_dead", "message", "error")
    if problem:
        raise InvalidOptionError(f"{identity(on_dead)} {problem}")


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
        return "is asynchronous; give a plain function, which may run an event loop of its own"
    if _is_any(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        return "is a generator, of which a call runs nothing; give a function without yield"
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
