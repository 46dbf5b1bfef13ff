"""Works: what one claim holds, and what became of its messages so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from gaesignals.format.entries import Record, is_due
from gaesignals.mailbox.claim import Claim
from gaesignals.mailbox.load import Loaded
from gaesignals.receiver import Match

from .verdict import Run, Verdict


@dataclass(slots=True)
class Work:
    """One claim in the course of a round. `waiting` is what can be run, `later` what is not due yet."""

    claim: Claim
    loaded: Loaded
    matches: Sequence[Match]
    runs: list[Run] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    waiting: deque[Record] = field(default_factory=deque)
    later: list[Record] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, loaded: Loaded, matches: Sequence[Match], now_ms: int) -> Work:
        """All of it waits until its turn comes, and goes back if this process ends before."""
        work = cls(loaded.claim, loaded, matches)
        for _, record in loaded.items:
            (work.waiting if is_due(record.not_before_ms, now_ms) else work.later).append(record)
        return work

    @property
    def name(self) -> str:
        return self.claim.name

    @property
    def is_reliable(self) -> bool:
        return self.claim.lease is not None

    @property
    def unrun(self) -> list[Record]:
        """What could be run at once, and was not or not by all its receivers."""
        return [record for verdict in self.verdicts for record in verdict.unbegun] + [*self.waiting]

    @property
    def back(self) -> list[Record]:
        """All that is to be run again, at once or later."""
        return [*self.unrun, *(record for verdict in self.verdicts for record in verdict.retries), *self.later]
