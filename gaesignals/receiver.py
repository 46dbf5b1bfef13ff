"""A receiver: a handler, the names it is for, and how it wants to be run."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypedDict

from .data.codec import loads
from .data.shape import Shape, from_plain
from .errors import InvalidOptionError, brief
from .handler import Handler, is_coroutine_function
from .limits import LEAST_LEASE_SECONDS, MOST_LEASE_SECONDS, is_lease, is_number
from .raised import MAX_WAIT_SECONDS, Drop, Retry, is_wait
from .tasks.queues import LATER, QUEUE_NAME, SAFETY
from .template import Template, check_name

MAX_BATCH: Final = 1000
MAX_CONCURRENCY: Final = 1000
CONCURRENCY: Final = 10
# What these say is said already by whoever raises one.
_NOT_OURS: Final = "; Retry and Drop say themselves what becomes of a message"


Backoff: TypeAlias = Callable[[int], float] | Sequence[float]
"""From the number of the attempt that failed to seconds; or a number for each attempt, the last one for all later."""


Around: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Makes a block to be entered around each call of a handler."""


class Options(TypedDict, total=False):
    """The options of `connect`, but for `batch`, which decides what a handler is called with."""

    reliable: bool
    max_attempts: int
    backoff_seconds: float
    backoff: Backoff | None
    retry_on: type[Exception] | Sequence[type[Exception]]
    drop_on: type[Exception] | Sequence[type[Exception]]
    max_age_seconds: float | None
    lease_seconds: float | None
    queue: str | None
    id: str | None
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Receiver:
    """A handler, the names it is for, and how it is run.

    `id` finds it again after a deploy. `batch` is the most messages a call of the handler gets as a list; None
    stands for a handler that takes the data of one. A message that fails is run again after a random part of
    `backoff_seconds`, doubled each time up to an hour, or as `backoff` says, until `max_attempts` have been made.
    `retry_on` are the types of failures that are tried again, all if it is empty; one in `drop_on` is none.
    Messages older than `max_age_seconds` are not run. `lease_seconds` is how long a lease of its messages lasts at
    least, and `queue` the queue that delivers its names; None leaves both to who delivers. `shape` is that of the
    data where its signal declares a type. `concurrency` is how many messages a coroutine handler is run for at a
    time. `is_pair` where it was made from a plain pair, whose name may have been made at run time. `around` makes a
    block that every call of the handler is made in.
    """

    id: str
    handler: Handler
    template: Template
    shape: Shape | None = None
    reliable: bool = False
    max_attempts: int = 20
    backoff_seconds: float = 10.0
    backoff: Backoff | None = None
    retry_on: tuple[type[Exception], ...] = ()
    drop_on: tuple[type[Exception], ...] = ()
    max_age_seconds: float | None = None
    lease_seconds: float | None = None
    queue: str | None = None
    batch: int | None = None
    concurrency: int = 1
    is_pair: bool = False
    around: Around | None = None

    def is_too_old(self, age_seconds: float) -> bool:
        """Whether a message of this age is not to be run any more."""
        return self.max_age_seconds is not None and age_seconds > self.max_age_seconds

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
        raise InvalidOptionError(
            f"concurrency={brief(wanted)} is for an async def handler of one message; leave it out"
        )
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
        "max_attempts": (
            receiver.max_attempts,
            _is_whole(receiver.max_attempts, most=sys.maxsize),
            f"a whole number from 1 to {sys.maxsize}",
        ),
        "backoff_seconds": (
            receiver.backoff_seconds,
            is_number(receiver.backoff_seconds) and 0 <= receiver.backoff_seconds <= MAX_WAIT_SECONDS,
            f"0 to {MAX_WAIT_SECONDS} (seven days)",
        ),
        "backoff": (
            receiver.backoff,
            receiver.backoff is None or callable(receiver.backoff) or _is_waits(receiver.backoff),
            f"a function that takes the number of the attempt, or a list of seconds from 0 to {MAX_WAIT_SECONDS}",
        ),
        "retry_on": (receiver.retry_on, _is_types(receiver.retry_on), f"types of exceptions{_NOT_OURS}"),
        "drop_on": (
            receiver.drop_on,
            _is_types(receiver.drop_on)
            and not (_is_types(receiver.retry_on) and {*receiver.drop_on} & {*receiver.retry_on}),
            f"types of exceptions, of which none is in retry_on{_NOT_OURS}",
        ),
        "max_age_seconds": (
            receiver.max_age_seconds,
            receiver.max_age_seconds is None
            or (is_number(receiver.max_age_seconds) and 0 < receiver.max_age_seconds < math.inf),
            "more than 0, or None for messages of any age",
        ),
        "lease_seconds": (
            receiver.lease_seconds,
            receiver.lease_seconds is None or is_lease(receiver.lease_seconds),
            f"{LEAST_LEASE_SECONDS} to {MOST_LEASE_SECONDS} (a day), or None for the delivery's own",
        ),
        "queue": (
            receiver.queue,
            receiver.queue is None or _is_queue(receiver.queue),
            "the name of a queue in queue.yaml (A-Z a-z 0-9 -), or None for the worker's own; "
            f"{SAFETY} and {LATER} deliver nothing",
        ),
        "id": (receiver.id, _is_id(receiver.id), "a short text without control characters"),
    }
    for option, (value, is_valid, wanted) in options.items():
        if not is_valid:
            raise InvalidOptionError(f"{option}={brief(value)} cannot be: give {wanted}")


def _is_whole(value: object, *, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_waits(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(is_wait(seconds) for seconds in value)


def _is_types(values: object) -> bool:
    return isinstance(values, tuple) and all(
        isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, (Retry, Drop))
        for kind in values
    )


def _is_queue(value: object) -> bool:
    return isinstance(value, str) and QUEUE_NAME.fullmatch(value) is not None and value not in (SAFETY, LATER)


def _is_id(value: object) -> bool:
    try:
        check_name(value)
    except ValueError:
        return False
    return True
