"""Idempotency: a memory of which messages a receiver has handled, so that it leaves out those that come again.

A message comes again where a process died after its handler and before the acknowledgement, or a handler outran its
lease. It is remembered by its id and the receiver's, when the handler has returned and not before: one that dies or
raises runs again. The memory is in the store. It makes a second run rare and not impossible: what is evicted or could
not be stored is forgotten, a process may die between handler and memory, and two runs at the same time both run. Where
a second run must not happen, the handler's own database has to refuse it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final, NoReturn, TypeVar

from .data import codec
from .errors import InvalidOptionError, StoreError, brief, reject_unknown
from .handler import Handler, identity, is_coroutine_function, is_decorated, named
from .mailbox.current import current_mailbox
from .message import Message, current_receiver, handled_message
from .stores.client import State
from .stores.store import MAX_TTL_SECONDS, Outcome, Set

logger = logging.getLogger("gaesignals")

HandlerT = TypeVar("HandlerT", bound=Handler)

VERSION: Final = 1
_NOTHING: Final = object()


def once(*misplaced: NoReturn, seconds: int = 86400, **unknown: NoReturn) -> Callable[[HandlerT], HandlerT]:
    """Have the decorated handler called only for messages that its receiver has not handled in the last `seconds`.

    It goes below `receiver`, on handlers of one message or of batches; a batch is called with what is left of it, and
    not at all if nothing is. It costs a read and a write a call of the handler, whatever the size of a batch; if the
    read fails, the handler is called. Called by hand, outside a delivery, the handler is as it was.

    Raises `InvalidOptionError` for `seconds` that are not a whole number from 1 to 2,592,000 (thirty days), and above
    `receiver`, where it would have no effect.
    """
    reject_unknown(unknown, where="once()")
    if misplaced:
        raise InvalidOptionError("once needs parentheses: @once(), below @receivers.receiver(...)")
    if type(seconds) is not int or not 1 <= seconds <= MAX_TTL_SECONDS:
        raise InvalidOptionError(f"seconds={brief(seconds)} cannot be: give a whole number from 1 to {MAX_TTL_SECONDS}")
    return lambda handler: _remembering(handler, seconds)


def _refuse_decorated(handler: Any) -> None:
    if is_decorated(handler):
        raise InvalidOptionError(
            f"{identity(handler)} is connected already, and would be run without this once(): "
            "write @once() below @receivers.receiver(...), next to the function"
        )


def _remembering(handler: Any, seconds: int) -> Any:
    _refuse_decorated(handler)

    def handle(argument: Any, /, *args: Any, **fields: Any) -> object:
        with _unhandled(argument, seconds) as unhandled:
            return None if unhandled is _NOTHING else handler(unhandled, *args, **fields)

    async def handle_soon(argument: Any, /, *args: Any, **fields: Any) -> object:
        with _unhandled(argument, seconds) as unhandled:
            return None if unhandled is _NOTHING else await handler(unhandled, *args, **fields)

    wrapper: Any = functools.update_wrapper(handle_soon if is_coroutine_function(handler) else handle, handler)
    # A partial has no name of its own, and receivers are known by their handler's.
    wrapper.__module__, wrapper.__qualname__ = named(handler).__module__, named(handler).__qualname__
    return wrapper


@contextmanager
def _unhandled(argument: Any, seconds: int) -> Iterator[object]:
    """What the handler has to be called with, or `_NOTHING`; remembered when the block ends without an error."""
    receiver = current_receiver()
    if receiver is None:
        yield argument
        return
    message = handled_message()
    messages: Sequence[Message] = argument if message is None else [message]
    handled = _recall(receiver, messages)
    rest = [one for one in messages if one.id not in handled]
    if not rest:
        yield _NOTHING
        return
    # A list that the handler may use up, as any list that it is given.
    yield [*rest] if message is None else argument
    _remember(receiver, [one for one in rest if one.mark is None], seconds)


def _key(receiver: str, message: Message) -> bytes:
    return b"gs:o:" + blake2b(f"{receiver}\n{message.id}".encode(), digest_size=20).hexdigest().encode()


def _recall(receiver: str, messages: Sequence[Message]) -> set[str]:
    """The ids of those that the receiver has handled, as far as memcache says."""
    keys = {_key(receiver, message): message.id for message in messages}
    try:
        seen = current_mailbox().read(keys, lambda value: codec.unseal(value, version=VERSION))
    except StoreError:
        seen = {}
    unknown = len(keys) - sum(one.state is not State.FAILED for one in seen.values())
    if unknown:
        _warn("it is not known whether messages were handled before; they are handled", receiver, unknown)
    handled = {keys[key] for key, one in seen.items() if one.state is State.FOUND}
    if handled:
        logger.info("messages are left out: they were handled before", extra=_fields(receiver, len(handled)))
    return handled


def _remember(receiver: str, messages: Sequence[Message], seconds: int) -> None:
    box = current_mailbox()
    value = codec.seal(VERSION, box.now_ms())
    try:
        outcomes = list(box.write([Set(_key(receiver, message), value, seconds) for message in messages]).values())
    except StoreError:
        outcomes = []
    forgotten = len(messages) - outcomes.count(Outcome.STORED)
    if forgotten:
        _warn("messages were handled and cannot be remembered; one that comes again runs again", receiver, forgotten)


def _warn(problem: str, receiver: str, count: int) -> None:
    logger.warning(problem, extra=_fields(receiver, count))


def _fields(receiver: str, count: int) -> dict[str, object]:
    return {"signals_receiver": receiver, "signals_count": count}
