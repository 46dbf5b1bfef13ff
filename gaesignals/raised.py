"""What a handler may raise to say what is to become of its message, and how exceptions of others are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from .errors import InvalidOptionError, brief, reject_unknown

MAX_WAIT_SECONDS = 7 * 86400
MAX_REASON_CHARACTERS = 1500


def text_of(value: object) -> str:
    """Return `str(value)` as text that can be stored, whatever an application's exception makes of `str`."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - what an application wrote fails here, and nothing of ours depends on it
        text = f"a {type(value).__name__} that str() fails for"
    return text.encode("utf-8", "backslashreplace").decode()


def reason_of(value: object) -> str:
    """`text_of` as far as a report, a status or a log line shows it: an exception may hold the body of an answer."""
    text = text_of(value)
    return text if len(text) <= MAX_REASON_CHARACTERS else f"{text[:MAX_REASON_CHARACTERS]}..."


def error_of(exception: BaseException) -> str:
    """The kind of an exception and what it says, bounded as `reason_of`."""
    return f"{type(exception).__name__}: {reason_of(exception)}"


def is_wait(seconds: object) -> bool:
    """Whether a message can wait so long."""
    return isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= MAX_WAIT_SECONDS


class Retry(Exception):
    """Raised by a reliable receiver's handler to have its message, or all of its batch, run again.

    `after_seconds` is the least time until then; None means the receiver's own backoff. The attempt is counted, unless
    `charge` is False: for what is not ready yet, and may be asked for again without end.
    """

    # Of a subclass that does not call this __init__, too.
    after_seconds: float | None = None
    charge: bool = True

    def __init__(
        self, after_seconds: float | None = None, reason: str = "", *, charge: bool = True, **unknown: NoReturn
    ) -> None:
        reject_unknown(unknown, where="Retry()")
        if after_seconds is not None and not is_wait(after_seconds):
            raise InvalidOptionError(f"after_seconds is {brief(after_seconds)}; give between 0 and 604800 (seven days)")
        if not isinstance(charge, bool):
            raise InvalidOptionError(f"charge={brief(charge)} cannot be: give True or False")
        super().__init__(reason or "the handler asked for a retry")
        self.after_seconds = after_seconds
        self.charge = charge


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
    return retry.after_seconds if is_wait(retry.after_seconds) else None


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """The errors in an exception group and the groups in it; the error itself if it is none."""
    inner = getattr(error, "exceptions", None)
    # By what a group has, since Python 3.10 knows them from a package only.
    if not (isinstance(inner, tuple) and inner and hasattr(error, "derive")):
        yield error
        return
    for one in inner:
        yield from leaves_of(one)
