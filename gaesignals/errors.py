"""The errors of this package, all derived from `SignalsError`.

Each carries the offending value and says what to do. An error about bad input is raised before anything is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class SignalsError(Exception):
    """The root of every error this package raises on its own account."""


class InvalidNameError(SignalsError, ValueError):
    """A signal name that cannot be used: not a str, empty, too long, or with a control character."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"bad signal name {brief(name)}: {reason}")
        self.name = name


class InvalidDataError(SignalsError, ValueError):
    """Data that cannot be carried: a type the codec does not know, or too many bytes."""


class InvalidOptionError(SignalsError, TypeError):
    """An option that does not exist, or a value that it cannot have."""


class InvalidMappingError(SignalsError, TypeError):
    """A mapping, receiver or handler that cannot work, found when it is connected and not when a message arrives."""


class TooManyPausedError(SignalsError, ValueError):
    """More names would be paused at once than one small page may list."""


class NoCurrentMessageError(SignalsError, RuntimeError):
    """`current_message()` was called outside a handler."""


class RunningLoopError(SignalsError, RuntimeError):
    """Coroutine handlers were to be delivered inside a running event loop. Nothing was claimed."""


class StoreError(SignalsError):
    """The store failed, or an outcome stayed unknown. What was asked may or may not have happened."""


class LeftAloneError(StoreError):
    """What was asked for is stored in the format of a later version, and left alone. Nothing was changed."""


class SendError(StoreError):
    """Some messages were not stored for certain.

    `stored` lists the ids of the messages that are in the mailbox; `unsure` those that may be: sending them again may
    duplicate them; `failed` those that are not.
    """

    def __init__(self, reason: str, *, stored: Sequence[str], unsure: Sequence[str], failed: Sequence[str]) -> None:
        super().__init__(
            f"{reason}: {len(stored)} stored, {len(failed)} not stored, "
            f"{len(unsure)} unknown (sending those again may duplicate them)"
        )
        self.stored = tuple(stored)
        self.unsure = tuple(unsure)
        self.failed = tuple(failed)


class DecodeError(SignalsError, ValueError):
    """Stored bytes that are not what they should be: truncated, planted, or with a checksum that does not match."""


class NewerFormatError(SignalsError):
    """Stored bytes of a later format version, which this version leaves alone."""


def brief(value: object) -> str:
    """The beginning of `repr(value)` for an error's text, whatever somebody gave: not everything has one.

    Python writes no whole number of over 4,300 digits, and an application's own class may fail at it.
    """
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001 - what an application gave fails here, and the error is about that value
        return f"<{type(value).__name__} that cannot be written out>"


def reject_unknown(options: Mapping[str, object], *, where: str) -> None:
    """Raise `InvalidOptionError` if `options`, the keywords that `where` does not know, is not empty."""
    if options:
        raise InvalidOptionError(f"{where} has no option {', '.join(map(repr, sorted(options)))}; check the spelling")
