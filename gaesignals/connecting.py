"""Connecting: from what an application declares to a receiver, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .data.shape import Shape
from .errors import reject_unknown
from .handler import Handler, identity
from .receiver import Around, Options, Receiver, check_options, concurrency_of
from .signal import Signal
from .signature import check_backoff, check_handler
from .template import Template


def refuse_unknown(options: Mapping[str, object], *, where: str) -> None:
    """Raise `InvalidOptionError` for options that `connect` does not know."""
    known = Options.__annotations__
    reject_unknown({name: value for name, value in options.items() if name not in known}, where=where)


def declared(
    name: str | Signal[Any], handler: Handler, batch: int | None, options: Options, around: Around | None
) -> Receiver:
    """Return the receiver that is declared so; raise as `connect` does."""
    template = template_of(name)
    check_handler(handler, template, takes_batch=batch is not None)
    id = options.get("id")
    receiver = Receiver(
        id=identity(handler) if id is None else id,
        handler=handler,
        template=template,
        shape=shape_of(name),
        reliable=options.get("reliable", False),
        max_attempts=options.get("max_attempts", 20),
        backoff_seconds=options.get("backoff_seconds", 10.0),
        backoff=_waits(options.get("backoff")),
        retry_on=_types(options.get("retry_on", ())),
        drop_on=_types(options.get("drop_on", ())),
        max_age_seconds=options.get("max_age_seconds"),
        lease_seconds=options.get("lease_seconds"),
        queue=options.get("queue"),
        batch=batch,
        concurrency=concurrency_of(handler, batch=batch, wanted=options.get("concurrency")),
        around=around,
    )
    check_options(receiver)
    if callable(receiver.backoff):
        check_backoff(receiver.backoff)
    return receiver


def _waits(given: Any) -> Any:
    """Without the caller's own list, which may be changed later."""
    return tuple(given) if isinstance(given, list) else given


def _types(given: Any) -> Any:
    if isinstance(given, type):
        return (given,)
    return tuple(given) if isinstance(given, (list, set, frozenset)) else given


def wants_another_queue(one: Receiver, other: Receiver) -> bool:
    """Whether there certainly is a name that two queues are declared for. Of two patterns nobody knows."""
    if None in (one.queue, other.queue) or one.queue == other.queue:
        return False
    is_certain = one.template.is_literal or other.template.is_literal or one.template == other.template
    return is_certain and one.template.overlaps(other.template)


def template_of(name: object) -> Template:
    """The name, or the pattern of names, that a receiver is for."""
    return name.template if isinstance(name, Signal) else Template.parse(name)


def shape_of(name: object) -> Shape | None:
    """The shape of the data, where a `Signal` declares a type."""
    return name.shape if isinstance(name, Signal) else None
