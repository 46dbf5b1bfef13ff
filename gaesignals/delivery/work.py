"""Works: what one claim holds, and what became of its messages so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gaesignals.format.entries import Record, is_due
from gaesignals.mailbox.claim import Claim
from gaesignals.mailbox.load import Loaded
from gaesignals.mailbox.safety import Safety, finished, merged
from gaesignals.receiver import Match

from .copies import Copies
from .verdict import Run, Verdict


@dataclass(slots=True)
class Work:
    """One claim in the course of a round. `waiting` is what can be run, `later` what is not due yet.

    Of the runs that were clean the count is kept, and of the others `runs` and `verdicts`.
    """

    claim: Claim
    loaded: Loaded
    matches: Sequence[Match]
    clean_count: int = 0
    runs: list[Run] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    waiting: deque[Record] = field(default_factory=deque)
    later: list[Record] = field(default_factory=list)
    handed_back: list[Record] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, loaded: Loaded, matches: Sequence[Match], now_ms: int, copies: Copies) -> Work:
        """All messages wait for their turn, and go back if this process ends before; of `copies` one each."""
        work = cls(loaded.claim, loaded, matches)
        name = work.name
        for _, record in loaded.items:
            if chosen := copies.chosen(name, record):
                (work.waiting if is_due(chosen.not_before_ms, now_ms) else work.later).append(chosen)
        return work

    @property
    def name(self) -> str:
        return self.claim.name

    @property
    def is_reliable(self) -> bool:
        return self.claim.lease is not None

    @property
    def run_count(self) -> int:
        return self.clean_count + len(self.runs)

    @property
    def unrun(self) -> list[Record]:
        """What could be run at once, and was not or not by all its receivers."""
        return [record for verdict in self.verdicts for record in verdict.unbegun] + [*self.waiting]

    def going_back(self) -> list[Record]:
        """All that is to be run again, at once or later."""
        return merged([*self.unrun, *(record for verdict in self.verdicts for record in verdict.retries), *self.later])

    def finished(self, back: Iterable[Record]) -> list[Record]:
        """The durable messages that are done, since they are not among those that go `back`, or another copy is run."""
        durable = [record for _, record in self.loaded.items if record.safety]
        return finished(durable, [*back, *self.handed_back]) if durable else []


def release(safety: Safety, ends: Iterable[tuple[Work, Iterable[Record]]]) -> None:
    """Delete the tasks of the durable messages that are done, of works with what goes back of each."""
    done: list[Record] = []
    for work, back in ends:
        of_work = work.finished(back)
        if of_work and not work.is_reliable:
            safety.tell_of_weak(work.name)
        done += of_work
    safety.release(done)
