"""Delivering what is fresh: claim it, run its handlers, and see to what became of it.

It goes in rounds. Each claims a little of every name, runs it in turns for ten seconds at most, and ends it: weak
messages are this process's for good once they are claimed, and what was not begun is sent again; reliable ones are on
leases, which are acknowledged, and what was not begun goes back. So many workers share one backlog, and nobody waits
long for somebody else's slow messages.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from gaesignals.errors import SendError, StoreError
from gaesignals.format.entries import Record, refs_of
from gaesignals.format.keys import Address, bundle_key
from gaesignals.format.pauses import PausedNames
from gaesignals.mailbox.claim import Claim, Claimed, Claimer, Order
from gaesignals.mailbox.evicted import pass_over
from gaesignals.mailbox.hold import LeaseEnd, acknowledge
from gaesignals.mailbox.load import load
from gaesignals.mailbox.renew import keep
from gaesignals.receiver import Match
from gaesignals.report import DeliveryReport, Failure
from gaesignals.stores.client import Seen

from .copies import Copies
from .leftovers import Leftovers
from .pace import Pace
from .round import Round
from .takeover import Takeover
from .turns import Turns
from .verdict import Verdict
from .work import Work, release

logger = logging.getLogger("gaesignals")

_LOOKS_AGAIN: Final = 7


class FreshDelivery:
    """Rounds over the names of `matches`, until as many messages as waited at the first look have had their turn."""

    def __init__(
        self,
        round_: Round,
        matches: Mapping[str, Sequence[Match]],
        on_backlog: Callable[[Sequence[str]], None] | None,
        paused: Callable[[Seen[PausedNames]], Collection[str]] | None,
        *,
        on_expired: Callable[[Sequence[str]], Collection[str]] | None = None,
        is_cautious: bool = False,
    ) -> None:
        self._round = round_
        self._mailbox = round_.mailbox
        self._matches = matches
        self._leftovers = Leftovers(on_backlog)
        self._find_paused = paused
        self._on_expired = on_expired
        self._reliable = {name for name, group in matches.items() if any(match.receiver.reliable for match in group)}
        self._is_cautious = is_cautious
        self._pace = Pace(matches, is_cautious=is_cautious)
        self._turns = Turns(round_, self._pace)
        # Where the end may come before the last name's turn, it is not always the same one's.
        names = list(matches)
        if round_.limits.is_bounded:
            names = round_.mailbox.random.sample(names, len(names))
        self._places = {name: place for place, name in enumerate(names)}
        self.paused: set[str] = set()
        self._left = dict.fromkeys(matches, 0)
        self._todo: dict[str, int] = {}

    def run(self) -> DeliveryReport:
        tally = self._round.tally
        claimed = self._claim(self._matches, expired_first=True)
        if claimed.expired:
            elsewhere = self._passed_on(claimed.expired)
            self._take_over([claim for claim in claimed.expired if claim.name not in elsewhere])
            if not self._round.is_over:
                claimed = self._claim([name for name in self._matches if name not in elsewhere])
        elif self._is_cautious and not claimed.claims and any(claimed.live.values()):
            claimed = self._look_again(self._matches)
        self._todo = dict(self._left)
        for claim in claimed.claims:
            self._todo[claim.name] += claim.holding.count
        while claimed.claims:
            self._run(claimed)
            self._mailbox.observer.round_ended()
            names = self._unfinished()
            if not names or self._round.is_over:
                break
            claimed = self._claim_more(names)
        tally.remaining += sum(self._left.values())
        return tally.report()

    def _passed_on(self, expired: Sequence[Claim]) -> Collection[str]:
        """The names whose leases ran out and that go on elsewhere: a takeover would keep all the others waiting."""
        if self._on_expired is None or len(self._matches) == 1:
            return ()
        return self._on_expired(sorted({claim.name for claim in expired}))

    def _unfinished(self) -> list[str]:
        """The names that there is more of, and of which not all that waited at the first look had its turn."""
        return [name for name, count in self._todo.items() if name in self._round.tally.more and count > 0]

    def _claim_more(self, names: Collection[str]) -> Claimed:
        """Claim again. Of slow messages that are weak, others may hold what they are about to send back."""
        is_slow = any(name not in self._reliable and self._pace.most_at_once(name) is not None for name in names)
        claimed = self._claim(names)
        return claimed if claimed.claims or not is_slow else self._look_again(names)

    def _look_again(self, names: Collection[str]) -> Claimed:
        """Claim what others hand back in the next moment, if it comes to that."""
        for _ in self._mailbox.attempts(_LOOKS_AGAIN):
            claimed = self._claim(names)
            if claimed.claims:
                break
        return claimed

    def _claim(self, names: Collection[str], *, expired_first: bool = False) -> Claimed:
        self._round.begin()
        lease_seconds, seconds_left = self._round.limits.lease_seconds, self._round.seconds_left
        orders = {
            name: Order(name in self._reliable, self._pace.size(name, seconds_left=seconds_left), lease_seconds)
            for name in names
        }
        claimed = Claimer(
            self._mailbox,
            orders,
            max_messages=self._round.messages_left,
            holder=self._mailbox.holder,
            expired_first=expired_first,
            paused=self._find_paused,
        ).run()
        claimed.claims.sort(key=lambda claim: (self._places[claim.name], claim.address.lane))
        self.paused |= claimed.paused
        # What waits of a name that somebody has just paused was not looked at.
        self._left |= {name: claimed.unclaimed.get(name, 0) for name in names if name not in claimed.paused}
        self._round.tally.more.difference_update(names)
        self._note(claimed)
        return claimed

    def _note(self, claimed: Claimed) -> None:
        tally = self._round.tally
        if claimed.silent and self._matches.keys() <= claimed.silent | claimed.paused and not self._round.run_count:
            raise StoreError("memcache did not answer for any of the names; nothing was delivered")
        tally.lost += claimed.lost
        tally.more |= claimed.more
        # The next settling takes them out of the index.
        self._mailbox.emptied.add(sorted(claimed.narrowed))
        tally.errors += [
            Failure(name, None, None, error)
            for error, names in (
                ("memcache did not answer for this name", claimed.unreadable),
                ("others changed this name at every attempt", claimed.contended),
            )
            for name in sorted(names)
        ]

    def _run(self, claimed: Claimed) -> None:
        """Run what was claimed for as long as the round lasts, and end it."""
        works = self._load(claimed.claims)
        try:
            works = self._set_aside(works)
            self._mailbox.observer.claimed({work.name: len(work.waiting) for work in works})
            # Where all leases are taken, a helper would find nothing.
            self._leftovers.note(self._round.tally.more & {work.name for work in works})
            self._turns.take(works)
        finally:
            self._send_back([work for work in works if not work.is_reliable])
        self._acknowledge([work for work in works if work.is_reliable])

    def _load(self, claims: Sequence[Claim]) -> list[Work]:
        works = []
        garbage: list[bytes] = []
        loads = load(self._mailbox, claims)
        copies = Copies(loaded for loaded in loads if loaded.is_whole or loaded.claim.lease is None)
        for loaded in loads:
            claim = loaded.claim
            if claim.lease is None:
                garbage += loaded.keys
            elif not loaded.is_whole:
                self._round.leave_unread(claim)
                self._todo[claim.name] = 0
                continue
            work = Work.of(loaded, self._matches[claim.name], self._mailbox.now_ms(), copies)
            self._todo[claim.name] -= len(work.waiting) + loaded.lost
            self._round.tally.lost += loaded.lost
            works.append(work)
        self._mailbox.delete(garbage)
        self._pass_over([work.claim.address for work in works if work.loaded.is_forgotten])
        return works

    def _pass_over(self, forgotten: Sequence[Address]) -> None:
        """Behind segments of which memcache has forgotten all, look for the next that is there, as the round lasts."""
        while forgotten and self._round.seconds_left and not self._round.limits.should_stop():
            passed = pass_over(self._mailbox, forgotten)
            for name, count in passed.lost.items():
                self._round.tally.lost += count
                self._todo[name] -= count
                self._left[name] = max(0, self._left[name] - count)
            forgotten = passed.more

    def _set_aside(self, works: Sequence[Work]) -> list[Work]:
        """What a claim took beyond what was asked for goes back before its first handler, where messages are slow.

        A segment is taken whole, and a handler of an hour would keep the rest of it waiting.
        """
        return [work for work in works if self._keeps(work)]

    def _keeps(self, work: Work) -> bool:
        most = self._pace.most_at_once(work.name)
        if most is None or len(work.waiting) <= most:
            return True
        if work.is_reliable:
            # On a lease it is in nobody's way, unless that is a long one.
            return not self._pace.is_first_of_few(work.name) or self._hand_back(work, most)
        back = [work.waiting.pop() for _ in range(len(work.waiting) - most)]
        self._send_again([(work.name, record) for record in reversed(back)])
        self._count_back(work.name, len(back))
        return True

    def _count_back(self, name: str, count: int) -> None:
        """Note what went back and can be run at once, in this delivery or by somebody else."""
        self._left[name] += count
        self._todo[name] += count
        if count:
            self._round.tally.more.add(name)

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

    def _overtaken(self, work: Work) -> None:
        self._round.tally.overtaken += len(work.loaded.items)
        logger.warning("a lease was lost while its messages were run", extra={"signals_name": ascii(work.name)})

    def _send_back(self, works: Sequence[Work]) -> None:
        """What a weak delivery claimed and did not begin is sent again; what it began is counted."""
        self._bury(works)
        self._send_again([(work.name, record) for work in works for record in work.back])
        release(self._mailbox.safety, works)
        for work in works:
            self._count(work)

    def _send_again(self, back: Sequence[tuple[str, Record]]) -> None:
        if not back:
            return
        try:
            self._mailbox.send_records(back)
        except SendError as error:
            lost = len(error.failed) + len(error.unsure)
            self._round.tally.lost += lost
            self._round.tally.remaining -= lost
            logger.exception("messages that there was no time for could not be sent again")

    def _acknowledge(self, works: Sequence[Work]) -> None:
        if not works:
            return
        self._bury(works)
        ends = [LeaseEnd(work.claim, work.back, work.loaded.keys, work.loaded.lost) for work in works]
        missed = {id(claim) for claim in acknowledge(self._mailbox, ends)}
        release(self._mailbox.safety, [work for work in works if id(work.claim) not in missed])
        for work in works:
            (self._overtaken if id(work.claim) in missed else self._count)(work)

    def _count(self, work: Work) -> None:
        self._round.tally.delivered += work.clean_count
        self._round.count(work.name, work.runs, work.verdicts)
        self._count_back(work.name, len(work.unrun))

    def _bury(self, works: Sequence[Work]) -> None:
        verdicts: dict[str, list[Verdict]] = {}
        for work in works:
            verdicts.setdefault(work.name, []).extend(work.verdicts)
        self._round.bury(verdicts)

    def _take_over(self, expired: Sequence[Claim]) -> None:
        takeover = Takeover(self._round)
        for claim in expired:
            if self._round.is_over:
                self._round.tally.more.add(claim.name)
            else:
                takeover.run(claim, self._matches[claim.name])
                self._mailbox.observer.round_ended()
