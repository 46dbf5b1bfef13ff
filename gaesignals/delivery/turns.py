"""Turns: the names of a round are run for a moment each, again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .pace import Pace
from .round import Round
from .runner import Runner
from .verdict import plan
from .work import Work

TURN_SECONDS: Final = 0.1


class Turns:
    """The turns of one delivery."""

    def __init__(self, round_: Round, pace: Pace) -> None:
        self._round = round_
        self._pace = pace

    def take(self, works: Sequence[Work]) -> None:
        """Let each run for a moment, again and again, so that quick messages do not wait for slow ones.

        A name that had less time than others is first: it may have gone without a turn in the last round.
        """
        turns = deque(sorted(works, key=lambda work: self._pace.seconds(work.name)))
        while turns and not self._round.is_ending:
            work = turns.popleft()
            self._take_turn(work)
            if work.waiting:
                turns.append(work)

    def _take_turn(self, work: Work) -> None:
        name, started = work.name, self._round.mailbox.monotonic()
        runner = Runner(self._round.coroutines, self._round.mailbox, name, is_late=lambda: self._round.is_late)
        while work.waiting and not self._round.is_ending:
            size = min(self._round.allowance(self._pace.chunks[name]), len(work.waiting))
            # A weak message is begun here: whatever stops this process now, it does not go back.
            runs = [plan(work.waiting.popleft(), work.matches) for _ in range(size)]
            self._round.run_count += size
            self._round.tally.begun.add(name)
            try:
                runner.run(runs)
            except BaseException:
                # This process ends: what a receiver has not begun is sent again for it, if this is still possible.
                work.waiting.extendleft(reversed([record for run in runs for record in run.rest]))
                raise
            marred = [run for run in runs if not run.is_clean]
            work.clean_count += size - len(marred)
            if marred:
                work.runs += marred
                work.verdicts += map(self._round.decide, marred)
            if self._round.mailbox.monotonic() >= started + TURN_SECONDS:
                break
        seconds = self._round.mailbox.monotonic() - started
        work.seconds += seconds
        self._pace.note(name, seconds=seconds, of_claim=work.seconds, count=work.run_count)
