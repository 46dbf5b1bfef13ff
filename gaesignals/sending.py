"""Sending many messages of any mix of names, in as many calls as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

from .due import due_of
from .errors import InvalidMappingError, brief, reject_unknown
from .mailbox.current import current_mailbox
from .signal import Signal, name_of, payload_of
from .way import PLAIN


def send_many(
    pairs: Iterable[tuple[str | Signal[Any], Any]],
    *,
    delay_seconds: float | None = None,
    at: datetime | None = None,
    transactional: bool = False,
    **unknown: NoReturn,
) -> list[str]:
    """Store a message for each pair of a name and data, in as many calls as one takes; return their ids, in order.

    `delay_seconds`, `at` and `transactional` are those of `Signal.send`. A transaction takes the messages of one call
    together, up to about 450 KB.

    A type checker holds a pair to the type of its signal where it is made with `Signal.pair`.

    Names are literal, braces and all. Everything is checked before anything is stored: raises `InvalidNameError` and
    `InvalidDataError`, as `Signal.send` does, and `SendError`, a `StoreError` that lists what was stored and what not.
    """
    reject_unknown(unknown, where="send_many()")
    checked = [_checked_pair(pair) for pair in _iterated(pairs)]
    outgoing = [(name_of(name), payload_of(name, data)) for name, data in checked]
    mailbox = current_mailbox()
    due = due_of(delay_seconds=delay_seconds, at=at, now=mailbox.clock())
    if not outgoing:
        return []
    pattern = _pattern(name for name, _ in checked)
    ways = [name.way if isinstance(name, Signal) else PLAIN for name, _ in checked]
    return mailbox.send(outgoing, pattern=pattern, ways=ways, due=due, transactional=transactional)


async def asend_many(
    pairs: Iterable[tuple[str | Signal[Any], Any]],
    *,
    delay_seconds: float | None = None,
    at: datetime | None = None,
    **unknown: NoReturn,
) -> list[str]:
    """As `send_many`, for coroutines, in another thread: what `Signal.asend` is to `Signal.send`."""
    reject_unknown(unknown, where="asend_many()")
    return await asyncio.to_thread(partial(send_many, pairs, delay_seconds=delay_seconds, at=at))


def _pattern(names: Iterable[object]) -> str:
    """The template that all of `names` were filled in from, or nothing: a literal name may be made at run time, too."""
    patterns = {name.pattern if isinstance(name, Signal) else "" for name in names}
    return patterns.pop() if len(patterns) == 1 else ""


def _iterated(pairs: object) -> Iterable[object]:
    if isinstance(pairs, Iterable) and not isinstance(pairs, (str, bytes, Mapping)):
        return pairs
    advice = "; give its .items()" if isinstance(pairs, Mapping) else ""
    raise InvalidMappingError(f"send_many() takes a list of pairs (name, data), not a {type(pairs).__name__}{advice}")


def _checked_pair(pair: object) -> tuple[object, object]:
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        return pair[0], pair[1]
    raise InvalidMappingError(f"send_many() takes pairs (name, data), but one is {brief(pair)}")
