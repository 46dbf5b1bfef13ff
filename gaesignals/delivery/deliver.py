"""Delivery: what an application calls to have its handlers run.

Weak: what was claimed is this process's for good, so a message is handled at most once. Reliable: what was claimed is
held on a lease until it is acknowledged, so a message is handled at least once while memcache keeps it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import NoReturn

from gaesignals.errors import InvalidOptionError, StoreError, reject_unknown
from gaesignals.handler import is_coroutine_function
from gaesignals.mailbox.box import Mailbox, current_mailbox, use_mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.settle import settle
from gaesignals.receiver import Match
from gaesignals.receivers import ReceiverMapping, Receivers, as_receivers
from gaesignals.report import DeliveryReport
from gaesignals.signal import Signal, name_of

from .coroutines import Coroutines, is_loop_running, reject_running_loop
from .fresh import FreshDelivery
from .limits import Limits
from .round import Round

logger = logging.getLogger("gaesignals")


def deliver(
    mapping: ReceiverMapping,
    *,
    names: Iterable[str | Signal] | None = None,
    reliable: bool | None = None,
    lease_seconds: float = 300.0,
    max_messages: int | None = None,
    max_seconds: float | None = None,
    mailbox: Mailbox | None = None,
    on_backlog: Callable[[Sequence[str]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **unknown: NoReturn,
) -> DeliveryReport:
    """Run the handlers of `mapping` for what waits, once around.

    `mapping` is a list of pairs of a name and a handler, a dict of them, or `Receivers`; with patterns among these,
    `names` says which names to look at. `reliable` None delivers each name in the strictest mode that one of its
    receivers asks for, weak for plain handlers; True makes all reliable.

    A reliable delivery holds its messages for `lease_seconds`, at least one, and renews that while it works; each
    handler has to finish within half of it; an `async def` one that does not is cancelled. `max_messages` and
    `max_seconds` bound the delivery: what it claimed and did not begin goes back. `should_stop` is asked before each
    message, too. `on_backlog` is called with the names that it claimed from and that have more waiting, before the
    first handler is run.

    Handlers' exceptions are logged and counted, never raised here. Raises `StoreError` only if memcache answered for
    none of the names, `RunningLoopError` for `async def` handlers inside a running event loop, and an error of ours for
    a mapping or an option that makes no sense.
    """
    reject_unknown(unknown, where="deliver()")
    check_options(lease_seconds, max_messages, max_seconds)
    _check_parts(mailbox, on_backlog, should_stop)
    receivers = as_receivers(mapping, reliable=reliable)
    matches = find_matches(receivers, names)
    box = mailbox or current_mailbox()
    if is_loop_running() and any(
        is_coroutine_function(match.receiver.handler) for group in matches.values() for match in group
    ):
        reject_running_loop()
    deadline = None if max_seconds is None else box.clock() + max_seconds
    limits = Limits(lease_seconds, max_messages, deadline, should_stop or _never)
    with (
        box.observer.delivering(),
        use_mailbox(box),
        closing(Coroutines(limit_seconds=lease_seconds / 2)) as coroutines,
    ):
        report = FreshDelivery(Round(box, receivers, limits, coroutines), matches, on_backlog).run()
        if not report.is_idle:
            box.emptied.add([name for name in matches if name not in report.more])
        _settle(box)
        box.observer.delivered(report)
    return report


def _settle(box: Mailbox) -> None:
    """Once a minute, take the names that this process emptied out of the index."""
    names = box.emptied.take_due()
    if not names:
        return
    try:
        settle(box, names)
    except StoreError:
        logger.exception("emptied names could not be settled in the index; the worker does it later")


def _never() -> bool:
    return False


def find_matches(receivers: Receivers, names: Iterable[str | Signal] | None) -> dict[str, Sequence[Match]]:
    """The receivers of each name to look at. Raises `InvalidOptionError` for patterns without `names`."""
    if names is None:
        if receivers.has_patterns:
            raise InvalidOptionError(
                "these receivers have patterns, so deliver() has to be told which names to look at: "
                "give names=waiting_names(receivers), or the names you know"
            )
        wanted: Iterator[str] = iter(receivers.literal_names())
    elif isinstance(names, (str, bytes, Signal)) or not isinstance(names, Iterable):
        raise InvalidOptionError(f"names={names!r:.80} cannot be: give a list of names")
    else:
        wanted = (name_of(name) for name in names)
    matches = {name: receivers.matching(name) for name in wanted}
    return {name: found for name, found in matches.items() if found}


def check_options(lease_seconds: float, max_messages: int | None, max_seconds: float | None) -> None:
    """Raise `InvalidOptionError` for a bound that makes no sense."""
    if not _is_number(lease_seconds) or not 1 <= lease_seconds <= 86400:
        raise InvalidOptionError(f"lease_seconds is {lease_seconds!r}; give from 1 to 86400")
    if max_messages is not None and (type(max_messages) is not int or max_messages < 1):
        raise InvalidOptionError(f"max_messages is {max_messages!r}; give a whole number from 1, or None for no limit")
    if max_seconds is not None and not (_is_number(max_seconds) and max_seconds > 0):
        raise InvalidOptionError(f"max_seconds is {max_seconds!r}; give more than 0, or None for no limit")


def _check_parts(mailbox: object, on_backlog: object, should_stop: object) -> None:
    if mailbox is not None and not isinstance(mailbox, Mailbox):
        raise InvalidOptionError(f"mailbox={mailbox!r:.80} cannot be: give a Mailbox")
    for option, value in (("on_backlog", on_backlog), ("should_stop", should_stop)):
        if value is not None and not callable(value):
            raise InvalidOptionError(f"{option}={value!r:.80} cannot be called")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def waiting_names(mapping: ReceiverMapping, *, mailbox: Mailbox | None = None, **unknown: NoReturn) -> list[str]:
    """Return the names in the index that match a receiver of `mapping`, whether or not they are due.

    Costs eight memcache calls. Raises `StoreError` if memcache does not answer, and an error of ours for a mapping that
    cannot work.
    """
    reject_unknown(unknown, where="waiting_names()")
    receivers = as_receivers(mapping)
    entries = Index(mailbox or current_mailbox()).entries()
    return sorted(name for name in entries if receivers.matching(name))
