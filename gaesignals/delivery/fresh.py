"""Delivering what is fresh: claim it, run its handlers, and settle what became of it.

Weak messages are this process's for good once they are claimed; what was not begun is sent again. Reliable ones are on
leases, which are renewed at half-life and acknowledged at the end.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gaesignals.errors import SendError, StoreError
from gaesignals.format.entries import Record, is_due
from gaesignals.mailbox.claim import Claim, Claimed, Claimer
from gaesignals.mailbox.hold import Settlement, acknowledge, renew
from gaesignals.mailbox.load import Loaded, load
from gaesignals.receiver import Match
from gaesignals.report import DeliveryReport, Failure

from .round import Round
from .runner import LeaseLostError, Runner
from .takeover import Takeover
from .verdict import Run, Verdict, plan

logger = logging.getLogger("gaesignals")


@dataclass(slots=True)
class _Work:
    """One claim and what became of its messages so far. `claim` changes when its lease is renewed."""

    claim: Claim
    loaded: Loaded
    matches: Sequence[Match]
    runs: list[Run] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    waiting: deque[Record] = field(default_factory=deque)
    later: list[Record] = field(default_factory=list)
    is_lost: bool = False

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
    def retries(self) -> list[Record]:
        return [record for verdict in self.verdicts for record in verdict.retries]

    @property
    def chunk(self) -> int:
        """How many messages are begun together: as many as the receiver that takes most does."""
        return max(match.receiver.chunk for match in self.matches)


class FreshDelivery:
    """One round over the names of `matches`."""

    def __init__(
        self, round_: Round, matches: Mapping[str, Sequence[Match]], on_backlog: Callable[[Sequence[str]], None] | None
    ) -> None:
        self._round = round_
        self._mailbox = round_.mailbox
        self._matches = matches
        self._on_backlog = on_backlog
        self._held: dict[str, _Work] = {}
        self._renew_at = math.inf

    def run(self) -> DeliveryReport:
        limits = self._round.limits
        modes = {name: any(match.receiver.reliable for match in group) for name, group in self._matches.items()}
        claimed = Claimer(
            self._mailbox,
            modes,
            lease_seconds=limits.lease_seconds,
            max_messages=limits.max_messages,
            holder=self._mailbox.holder,
            # Where fresh messages may use up the time, they would keep the others waiting for as long as they come.
            expired_first=self._round.is_bounded and self._mailbox.random.random() < 0.5,
            retries_first=self._round.is_bounded and self._mailbox.random.random() < 0.5,
        ).run()
        self._note(claimed)
        works = self._load(self._in_turn(claimed.claims))
        try:
            for work in works:
                self._run(work)
        finally:
            self._send_back([work for work in works if not work.is_reliable])
        self._acknowledge([work for work in works if work.is_reliable])
        self._take_over(claimed.expired)
        return self._round.tally.report()

    def _note(self, claimed: Claimed) -> None:
        tally = self._round.tally
        if claimed.silent and len(claimed.silent) == len(self._matches):
            raise StoreError("memcache did not answer for any of the names; nothing was delivered")
        tally.lost += claimed.lost
        tally.remaining += sum(claimed.left.values())
        tally.more |= claimed.more
        tally.errors += [
            Failure(name, None, None, error)
            for error, names in (
                ("memcache did not answer for this name", claimed.unreadable),
                ("others changed this name at every attempt", claimed.contended),
            )
            for name in sorted(names)
        ]
        # Only where this delivery got something itself: where all leases are taken, one more helper would find nothing.
        backlog = claimed.more & {claim.name for claim in claimed.claims}
        if backlog and self._on_backlog is not None:
            try:
                self._on_backlog(sorted(backlog))
            except Exception:
                logger.exception("on_backlog failed; what was claimed is delivered all the same")

    def _load(self, claims: Sequence[Claim]) -> list[_Work]:
        works = []
        garbage: list[bytes] = []
        half_life = self._round.limits.lease_seconds / 2
        for loaded in load(self._mailbox, claims):
            claim = loaded.claim
            if claim.lease is None:
                garbage += loaded.keys
            elif not loaded.is_whole:
                self._round.leave_unread(claim)
                continue
            work = _Work(claim, loaded, self._matches[claim.name])
            # All of it waits until its turn comes, and goes back if this process ends before.
            work.waiting.extend(record for _, record in loaded.items)
            self._round.tally.lost += loaded.lost
            if claim.lease is not None:
                self._held[claim.lease.id] = work
                self._renew_at = min(self._renew_at, claim.lease.expires_ms / 1000 - half_life)
            works.append(work)
        self._mailbox.delete(garbage)
        return works

    def _in_turn(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Where the end may come before the last name's turn, or lane's, it is not always the same one's."""
        if not self._round.is_bounded:
            return claims
        draw = self._mailbox.random.random
        names = {claim.name: draw() for claim in claims}
        return sorted(claims, key=lambda claim: (names[claim.name], draw()))

    def _run(self, work: _Work) -> None:
        now_ms = self._mailbox.now_ms()
        records = [*work.waiting]
        work.later = [record for record in records if not is_due(record.not_before_ms, now_ms)]
        work.waiting = deque(record for record in records if is_due(record.not_before_ms, now_ms))
        runner = Runner(
            self._round.coroutines, self._mailbox, work.name, lambda: self._guard(work), lambda: self._round.is_late
        )
        while work.waiting and not work.is_lost and not self._round.is_over:
            size = min(self._round.allowance(work.chunk), len(work.waiting))
            # A weak message is begun here: whatever stops this process now, it does not go back.
            runs = [plan(work.waiting.popleft(), work.matches, is_takeover=False) for _ in range(size)]
            self._round.run_count += size
            try:
                runner.run(runs)
            except LeaseLostError:
                return
            except BaseException:
                # This process ends: what a receiver has not begun is sent again for it, if this is still possible.
                work.waiting.extendleft(reversed([record for run in runs for record in run.rest]))
                raise
            work.runs += runs
            work.verdicts += map(self._round.decide, runs)

    def _guard(self, work: _Work) -> None:
        """Before each handler: renew the leases at half-life, and stop if this one is somebody else's by now."""
        if self._mailbox.clock() >= self._renew_at:
            self._renew()
        if work.is_lost:
            raise LeaseLostError

    def _renew(self) -> None:
        held = [work.claim for work in self._held.values()]
        expires_ms = self._round.lease_end_ms()
        renewed = renew(self._mailbox, held, expires_ms=expires_ms)
        for lease_id, work in list(self._held.items()):
            if lease_id in renewed:
                work.claim = renewed[lease_id]
            else:
                work.is_lost = True
                del self._held[lease_id]
                self._overtaken(work)
        self._renew_at = expires_ms / 1000 - self._round.limits.lease_seconds / 2

    def _overtaken(self, work: _Work) -> None:
        self._round.tally.overtaken += len(work.loaded.items)
        logger.warning("a lease was lost while its messages were run", extra={"signals_name": ascii(work.name)})

    def _send_back(self, works: Sequence[_Work]) -> None:
        """What a weak delivery claimed and did not begin is sent again; what it began is counted."""
        self._bury(works)
        unrun = [(work.name, record) for work in works for record in work.unrun + work.retries + work.later]
        tally = self._round.tally
        if unrun:
            try:
                self._mailbox.send_records(unrun)
            except SendError as error:
                lost = len(error.failed) + len(error.unsure)
                tally.lost += lost
                tally.remaining -= lost
                logger.exception("messages that there was no time for could not be sent again")
            tally.remaining += len(unrun)
            tally.more |= {name for name, _ in unrun}
        for work in works:
            tally.count(work.name, work.runs, work.verdicts)

    def _acknowledge(self, works: Sequence[_Work]) -> None:
        held = [work for work in works if not work.is_lost]
        if not held:
            return
        self._bury(held)
        settlements = [
            Settlement(work.claim, [*work.unrun, *work.retries, *work.later], work.loaded.keys) for work in held
        ]
        missed = {id(claim) for claim in acknowledge(self._mailbox, settlements)}
        for work in held:
            if id(work.claim) in missed:
                self._overtaken(work)
                continue
            self._round.tally.count(work.name, work.runs, work.verdicts)
            if work.unrun:
                self._round.tally.remaining += len(work.unrun)
                self._round.tally.more.add(work.name)

    def _bury(self, works: Sequence[_Work]) -> None:
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
