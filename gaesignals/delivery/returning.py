"""Returning: what was claimed is given back as far as it was not begun, and done with as far as it was."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from gaesignals.errors import SendError
from gaesignals.format.entries import Record, refs_of
from gaesignals.format.keys import bundle_key
from gaesignals.mailbox.hold import LeaseEnd, acknowledge
from gaesignals.mailbox.renew import keep

from .backlog import Backlog
from .pace import Pace
from .round import Round
from .verdict import Verdict
from .work import Work, release

logger = logging.getLogger("gaesignals")


class Returning:
    """How the claims of one delivery end: weak messages are sent again, leases are acknowledged."""

    def __init__(self, round_: Round, pace: Pace, backlog: Backlog) -> None:
        self._round = round_
        self._mailbox = round_.mailbox
        self._pace = pace
        self._backlog = backlog

    def set_aside(self, works: Sequence[Work]) -> list[Work]:
        """Give back what a claim took beyond what was asked for, where messages are slow, before their first handler.

        A segment is taken whole, and a handler of an hour would keep the rest of it waiting. Returns the works that are
        still to be run.
        """
        return [work for work in works if self._keeps(work)]

    def _keeps(self, work: Work) -> bool:
        most = self._pace.most_at_once(work.name)
        if most is None or len(work.waiting) <= most:
            return True
        if work.is_reliable:
            # On a lease it is in nobody's way, unless that is a long one.
            return not self._pace.is_of_one_batch(work.name) or self._hand_back(work, most)
        self._set_aside_weak(work, most)
        return True

    def _set_aside_weak(self, work: Work, most: int) -> None:
        """Send all but `most` messages again. What memcache does not take has its turn here, or it would be lost."""
        back = [work.waiting.pop() for _ in range(len(work.waiting) - most)][::-1]
        error = self._send_again([(work.name, record) for record in back])
        if error is not None:
            logger.warning("messages for others could not be sent again; they are run here", exc_info=error)
            work.waiting.extend(record for record in back if record.id in error.failed)
            back = [record for record in back if record.id not in error.failed]
        self._count_back(work.name, len(back))
        if error is not None:
            self._lose(work.name, len(error.unsure))

    def _hand_back(self, work: Work, most: int) -> bool:
        """Keep the first `most` messages that wait, and let the others go; False if the lease is lost."""
        waiting = [*work.waiting]
        claim = keep(self._mailbox, work.claim, waiting[:most], [*waiting[most:], *work.later])
        if claim is None:
            self._overtaken(work)
            return False
        if claim.holding != work.claim.holding:
            self._mailbox.delete(work.loaded.keys)
            work.loaded.keys = [bundle_key(ref.key) for ref in refs_of(claim.holding.entries.decoded())]
            work.handed_back = [*waiting[most:], *work.later]
            work.waiting, work.later = deque(waiting[:most]), []
            self._count_back(work.name, len(waiting) - most)
        work.claim = claim
        return True

    def send_back(self, works: Sequence[Work]) -> None:
        """What a weak delivery claimed and did not begin is sent again; what it began is counted."""
        self._bury(works)
        ends = [(work, work.going_back()) for work in works]
        error = self._send_again([(work.name, record) for work, back in ends for record in back])
        release(self._mailbox.safety, ends)
        for work in works:
            self._count(work)
        if error is not None:
            logger.error("messages that there was no time for could not be sent again", exc_info=error)
            lost = {*error.failed, *error.unsure}
            for work, back in ends:
                self._lose(work.name, sum(record.id in lost for record in back))

    def _send_again(self, back: Sequence[tuple[str, Record]]) -> SendError | None:
        try:
            self._mailbox.send_records(back)
        except SendError as error:
            return error
        return None

    def _lose(self, name: str, count: int) -> None:
        """So many messages of `name` that counted as given back are not there."""
        self._round.tally.lost += count
        self._backlog.give_back(name, -count)

    def acknowledge(self, works: Sequence[Work]) -> None:
        """End the leases of `works`: what was not begun, or failed, goes back, and what was run is counted."""
        if not works:
            return
        self._bury(works)
        ends = [(work, work.going_back()) for work in works]
        leases = [LeaseEnd(work.claim, back, work.loaded.keys, work.loaded.lost) for work, back in ends]
        missed = {id(claim) for claim in acknowledge(self._mailbox, leases)}
        release(self._mailbox.safety, [(work, back) for work, back in ends if id(work.claim) not in missed])
        for work in works:
            (self._overtaken if id(work.claim) in missed else self._count)(work)

    def _overtaken(self, work: Work) -> None:
        self._round.tally.overtaken += len(work.loaded.items)
        logger.warning("a lease was lost while its messages were run", extra={"signals_name": ascii(work.name)})

    def _bury(self, works: Sequence[Work]) -> None:
        verdicts: dict[str, list[Verdict]] = {}
        for work in works:
            verdicts.setdefault(work.name, []).extend(work.verdicts)
        self._round.bury(verdicts)

    def _count(self, work: Work) -> None:
        self._round.tally.delivered += work.clean_count
        self._round.count(work.name, work.runs, work.verdicts)
        self._count_back(work.name, len(work.unrun))

    def _count_back(self, name: str, count: int) -> None:
        self._backlog.give_back(name, count)
        if count:
            self._round.tally.more.add(name)
