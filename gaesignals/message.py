"""A message: what a handler sees of it, and what it says of it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Generic

from .errors import NoCurrentMessageError
from .raised import Retry, text_of
from .values import value

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    DataT = TypeVar("DataT", default=Any)
else:
    from typing import TypeVar

    DataT = TypeVar("DataT")


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@value
class Message(Generic[DataT]):
    """One signal as a handler sees it.

    `id` is the same on every attempt: use it to make a handler idempotent. `data` is of the type that the receiver's
    signal declares, if it does. `sent_us` is when it was sent, in microseconds since 1970. `attempt` is 1 for the first
    run. `namespace` is the sender's, and the one that is set while the handler runs. `context` is the sender's trace
    context, if it had one: a W3C traceparent, behind a space its tracestate, and behind a line break its baggage.
    """

    id: str
    name: str
    data: DataT
    sent_us: int
    attempt: int = 1
    namespace: str = ""
    _marks: list[str | Retry] = field(default_factory=list, repr=False, compare=False)
    context: str = field(default="", repr=False, compare=False)
    _due: float = field(default=0.0, repr=False, compare=False)

    @property
    def sent_at(self) -> datetime:
        """When it was sent, in UTC and aware."""
        return _EPOCH + timedelta(microseconds=self.sent_us)

    @property
    def waits_since(self) -> float:
        """When it could first be handled, in seconds since 1970: when it was sent, or due if it was for later."""
        return self._due or self.sent_us / 1_000_000

    def fail(self, reason: object = "") -> None:
        """Mark this message alone as failed; the others of its batch are not touched.

        A reliable receiver has it run again later, a weak one counts the failure. `reason` is kept as text: an
        exception will do. Of several marks the first one counts.
        """
        self._marks.append(text_of(reason) or "marked as failed by its handler")

    def retry(self, after_seconds: float | None = None, reason: object = "", *, charge: bool = True) -> None:
        """Have this message alone run again, as raising `Retry` does for one; it has not failed.

        Takes what `Retry` takes, and raises `InvalidOptionError` as that does. Of several marks the first one counts.
        """
        self._marks.append(Retry(after_seconds, text_of(reason), charge=charge))

    @property
    def mark(self) -> str | Retry | None:
        """What was said first: the reason of a `fail`, what `retry` asked for, or None."""
        return self._marks[0] if self._marks else None

    @property
    def failure(self) -> str | None:
        """The reason of a `fail`, if that was said first, or None."""
        return self.mark if isinstance(self.mark, str) else None


_handling: ContextVar[tuple[Message | None, str | None]] = ContextVar("gaesignals_handling", default=(None, None))


def current_message() -> Message:
    """Return the message whose handler is running.

    Raises `NoCurrentMessageError` outside a handler, and in a batch handler, which is given its messages.
    """
    message = handled_message()
    if message is None:
        raise NoCurrentMessageError(
            "no message is being handled here; call current_message() inside a handler that takes one message"
        )
    return message


def handled_message() -> Message | None:
    """The message whose handler is running, if it takes one message."""
    return _handling.get()[0]


def current_receiver() -> str | None:
    """The id of the receiver whose handler is running."""
    return _handling.get()[1]


class handling:
    """Make `message`, or none for a batch, and `receiver` the current ones inside the block."""

    __slots__ = ("_token", "_value")

    def __init__(self, message: Message | None, receiver: str) -> None:
        self._value = message, receiver

    def __enter__(self) -> None:
        self._token = _handling.set(self._value)

    def __exit__(self, *_: object) -> None:
        _handling.reset(self._token)
