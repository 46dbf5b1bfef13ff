"""Judging: what an exception of a handler means for its message."""

from __future__ import annotations

from gaesignals.raised import Drop, Retry, leaves_of, wait_of
from gaesignals.receiver import Receiver


def judged(error: Exception, receiver: Receiver, *, is_alone: bool) -> Exception:
    """Return the `Retry` or `Drop` that `error` stands for, or `error` if the handler failed.

    An exception group stands for what is in it: a failure if there is one, else a retry after the longest wait that is
    asked for, else a drop. Types in `drop_on` stand for a drop; not so in a batch that can be run again one by one,
    since which of its messages is meant is not known yet.
    """
    takes_types = is_alone or not receiver.reliable
    leaves = [_drop(leaf) if takes_types and _is_dropped(leaf, receiver) else leaf for leaf in leaves_of(error)]
    if any(not isinstance(leaf, (Retry, Drop)) for leaf in leaves):
        return error
    retries = [leaf for leaf in leaves if isinstance(leaf, Retry)]
    if not retries:
        return next(leaf for leaf in leaves if isinstance(leaf, Drop))
    if len(retries) == 1:
        return retries[0]
    longest = max(retries, key=lambda retry: -1.0 if wait_of(retry) is None else float(wait_of(retry) or 0))
    return Retry(wait_of(longest), str(longest), charge=any(retry.charge for retry in retries))


def is_final(error: Exception, receiver: Receiver) -> bool:
    """Whether a failure is one that `retry_on` leaves out, so that trying again makes no sense."""
    if not receiver.retry_on:
        return False
    failed = [leaf for leaf in leaves_of(error) if not isinstance(leaf, (Retry, Drop))]
    return not all(_nearest(leaf, receiver) in receiver.retry_on for leaf in failed)


def _drop(error: BaseException) -> Drop:
    return Drop(f"drop_on: {type(error).__qualname__}")


def _is_dropped(error: BaseException, receiver: Receiver) -> bool:
    return not isinstance(error, (Retry, Drop)) and _nearest(error, receiver) in receiver.drop_on


def _nearest(error: BaseException, receiver: Receiver) -> type[BaseException] | None:
    """Of the types that the receiver names, the one that is closest to the error's own."""
    named = {*receiver.retry_on, *receiver.drop_on}
    return next((kind for kind in type(error).__mro__ if kind in named), None)
