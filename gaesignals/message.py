"""A message: what a handler sees of it, and the record that travels through memcache.

A record's wire form is `[id, sent_us, payload, options]`. Options hold what is not at its default, by one-letter names;
names this version does not know are kept, so that a later one can add fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn

from .errors import InvalidOptionError, NoCurrentMessageError, reject_unknown

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    DataT = TypeVar("DataT", default=Any)
else:
    from typing import TypeVar

    DataT = TypeVar("DataT")


def text_of(value: object) -> str:
    """Return `str(value)` as text that can be stored, whatever an application's exception makes of `str`."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - what an application wrote fails here, and nothing of ours depends on it
        text = f"a {type(value).__name__} that str() fails for"
    return text.encode("utf-8", "backslashreplace").decode()


def _is_wait(seconds: object) -> bool:
    return isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= 7 * 86400


class Retry(Exception):
    """Raised by a reliable receiver's handler to have its message run again.

    The attempt is counted. `after_seconds` is the least time until the next one; None means the receiver's own backoff.
    """

    after_seconds: float | None = None  # of a subclass that does not call this __init__, too

    def __init__(self, after_seconds: float | None = None, reason: str = "", **unknown: NoReturn) -> None:
        reject_unknown(unknown, where="Retry()")
        if after_seconds is not None and not _is_wait(after_seconds):
            raise InvalidOptionError(f"after_seconds is {after_seconds!r}; give between 0 and 604800 (seven days)")
        super().__init__(reason or "the handler asked for a retry")
        self.after_seconds = after_seconds


class Drop(Exception):
    """Raised by a handler to be done with its message without an error: it counts as delivered and is logged.

    What was marked as failed before it is raised has failed all the same.
    """

    reason: str = ""

    def __init__(self, reason: str = "", **unknown: NoReturn) -> None:
        reject_unknown(unknown, where="Drop()")
        super().__init__(reason)
        self.reason = reason


def wait_of(retry: Retry) -> float | None:
    """How long `retry` asks to wait; None also where a subclass has made something else of it than a time to wait."""
    return retry.after_seconds if _is_wait(retry.after_seconds) else None


@dataclass(frozen=True, slots=True)
class Message(Generic[DataT]):
    """One signal as a handler sees it.

    `id` is the same on every attempt: use it to make a handler idempotent. `data` is of the type that the receiver's
    signal declares, if it does. `sent_at` is in UTC and aware. `attempt` is 1 for the first run. `namespace` is the
    sender's, and the one that is set while the handler runs. `context` is the sender's trace context, if it had one: a
    W3C traceparent, and behind a space its tracestate.
    """

    id: str
    name: str
    data: DataT
    sent_at: datetime
    attempt: int = 1
    namespace: str = ""
    _marks: list[str] = field(default_factory=list, repr=False, compare=False)
    context: str = field(default="", repr=False, compare=False)

    def fail(self, reason: object = "") -> None:
        """Mark this message alone as failed; the others of its batch are not touched.

        A reliable receiver has it run again later, a weak one counts the failure. `reason` is kept as text: an
        exception will do.
        """
        self._marks.append(text_of(reason) or "marked as failed by its handler")

    @property
    def failure(self) -> str | None:
        """The reason of the first `fail`, or None."""
        return self._marks[0] if self._marks else None


_current: ContextVar[Message | None] = ContextVar("gaesignals_current_message", default=None)
_receiver: ContextVar[str | None] = ContextVar("gaesignals_current_receiver", default=None)


def current_message() -> Message:
    """Return the message whose handler is running.

    Raises `NoCurrentMessageError` outside a handler, and in a batch handler, which is given its messages.
    """
    message = _current.get()
    if message is None:
        raise NoCurrentMessageError(
            "no message is being handled here; call current_message() inside a handler that takes one message"
        )
    return message


def handled_message() -> Message | None:
    """The message whose handler is running, if it takes one message."""
    return _current.get()


def current_receiver() -> str | None:
    """The id of the receiver whose handler is running."""
    return _receiver.get()


@contextmanager
def handling(message: Message | None, receiver: str) -> Iterator[None]:
    """Make `message`, or none for a batch, and `receiver` the current ones inside the block."""
    message_token, receiver_token = _current.set(message), _receiver.set(receiver)
    try:
        yield
    finally:
        _receiver.reset(receiver_token)
        _current.reset(message_token)
