"""A run: which receivers a record still has to see, and what became of it with each."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gaesignals.format.entries import Record
from gaesignals.format.letter import MAX_ERROR_CHARACTERS, DeadLetter
from gaesignals.message import text_of
from gaesignals.receiver import Match
from gaesignals.report import DeliveryReport, Failure


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


# Waits are doubled up to an hour; one that is longer from the start stays as it is.
DOUBLED_UP_TO_SECONDS = 3600.0
DIED = "the process died while it ran this message, or it ran past its lease"


@dataclass(slots=True)
class Verdict:
    """`retries` go back, one for each receiver that failed, so that none waits for another. `letters` are dead.

    `unbegun` goes back for the receivers that there was no time for.
    """

    record: Record
    unbegun: tuple[Record, ...] = ()
    retries: list[Record] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def decide(run: Run, *, now_ms: int, random: random.Random) -> Verdict:
    """Turn the failures of a run into retries and dead letters."""
    verdict = Verdict(run.record, run.rest)
    for failed in run.failures:
        if not failed.is_reliable:
            continue
        if run.record.attempt >= failed.max_attempts:
            verdict.letters.append(_letter(run.record, failed, now_ms))
        else:
            verdict.retries.append(_retry(run.record, failed, now_ms, random))
    return verdict


def _retry(record: Record, failed: Failed, now_ms: int, random: random.Random) -> Record:
    delay = failed.after_seconds
    if delay is None:
        longest = max(DOUBLED_UP_TO_SECONDS, failed.backoff_seconds)
        ceiling = min(longest, failed.backoff_seconds * 2.0 ** min(record.attempt - 1, 60))
        delay = random.uniform(0, ceiling)
    not_before_ms = now_ms + int(delay * 1000)
    return record.charged(receivers=(failed.receiver,), not_before_ms=not_before_ms, error=failed.error)


def _letter(record: Record, failed: Failed, now_ms: int) -> DeadLetter:
    error = failed.error
    if failed.exception is not None:
        error = _traceback_of(failed.exception) or error
    dead = replace(record, receivers=(failed.receiver,), not_before_ms=0, error=failed.error[:500])
    # The end of a traceback says what went wrong. Of thousands that died alike, it is kept once.
    return DeadLetter(dead, now_ms, sys.intern(error[-MAX_ERROR_CHARACTERS:]))


def _traceback_of(exception: BaseException) -> str:
    """The traceback as text; none where the exception does not let Python write it, as a malformed `SyntaxError`."""
    try:
        return text_of("".join(traceback.format_exception(exception)))
    except Exception:  # noqa: BLE001 - what an application wrote fails here, and nothing of ours depends on it
        return ""


@dataclass(slots=True)
class Tally:
    """Counts while a delivery goes on."""

    delivered: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    lost: int = 0
    remaining: int = 0
    overtaken: int = 0
    errors: list[Failure] = field(default_factory=list)
    more: set[str] = field(default_factory=set)

    def count(self, name: str, runs: Sequence[Run], verdicts: Sequence[Verdict]) -> None:
        """Add what became of some messages of `name`."""
        for run, verdict in zip(runs, verdicts, strict=True):
            failures = [failed for failed in run.failures if not failed.is_request]
            # Without a match it is for weak receivers alone after a takeover, and nobody knows whether they ran it.
            self.delivered += bool(run.matches) and not run.failures and not run.unbegun
            self.failed += bool(failures)
            self.retried += bool(verdict.retries)
            self.dead += bool(verdict.letters)
            self.errors += [
                Failure(name, run.record.id, failed.receiver, failed.error, failed.exception) for failed in failures
            ]

    def report(self) -> DeliveryReport:
        return DeliveryReport(
            delivered=self.delivered,
            failed=self.failed,
            retried=self.retried,
            dead=self.dead,
            lost=self.lost,
            remaining=self.remaining,
            overtaken=self.overtaken,
            errors=tuple(self.errors),
            more=tuple(sorted(self.more)),
        )
