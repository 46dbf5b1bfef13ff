"""Changing leases: who takes one over has seen it as it is."""

from __future__ import annotations

from gaesignals import send_many
from gaesignals.format.keys import page_key
from gaesignals.format.lease import GRACE_MS
from gaesignals.format.page import Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.claim import Claim, Claimed, Claimer, Order, lease_of
from gaesignals.mailbox.renew import advance, take_over
from gaesignals.testing import ManualClock, MemoryStore

LEASE_SECONDS = 60.0


def look_for_expired(mailbox: Mailbox) -> Claimed:
    return Claimer(mailbox, {"a": Order(True, 16, int(LEASE_SECONDS * 1000))}).claim_unless_expired()


def expired(mailbox: Mailbox, clock: ManualClock) -> Claim:
    """A lease of three messages, as somebody sees it who looks when it has run out."""
    send_many([("a", number) for number in range(3)])
    look_for_expired(mailbox)
    clock.advance(LEASE_SECONDS + GRACE_MS / 1000 + 1)
    (claim,) = look_for_expired(mailbox).expired
    return claim


def stored_lease(store: MemoryStore) -> object:
    (lease,) = Page.from_bytes(store.gets([page_key("a")])[page_key("a")].value).leases
    return lease


def end_ms(mailbox: Mailbox) -> int:
    return mailbox.now_ms() + int(LEASE_SECONDS * 1000)


def test_a_lease_that_is_as_it_was_seen_is_taken_over(mailbox: Mailbox, store: MemoryStore, clock: ManualClock) -> None:
    claim = expired(mailbox, clock)
    mine = take_over(mailbox, claim, expires_ms=end_ms(mailbox))
    assert mine is not None
    assert stored_lease(store) == lease_of(mine) != lease_of(claim)


def test_a_lease_whose_holder_went_on_meanwhile_stays_with_it(
    mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    """It was late, not dead: what it has run since would be run again from the position that was seen."""
    claim = expired(mailbox, clock)
    theirs = advance(mailbox, claim, position=(0, 1, 0), marks=[], spilled=[], expires_ms=end_ms(mailbox))
    assert theirs is not None
    assert take_over(mailbox, claim, expires_ms=end_ms(mailbox)) is None
    assert stored_lease(store) == lease_of(theirs)


def test_a_lease_is_taken_over_by_one_of_those_who_saw_it_run_out(
    mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    claim = expired(mailbox, clock)
    first = take_over(mailbox, claim, expires_ms=end_ms(mailbox))
    assert first is not None
    assert take_over(mailbox, claim, expires_ms=end_ms(mailbox)) is None
    assert stored_lease(store) == lease_of(first)
