"""One round of delivery: its limits, its counts, and what its parts do alike."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gaesignals.limits import Limits
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.claim import Claim
from gaesignals.mailbox.dead.bury import bury
from gaesignals.observing import Judged
from gaesignals.receivers import Receivers
from gaesignals.report import Failure

from .coroutines import Coroutines
from .deaths import announce
from .verdict import Run, Tally, Verdict, decide

logger = logging.getLogger("gaesignals")

UNBURIED_WAIT_MS = 30_000
# Of so many failures the exceptions are kept for the report. Each holds its frames, and what these hold.
MAX_EXCEPTIONS = 100


@dataclass(slots=True)
class Round:
    """Who delivers what, and how far it has come: what was claimed together is run until `until`, and then ended."""

    mailbox: Mailbox
    receivers: Receivers
    limits: Limits
    coroutines: Coroutines
    tally: Tally = field(default_factory=Tally)
    run_count: int = 0
    exception_count: int = 0
    until: float = math.inf
    begun_at: int = 0

    def begin(self) -> None:
        """Begin a round. A lease outlasts it and the handler that is running at its end."""
        self.until = min(self.mailbox.monotonic() + self.limits.round_seconds, self.limits.deadline)
        self.begun_at = self.run_count

    @property
    def seconds_left(self) -> float:
        """How long this round may begin messages."""
        return max(0.0, self.until - self.mailbox.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether no further message may be begun in this delivery."""
        return self.messages_left == 0 or self._is_past(self.limits.deadline)

    @property
    def is_ending(self) -> bool:
        """Whether no further message may be begun in this round, or in this delivery."""
        # A round begins one message, however late it is, but for one that its delivery has no time for.
        end = self.until if self.run_count > self.begun_at else self.limits.deadline
        return self.messages_left == 0 or self._is_past(end)

    @property
    def is_late(self) -> bool:
        """Whether no further handler of messages that this round has begun may be begun."""
        return self.limits.should_stop() or self.mailbox.monotonic() >= self.until

    def _is_past(self, time: float) -> bool:
        """Whether to stop then. A delivery begins one message, however late it is."""
        return self.limits.should_stop() or (self.run_count > 0 and self.mailbox.monotonic() >= time)

    @property
    def messages_left(self) -> int | None:
        most = self.limits.max_messages
        return None if most is None else max(0, most - self.run_count)

    def allowance(self, size: int) -> int:
        """How many messages of `size` may be begun together."""
        left = self.messages_left
        return size if left is None else min(size, left)

    def lease_end_ms(self) -> int:
        return self.mailbox.now_ms() + self.limits.lease_ms

    def decide(self, run: Run) -> Verdict:
        """What is to become of a record after its run. Its exceptions are let go of where there are many already."""
        verdict = decide(run, now_ms=self.mailbox.now_ms(), random=self.mailbox.random)
        for number, failed in enumerate(run.failures):
            if failed.exception is None:
                continue
            if self.exception_count < MAX_EXCEPTIONS:
                self.exception_count += 1
            else:
                run.failures[number] = replace(failed, exception=None)
        return verdict

    def bury(self, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
        """Store the dead letters among the verdicts of each name, log them and tell `on_dead`.

        Where memcache does not take those of a name, their messages go back to be run again, uncharged, a little later.
        """
        letters = {
            name: [letter for verdict in group for letter in verdict.letters] for name, group in verdicts.items()
        }
        letters = {name: group for name, group in letters.items() if group}
        most = self.receivers.max_dead_letters
        unburied = bury(self.mailbox, letters, most=most) if letters else ()
        for name, group in letters.items():
            if name in unburied:
                fields = {"signals_name": ascii(name), "signals_count": len(group)}
                logger.error("dead letters could not be stored; their messages go back", extra=fields)
                self._revive(verdicts[name])
                continue
            for letter in group:
                announce(name, letter, self.receivers, self.mailbox, self.coroutines)

    def count(self, name: str, runs: Sequence[Run], verdicts: Sequence[Verdict]) -> None:
        """Add what became of some messages of `name`, and tell the observer of those that did not go well."""
        self.tally.count(name, runs, verdicts)
        expired = [receiver for run in runs for receiver in run.expired]
        retries = [retry for verdict in verdicts for retry in verdict.retries if not retry.unknown_since_ms]
        letters = [letter for verdict in verdicts for letter in verdict.letters]
        if expired or retries or letters:
            retried = [receiver for retry in retries for receiver in retry.receivers]
            dead = [receiver for letter in letters for receiver in letter.receivers]
            self.mailbox.observer.judged(Judged(name, retried, dead, expired))

    def leave_unread(self, claim: Claim) -> None:
        """Memcache did not answer for what was claimed. Its lease runs out, and somebody takes it over."""
        self.tally.errors.append(
            Failure(claim.name, None, None, "the store did not answer for what was claimed; its lease has to run out")
        )
        self.tally.remaining += claim.holding.count

    def _revive(self, verdicts: Sequence[Verdict]) -> None:
        not_before_ms = self.mailbox.now_ms() + UNBURIED_WAIT_MS
        for verdict in verdicts:
            verdict.retries += [replace(letter.record, not_before_ms=not_before_ms) for letter in verdict.letters]
            verdict.letters = []
