"""Delivery: what an application calls to have its handlers run.

Weak: what was claimed is this process's for good, so a message is handled at most once. Reliable: what was claimed is
held on a lease until it is acknowledged, so a message is handled at least once while the store keeps it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import NoReturn

from gaesignals.errors import InvalidOptionError, StoreError, brief, reject_unknown
from gaesignals.format.pauses import PausedNames
from gaesignals.handler import is_coroutine_function
from gaesignals.limits import LEASE_SECONDS, Limits, check_bounds, longest_lease
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import current_mailbox, use_mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.index.unlisting import settle
from gaesignals.receiver import Match
from gaesignals.receivers import ReceiverMapping, Receivers, as_receivers
from gaesignals.report import DeliveryReport
from gaesignals.signal import Signal, name_of
from gaesignals.stores.client import Seen

from .coroutines import Coroutines, is_loop_running, reject_running_loop
from .fresh import FreshDelivery
from .opening import ALONE, Opening
from .round import Round

logger = logging.getLogger("gaesignals")


def deliver(
    mapping: ReceiverMapping,
    *,
    names: Iterable[str | Signal] | None = None,
    reliable: bool | None = None,
    lease_seconds: float = LEASE_SECONDS,
    max_messages: int | None = None,
    max_seconds: float | None = None,
    mailbox: Mailbox | None = None,
    on_backlog: Callable[[Sequence[str]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    paused: Callable[[Seen[PausedNames]], Collection[str]] | None = None,
    on_expired: Callable[[Sequence[str]], Collection[str]] | None = None,
    opening: Opening = ALONE,
    **unknown: NoReturn,
) -> DeliveryReport:
    """Run the handlers of `mapping` for what waits, in short rounds, until as much as waited at first has had its turn.

    `mapping` is a list of pairs of a name and a handler, a dict of them, or `Receivers`; with patterns among these,
    `names` says which names to look at. `reliable` None delivers each name in the strictest mode that one of its
    receivers asks for, weak for plain handlers; True makes all reliable.

    A reliable delivery holds its messages for `lease_seconds`, at least one, or for the longest that a receiver of its
    names declares. Each handler has to finish within three quarters of it; an `async def` one that does not is
    cancelled. `max_messages` and `max_seconds` bound the delivery: at least one message is run, and what it claimed and
    did not begin goes back. `should_stop` is asked before each message, too. `paused` is given the page of paused names
    as each round reads it, in the call that reads the others, and says which names to leave alone. `on_backlog` is
    called with the names that it claimed from and that have more waiting, and with those of which several leases ran
    out, once for each, before a handler is run. `on_expired` is called with the names that have leases which ran out,
    if there are other names too, and returns those that go on elsewhere: a takeover is run message by message, and the
    others would wait for it. `opening` is how it begins: `JOINING` claims one batch of each name at first, and not
    sixteen messages, so that whoever helps with slow messages leaves the others their share.

    Handlers' exceptions are logged and counted, never raised here. Raises `StoreError` only if the store answered for
    none of the names, `RunningLoopError` for `async def` handlers inside a running event loop, and an error of ours for
    a mapping or an option that makes no sense.
    """
    reject_unknown(unknown, where="deliver()")
    check_bounds(lease_seconds, max_messages, max_seconds)
    _check_parts(mailbox, on_backlog=on_backlog, should_stop=should_stop, paused=paused, on_expired=on_expired)
    receivers = as_receivers(mapping, reliable=reliable)
    matches = find_matches(receivers, names)
    box = mailbox or current_mailbox()
    if is_loop_running() and any(map(is_coroutine_function, _functions(receivers, matches))):
        reject_running_loop()
    limits = Limits(
        longest_lease(lease_seconds, (match.receiver.lease_seconds for group in matches.values() for match in group)),
        max_messages,
        math.inf if max_seconds is None else box.monotonic() + max_seconds,
        should_stop or _never,
    )
    observer = box.observer.listening()
    with (
        observer.delivering(),
        use_mailbox(box),
        closing(Coroutines(limit_seconds=limits.handler_seconds)) as coroutines,
    ):
        delivery = FreshDelivery(
            Round(box, receivers, limits, coroutines),
            matches,
            on_backlog,
            paused,
            on_expired=on_expired,
            opening=opening,
        )
        report = delivery.run()
        if not report.is_idle:
            box.emptied.add([name for name in matches if name not in report.more and name not in delivery.paused])
        _settle(box)
        observer.delivered(report)
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


def _functions(receivers: Receivers, matches: Mapping[str, Sequence[Match]]) -> Iterator[object]:
    """What a delivery may call."""
    yield receivers.on_dead
    yield from (match.receiver.handler for group in matches.values() for match in group)


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
        raise InvalidOptionError(f"names={brief(names)} cannot be: give a list of names")
    else:
        wanted = (name_of(name) for name in names)
    matches = {name: receivers.matching(name) for name in wanted}
    return {name: found for name, found in matches.items() if found}


def _check_parts(mailbox: object, **functions: object) -> None:
    if mailbox is not None and not isinstance(mailbox, Mailbox):
        raise InvalidOptionError(f"mailbox={brief(mailbox)} cannot be: give a Mailbox")
    for option, value in functions.items():
        if value is not None and not callable(value):
            raise InvalidOptionError(f"{option}={brief(value)} cannot be called")


def waiting_names(mapping: ReceiverMapping, *, mailbox: Mailbox | None = None, **unknown: NoReturn) -> list[str]:
    """Return the names in the index that match a receiver of `mapping`, whether or not they are due.

    Costs eight calls to the store. Raises `StoreError` if that does not answer, and an error of ours for a mapping that
    cannot work.
    """
    reject_unknown(unknown, where="waiting_names()")
    receivers = as_receivers(mapping)
    entries = Index(mailbox or current_mailbox()).entries()
    return sorted(name for name in entries if receivers.matching(name))
