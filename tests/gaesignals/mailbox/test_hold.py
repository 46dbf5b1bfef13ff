"""Ending leases: what its holder may say of one, and what nobody but its holder may delete."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

from gaesignals import send_many
from gaesignals.format.entries import Record, entries_from_bytes, refs_of
from gaesignals.format.keys import bundle_key, page_key
from gaesignals.format.lease import GRACE_MS
from gaesignals.format.page import Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.claim import Claim, Claimer, Order
from gaesignals.mailbox.hold import LeaseEnd, acknowledge
from gaesignals.mailbox.renew import take_over
from gaesignals.testing import Call, ManualClock, MemoryStore

LEASE_SECONDS = 60.0


def claimed(mailbox: Mailbox) -> LeaseEnd:
    """A lease of two bundles, all of which is done."""
    send_many([("a", number) for number in range(32)])
    (claim,) = Claimer(mailbox, {"a": Order(True, 32, int(LEASE_SECONDS * 1000))}).claim().claims
    return LeaseEnd(claim, keys=[bundle_key(ref.key) for ref in refs_of(claim.holding.entries.decoded())])


def fail_once(store: MemoryStore, act: object = None) -> None:
    """Let the next write of the page fail before it takes effect, when `act` was done."""

    def hook(call: Call) -> Collection[bytes] | None:
        if call.verb != "write" or page_key("a") not in call.keys:
            return None
        store.before = None
        if callable(act):
            act()
        return call.keys

    store.before = hook


def is_there(store: MemoryStore, end: LeaseEnd) -> bool:
    return all(store.raw(key) is not None for key in end.keys)


def test_what_a_lease_referred_to_is_deleted_with_it(mailbox: Mailbox, store: MemoryStore) -> None:
    end = claimed(mailbox)
    assert end.keys
    assert is_there(store, end)
    assert acknowledge(mailbox, [end]) == []
    assert [store.raw(key) for key in end.keys] == [None, None]


def test_an_acknowledgement_that_failed_is_repeated(mailbox: Mailbox, store: MemoryStore) -> None:
    end = claimed(mailbox)
    fail_once(store)
    assert acknowledge(mailbox, [end]) == []
    assert not is_there(store, end)


def test_a_lease_that_somebody_took_over_before_an_acknowledgement_of_unknown_outcome_is_theirs(
    mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    """It is gone from its page as if it were acknowledged, and whoever has it reads what it refers to."""
    end = claimed(mailbox)
    other = Mailbox(store, clock=clock, random=random.Random(2), sleep=lambda _: None)
    taken: list[Claim | None] = []

    def come_between() -> None:
        end_ms = other.now_ms() + int(LEASE_SECONDS * 1000)
        taken.append(take_over(other, end.claim, expires_ms=end_ms))

    clock.advance(LEASE_SECONDS + GRACE_MS / 1000)
    fail_once(store, come_between)
    assert acknowledge(mailbox, [end]) == [end.claim]
    assert taken != [None]
    assert is_there(store, end)


def test_what_goes_back_stands_by_when_it_could_be_run_first(mailbox: Mailbox, store: MemoryStore) -> None:
    """So that none waits for as long as others fail, or come and go back."""
    end, now_ms = claimed(mailbox), mailbox.now_ms()
    failed = Record("failed", (now_ms - 100_000) * 1000, b"\xf6", not_before_ms=now_ms - 1000)
    later = Record("later", (now_ms - 50_000) * 1000, b"\xf6")
    first = Record("first", (now_ms - 200_000) * 1000, b"\xf6")
    assert acknowledge(mailbox, [replace(end, returned=[failed, later, first])]) == []
    page = Page.from_bytes(store.raw(page_key("a")) or b"")
    bundles = [entries_from_bytes(store.raw(bundle_key(ref.key)) or b"") for ref in page.retries]
    assert [record.id for records in bundles for record in records if isinstance(record, Record)] == [
        "first",
        "later",
        "failed",
    ]
