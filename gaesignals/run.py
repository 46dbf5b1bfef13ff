"""A run: which receivers a record still has to see, and what became of it with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .message import Record
from .receiver import Match


@dataclass(frozen=True, slots=True)
class Failed:
    """One receiver's failure with one record. `is_request` where the handler asked for a retry itself.

    A weak receiver's failure is counted, and that is all; a reliable one's has attempts left, or not.
    """

    receiver: str
    error: str
    is_reliable: bool = True
    max_attempts: int = 0
    backoff_seconds: float = 0.0
    exception: BaseException | None = None
    after_seconds: float | None = None
    is_request: bool = False


@dataclass(slots=True)
class Run:
    """A record, the receivers that it has yet to see, those that failed, and those that have not begun it."""

    record: Record
    matches: tuple[Match, ...]
    failures: list[Failed]
    unbegun: list[str] = field(default_factory=list)

    @property
    def rest(self) -> tuple[Record, ...]:
        """The record for the receivers that have not begun it, if any; they see the same attempt of it."""
        return (replace(self.record, receivers=tuple(self.unbegun)),) if self.unbegun else ()


def plan(record: Record, matches: Sequence[Match], *, is_takeover: bool) -> Run:
    """Find out which of `matches` the record has yet to see.

    Weak receivers see its first attempt only, and never one that is made up for. A receiver that the record names and
    that no longer exists is a failure without further attempts.
    """
    if not record.receivers:
        is_first = record.attempt == 1 and not is_takeover
        return Run(record, tuple(match for match in matches if match.receiver.reliable or is_first), [])
    known = {match.receiver.id for match in matches}
    named = tuple(
        match
        for match in matches
        if match.receiver.id in record.receivers and (match.receiver.reliable or not is_takeover)
    )
    gone = [
        Failed(receiver, f"no receiver {receiver!r} matches this name any more")
        for receiver in record.receivers
        if receiver not in known
    ]
    return Run(record, named, gone)
