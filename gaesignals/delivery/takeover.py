"""Takeover: a lease whose holder is gone is run message by message.

Before each message its position is written to the lease. If this process dies too, the next one knows which message
was being run and charges it an attempt; those before it are done, those after it pay nothing. So a message that kills
its process becomes a dead letter, and its neighbours never do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gaesignals.format.entries import Record, is_due
from gaesignals.format.lease import Mark, Position
from gaesignals.mailbox.bundles import MAX_BUNDLE_MESSAGES, Bundle, bundle, in_bundles
from gaesignals.mailbox.claim import Claim
from gaesignals.mailbox.hold import LeaseEnd, acknowledge
from gaesignals.mailbox.load import Loaded, load
from gaesignals.mailbox.renew import advance, take_over
from gaesignals.mailbox.safety import finished, merged
from gaesignals.receiver import Match
from gaesignals.stores.store import Outcome as Written

from .round import Round
from .runner import LeaseLostError, Runner
from .verdict import DIED, Failed, Run, plan_again

logger = logging.getLogger("gaesignals")

MAX_MARKS = 32


@dataclass(slots=True)
class _Walk:
    """How far the takeover of one lease has come."""

    claim: Claim
    loaded: Loaded
    marks: list[Mark]
    spilled: list[Bundle] = field(default_factory=list)
    unrun: list[Record] = field(default_factory=list)
    done: list[Record] = field(default_factory=list)

    @property
    def left_count(self) -> int:
        """How many messages come after the lease's position."""
        done = self.claim.lease.position if self.claim.lease is not None else None
        return sum(done is None or position > done for position, _ in self.loaded.items)


