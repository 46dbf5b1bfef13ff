"""Delivering what is fresh: claim it, run its handlers, and see to what became of it.

A delivery goes in rounds. Each claims a little of every name, runs that in turns for ten seconds at most, and ends it:
weak messages are this process's for good once they are claimed, and what was not begun is sent again; reliable ones are
on leases, which are acknowledged, and what was not begun goes back. So many workers share one backlog, and nobody waits
long for somebody else's slow messages.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from gaesignals.errors import StoreError
from gaesignals.format.keys import Address
from gaesignals.format.pauses import PausedNames
from gaesignals.mailbox.claim import Claim, Claimed, Claimer, Order
from gaesignals.mailbox.evicted import pass_over
from gaesignals.mailbox.load import load
from gaesignals.receiver import Match
from gaesignals.report import DeliveryReport, Failure
from gaesignals.stores.client import Seen

from .backlog import Backlog
from .copies import Copies
from .leftovers import Leftovers
from .opening import ALONE, Opening
from .pace import Pace
from .returning import Returning
from .round import Round
from .takeover import Takeover
from .turns import Turns
from .work import Work

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
        opening: Opening = ALONE,
    ) -> None:
        self._round = round_
        self._mailbox = round_.mailbox
        self._matches = matches
        self._leftovers = Leftovers(on_backlog)
        self._find_paused = paused
        self._on_expired = on_expired
        self._reliable = {name for name, group in matches.items() if any(match.receiver.reliable for match in group)}
        self._opening = opening
        self._pace = Pace(matches, opening)
        self._turns = Turns(round_, self._pace)
        # Where the end may come before the last name's turn, it is not always the same one's.
        names = list(matches)
        if round_.limits.is_bounded:
            names = round_.mailbox.random.sample(names, len(names))
        self._places = {name: place for place, name in enumerate(names)}
        self.paused: set[str] = set()
        self._backlog = Backlog(matches)
        self._returning = Returning(round_, self._pace, self._backlog)

    def run(self) -> DeliveryReport:
        tally = self._round.tally
        claimed = self._noted(self._matches, self._claimer(self._matches).claim_unless_expired())
        if claimed.expired:
            elsewhere = self._passed_on(claimed.expired)
            mine = [claim for claim in claimed.expired if claim.name not in elsewhere]
            self._leftovers.note(self._shared(mine))
            self._take_over(mine)
            if not self._round.is_over:
                claimed = self._claim([name for name in self._matches if name not in elsewhere])
        elif not claimed.claims and self._opening.looks_again(claimed):
            claimed = self._look_again(self._matches)
        self._backlog.begin(claimed.claims)
        while claimed.claims:
            self._run(claimed)
            self._mailbox.observer.round_ended()
            names = self._backlog.unfinished(tally.more)
            if not names or self._round.is_over:
                break
            claimed = self._claim_more(names)
        tally.remaining += sum(self._backlog.waiting.values())
        return tally.report()

    def _passed_on(self, expired: Sequence[Claim]) -> Collection[str]:
        """The names whose leases ran out and that go on elsewhere: a takeover would keep all the others waiting."""
        if self._on_expired is None or len(self._matches) == 1:
            return ()
        return self._on_expired(sorted({claim.name for claim in expired}))

    def _shared(self, expired: Sequence[Claim]) -> Collection[str]:
        """The names of which others can do something beside a first takeover: what one process held waits together."""
        counts = Counter(claim.name for claim in expired)
        return {name for name, count in counts.items() if count > 1 or name in self._round.tally.more}

    def _claim_more(self, names: Collection[str]) -> Claimed:
        """Claim again. Of slow messages that are weak, others may hold what they are about to send back."""
        is_slow = any(name not in self._reliable and self._pace.most_at_once(name) is not None for name in names)
        claimed = self._claim(names)
        return claimed if claimed.claims or claimed.silent or not is_slow else self._look_again(names)

    def _look_again(self, names: Collection[str]) -> Claimed:
        """Claim what others hand back in the next moment, if it comes to that and memcache answers."""
        for _ in self._mailbox.attempts(_LOOKS_AGAIN):
            claimed = self._claim(names)
            if claimed.claims or claimed.silent:
                break
        return claimed

    def _claim(self, names: Collection[str]) -> Claimed:
        return self._noted(names, self._claimer(names).claim())

    def _claimer(self, names: Collection[str]) -> Claimer:
        """Begin a round, for which this claims."""
        self._round.begin()
        lease_ms, seconds_left = self._round.limits.lease_ms, self._round.seconds_left
        orders = {
            name: Order(name in self._reliable, self._pace.size(name, seconds_left=seconds_left), lease_ms)
            for name in names
        }
        return Claimer(
            self._mailbox,
            orders,
            max_messages=self._round.messages_left,
            holder=self._mailbox.holder,
            paused=self._find_paused,
        )

    def _noted(self, names: Collection[str], claimed: Claimed) -> Claimed:
        """What was claimed of `names`, in the order of this delivery, once that has gone into its counts."""
        claimed.claims.sort(key=lambda claim: (self._places[claim.name], claim.address.lane))
        self.paused |= claimed.paused
        # What waits of a name that somebody has just paused was not looked at.
        self._backlog.see({name: claimed.unclaimed.get(name, 0) for name in names if name not in claimed.paused})
        tally = self._round.tally
        tally.more.difference_update(names)
        if claimed.silent and self._matches.keys() <= claimed.silent | claimed.paused and not self._round.run_count:
            raise StoreError("the store did not answer for any of the names; nothing was delivered")
        tally.lost += claimed.lost
        tally.more |= claimed.more
        # The next settling takes them out of the index.
        self._mailbox.emptied.add(sorted(claimed.narrowed))
        tally.errors += [
            Failure(name, None, None, error)
            for error, names in (
                ("the store did not answer for this name", claimed.unreadable),
                ("others changed this name at every attempt", claimed.contended),
            )
            for name in sorted(names)
        ]
        return claimed

    def _run(self, claimed: Claimed) -> None:
        """Run what was claimed for as long as the round lasts, and see to what became of it."""
        works = self._load(claimed.claims)
        try:
            works = self._returning.set_aside(works)
            self._mailbox.observer.claimed({work.name: len(work.waiting) for work in works})
            # Where all leases are taken, a helper would find nothing.
            self._leftovers.note(self._round.tally.more & {work.name for work in works})
            self._turns.take(works)
        finally:
            self._returning.send_back([work for work in works if not work.is_reliable])
        self._returning.acknowledge([work for work in works if work.is_reliable])

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
                self._backlog.leave(claim.name)
                continue
            work = Work.of(loaded, self._matches[claim.name], self._mailbox.now_ms(), copies)
            self._backlog.take_turns(claim.name, len(work.waiting) + loaded.lost)
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
                self._backlog.pass_over(name, count)
            forgotten = passed.more

    def _take_over(self, expired: Sequence[Claim]) -> None:
        takeover = Takeover(self._round)
        for claim in expired:
            if self._round.is_over:
                self._round.tally.more.add(claim.name)
            else:
                takeover.run(claim, self._matches[claim.name])
                self._mailbox.observer.round_ended()
