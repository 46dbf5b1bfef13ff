"""What is to become of a record after its receivers ran: it is done, goes back, or is a dead letter."""

from __future__ import annotations

import random
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .deadletter import MAX_ERROR_CHARACTERS, DeadLetter
from .message import Record, text_of
from .report import DeliveryReport, Failure
from .run import Failed, Run

# Waits are doubled up to an hour; one that is longer from the start stays as it is.
DOUBLED_UP_TO_SECONDS = 3600.0
DIED = "the process died while it ran this message, or it ran past its lease"


@dataclass(slots=True)
class Outcome:
    """`retries` go back, one for each receiver that failed, so that none waits for another. `letters` are dead.

    `unbegun` goes back for the receivers that there was no time for.
    """

    record: Record
    unbegun: tuple[Record, ...] = ()
    retries: list[Record] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)


def decide(run: Run, *, now_ms: int, random: random.Random) -> Outcome:
    """Turn the failures of a run into retries and dead letters."""
    outcome = Outcome(run.record, run.rest)
    for failed in run.failures:
        if not failed.is_reliable:
            continue
        if run.record.attempt >= failed.max_attempts:
            outcome.letters.append(_letter(run.record, failed, now_ms))
        else:
            outcome.retries.append(_retry(run.record, failed, now_ms, random))
    return outcome


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

    def count(self, name: str, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> None:
        """Add what became of some messages of `name`."""
        for run, outcome in zip(runs, outcomes, strict=True):
            failures = [failed for failed in run.failures if not failed.is_request]
            # Without a match it is for weak receivers alone after a takeover, and nobody knows whether they ran it.
            self.delivered += bool(run.matches) and not run.failures and not run.unbegun
            self.failed += bool(failures)
            self.retried += bool(outcome.retries)
            self.dead += bool(outcome.letters)
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
