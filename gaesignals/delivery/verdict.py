"""A run: which receivers a record still has to see, and what became of it with each."""

from __future__ import annotations

import logging
import random
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gaesignals.format.entries import Record
from gaesignals.format.letter import MAX_ERROR_CHARACTERS, DeadLetter
from gaesignals.raised import text_of
from gaesignals.receiver import Backoff, Match, Receiver
from gaesignals.report import DeliveryReport, Failure

from .backoff import wait_seconds

logger = logging.getLogger("gaesignals")


@dataclass(frozen=True, slots=True)
class Failed:
    """One receiver's failure with one record. `is_request` where the handler asked for a retry itself.

    A weak receiver's failure is counted, and that is all; a reliable one's has attempts left, or not. `is_final` where
    trying again makes no sense; `is_charged` unless the attempt is not to count.
    """

    receiver: str
    error: str
    is_reliable: bool = True
    max_attempts: int = 0
    backoff_seconds: float = 0.0
    backoff: Backoff | None = None
    exception: BaseException | None = None
    after_seconds: float | None = None
    is_request: bool = False
    is_charged: bool = True
    is_final: bool = False

    @classmethod
    def of(
        cls,
        receiver: Receiver,
        error: str,
        *,
        exception: BaseException | None = None,
        after_seconds: float | None = None,
        is_request: bool = False,
        is_charged: bool = True,
        is_final: bool = False,
    ) -> Failed:
        """A failure of this receiver, which is tried again as it declares."""
        return cls(
            receiver.id,
            error,
            is_reliable=receiver.reliable,
            max_attempts=receiver.max_attempts,
            backoff_seconds=receiver.backoff_seconds,
            backoff=receiver.backoff,
            exception=exception,
            after_seconds=after_seconds,
            is_request=is_request,
            is_charged=is_charged,
            is_final=is_final,
        )

    def is_last(self, record: Record) -> bool:
        """Whether the record is not run again for this receiver after this failure."""
        return self.is_final or not self.is_reliable or (self.is_charged and record.attempt >= self.max_attempts)


@dataclass(slots=True)
class Run:
    """A record, the receivers that it has yet to see, those that failed, and those that have not begun it.

    The record was too old for those in `expired`. `unknown` are those that it names and nobody here knows.
    """

    record: Record
    matches: Sequence[Match]
    failures: list[Failed]
    unbegun: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    unknown: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether every receiver that was to see it is done with it, and there is nothing else to say of it."""
        return bool(self.matches) and not (self.failures or self.unbegun or self.expired or self.unknown)

    @property
    def rest(self) -> tuple[Record, ...]:
        """The record for the receivers that have not begun it, if any; they see the same attempt of it."""
        return (replace(self.record, receivers=tuple(self.unbegun)),) if self.unbegun else ()


def plan(record: Record, matches: Sequence[Match]) -> Run:
    """Find out which of `matches` the record has yet to see.

    Weak receivers see its first attempt only, and never one that is made up for. Receivers that it names and nobody
    knows are left for later; for a name that is weak, where nothing can wait, they are failures for good.
    """
    is_new = not record.is_resent and (record.attempt == 1 or record.receivers)
    if is_new and not record.receivers:
        return Run(record, matches, [])  # as most are
    return _planned(record, matches, matches if is_new else _reliable(matches))


def plan_again(record: Record, matches: Sequence[Match]) -> Run:
    """As `plan`, of a record whose lease ran out: weak receivers may have seen it before its process died."""
    return _planned(record, matches, _reliable(matches))


def _planned(record: Record, matches: Sequence[Match], left: Sequence[Match]) -> Run:
    """The run of a record for those of `left`, of `matches`, that are to see it."""
    if not record.receivers:
        return Run(record, left, [])
    known = {match.receiver.id for match in matches}
    named = tuple(match for match in left if match.receiver.id in record.receivers)
    unknown = tuple(receiver for receiver in record.receivers if receiver not in known)
    if _reliable(matches):
        return Run(record, named, [], unknown=unknown)
    return Run(record, named, [_gone(receiver) for receiver in unknown])


def _reliable(matches: Sequence[Match]) -> tuple[Match, ...]:
    return tuple(match for match in matches if match.receiver.reliable)


def _gone(receiver: str) -> Failed:
    return Failed(receiver, f"no receiver {receiver!r} matches this name any more")


# A receiver that nobody knows may have come with a version that is not deployed everywhere yet, or have been renamed.
UNKNOWN_MS = 3_600_000
UNKNOWN_STEP_MS = 300_000
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
    """Turn the failures of a run into retries and dead letters.

    For a receiver that is unknown here the record goes back uncharged, until an hour has passed; then it is dead.
    """
    verdict = Verdict(run.record, run.rest)
    for failed in run.failures:
        if not failed.is_reliable:
            continue
        if failed.is_last(run.record):
            verdict.letters.append(_letter(run.record, failed, now_ms))
        else:
            verdict.retries.append(_retry(run.record, failed, now_ms, random))
    for receiver in run.unknown:
        if run.record.unknown_since_ms and now_ms >= run.record.unknown_since_ms + UNKNOWN_MS:
            gone = _gone(receiver)
            run.failures.append(gone)
            verdict.letters.append(_letter(run.record, gone, now_ms))
        else:
            verdict.retries.append(_waiting_for(run.record, receiver, now_ms))
    return verdict


def _retry(record: Record, failed: Failed, now_ms: int, random: random.Random) -> Record:
    delay = failed.after_seconds
    if delay is None:
        delay = wait_seconds(
            record.attempt,
            receiver=failed.receiver,
            backoff=failed.backoff,
            backoff_seconds=failed.backoff_seconds,
            random=random,
        )
    not_before_ms = now_ms + int(delay * 1000)
    charged = record.charged(receivers=(failed.receiver,), not_before_ms=not_before_ms, error=failed.error)
    return charged if failed.is_charged else replace(charged, attempt=record.attempt)


def _waiting_for(record: Record, receiver: str, now_ms: int) -> Record:
    if not record.unknown_since_ms:
        fields = {"signals_message": record.id, "signals_receiver": receiver, "signals_attempt": record.attempt}
        logger.warning("a message waits up to an hour for a receiver that is not known here", extra=fields)
    since_ms = record.unknown_since_ms or now_ms
    return replace(record, receivers=(receiver,), not_before_ms=now_ms + UNKNOWN_STEP_MS, unknown_since_ms=since_ms)


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
    expired: int = 0
    errors: list[Failure] = field(default_factory=list)
    more: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)

    def count(self, name: str, runs: Sequence[Run], verdicts: Sequence[Verdict]) -> None:
        """Add what became of some messages of `name`."""
        for run, verdict in zip(runs, verdicts, strict=True):
            failures = [failed for failed in run.failures if not failed.is_request]
            # Without a match it is for weak receivers alone after a takeover, and nobody knows whether they ran it.
            is_done = not run.failures and not run.unbegun
            self.delivered += is_done and len(run.matches) > len(run.expired)
            self.expired += bool(run.expired)
            self.failed += bool(failures)
            self.retried += any(not retry.unknown_since_ms for retry in verdict.retries)
            self.remaining += any(retry.unknown_since_ms for retry in verdict.retries)
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
            expired=self.expired,
            errors=tuple(self.errors),
            more=tuple(sorted(self.more)),
            unbegun=tuple(sorted(self.more - self.begun)),
        )