class Takeover:
    """Takes over expired leases within the limits of a round."""

    def __init__(self, round_: Round) -> None:
        self._round = round_
        self._mailbox = round_.mailbox

    def run(self, claim: Claim, matches: Sequence[Match]) -> None:
        """Take over one lease, run what is left of it and acknowledge it."""
        mine = take_over(self._mailbox, claim, expires_ms=self._round.lease_end_ms(), holder=self._mailbox.holder)
        if mine is None:
            return
        logger.warning(
            "a lease ran out and is taken over",
            extra={"signals_name": ascii(claim.name), "signals_count": claim.holding.count},
        )
        loaded = load(self._mailbox, [mine])[0]
        if not loaded.is_whole:
            self._round.leave_unread(claim)
            return
        assert mine.lease is not None
        walk = _Walk(mine, loaded, list(mine.lease.marks))
        self._mailbox.observer.claimed({claim.name: walk.left_count})
        self._charge(walk, matches)
        if self._walk(walk, matches):
            self._finish(walk)
        else:
            self._round.tally.overtaken += loaded.claim.holding.count

    def _charge(self, walk: _Walk, matches: Sequence[Match]) -> None:
        """The message at the position was being run when the lease ran out: each of its receivers is charged."""
        assert walk.claim.lease is not None
        position = walk.claim.lease.position
        record = dict(walk.loaded.items).get(position) if position is not None else None
        if record is None or position is None:
            return
        run = plan_again(record, matches)
        run.failures += [_died(match) for match in run.matches]
        self._judge(walk, position, run)

    def _walk(self, walk: _Walk, matches: Sequence[Match]) -> bool:
        """Run what comes after the lease's position; False if the lease is not ours any more."""
        assert walk.claim.lease is not None
        done = walk.claim.lease.position
        for position, record in walk.loaded.items:
            if done is not None and position <= done:
                continue
            if walk.unrun or self._round.is_over or not self._spill(walk):
                walk.unrun += _without_weak(record, matches)
            elif not is_due(record.not_before_ms, self._mailbox.now_ms()):
                walk.marks.append(Mark(position, record.attempt, record.not_before_ms, record.receivers, record.error))
            elif not self._run_one(walk, position, record, matches):
                return False
        return True

    def _run_one(self, walk: _Walk, position: Position, record: Record, matches: Sequence[Match]) -> bool:
        claim = advance(
            self._mailbox,
            walk.claim,
            position=position,
            marks=walk.marks,
            spilled=[made.ref for made in walk.spilled],
            expires_ms=self._round.lease_end_ms(),
        )
        if claim is None:
            return False
        walk.claim = claim
        if claim.lease is not None and claim.lease.position == position:
            walk.spilled = []  # otherwise the page is gone, and what was spilled is in none
        run = plan_again(record, matches)
        self._round.run_count += 1
        try:
            runner = Runner(self._round.coroutines, self._mailbox, claim.name, guard=lambda: self._guard(walk.claim))
            runner.run([run])
        except LeaseLostError:
            return False
        self._judge(walk, position, run)
        return True

    def _guard(self, claim: Claim) -> None:
        """A receiver's handler may have used up the lease before the next one's turn."""
        assert claim.lease is not None
        if self._mailbox.now_ms() >= claim.lease.expires_ms:
            raise LeaseLostError

    def _judge(self, walk: _Walk, position: Position, run: Run) -> None:
        verdict = self._round.decide(run)
        self._round.bury({walk.claim.name: [verdict]})
        if run.record.safety and not verdict.retries:
            walk.done.append(run.record)
        walk.marks += [
            Mark(position, retry.attempt, retry.not_before_ms, retry.receivers, retry.error)
            for retry in verdict.retries
        ]
        self._round.count(walk.claim.name, [run], [verdict])

    def _spill(self, walk: _Walk) -> bool:
        """Too many marks for the page become bundles, which join its retries with the next position.

        False if memcache failed: the marks stay, and there may be no more of them.
        """
        if len(walk.marks) <= MAX_MARKS:
            return True
        bundles = [
            bundle(self._mailbox.new_id(), group) for group in in_bundles(_marked(walk), most=MAX_BUNDLE_MESSAGES)
        ]
        outcomes = self._mailbox.write([made.write(self._mailbox.now_ms()) for made in bundles])
        if any(outcome is not Written.STORED for outcome in outcomes.values()):
            return False
        walk.spilled += bundles
        walk.marks = []
        return True

    def _finish(self, walk: _Walk) -> None:
        # What was spilled since the last position is in no page yet.
        spilled = [record for made in walk.spilled for record in made.records]
        keys = walk.loaded.keys + [made.key for made in walk.spilled]
        back = merged(spilled + _marked(walk) + walk.unrun)
        missed = acknowledge(self._mailbox, [LeaseEnd(walk.claim, back, keys, walk.loaded.lost)])
        self._round.tally.lost += walk.loaded.lost
        if missed:
            self._round.tally.overtaken += walk.loaded.claim.holding.count
            return
        # Of those before the first position here nobody knows whether they went back. Their tasks find out.
        self._mailbox.safety.release(finished(walk.done, back))
        if walk.unrun:
            self._round.tally.remaining += len(walk.unrun)
            self._round.tally.more.add(walk.claim.name)


def _marked(walk: _Walk) -> list[Record]:
    """The records that the marks stand for. One whose bundle was evicted since is lost with it."""
    records = dict(walk.loaded.items)
    return merged(mark.apply(records[mark.position]) for mark in walk.marks if mark.position in records)


def _without_weak(record: Record, matches: Sequence[Match]) -> tuple[Record, ...]:
    """The record for those that may run it after a takeover: a weak receiver may have done so before its process died.

    Nothing where that leaves nobody.
    """
    weak = {match.receiver.id for match in matches if not match.receiver.reliable}
    if not weak:
        return (record,)
    asked = record.receivers or tuple(match.receiver.id for match in matches)
    receivers = tuple(receiver for receiver in asked if receiver not in weak)
    return (replace(record, receivers=receivers),) if receivers else ()


def _died(match: Match) -> Failed:
    return Failed.of(match.receiver, DIED)
