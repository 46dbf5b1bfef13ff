"""Names whose home page was evicted are made wide enough again."""

from __future__ import annotations

from gaesignals import Signal, deliver
from gaesignals.data import codec
from gaesignals.format.keys import page_key
from gaesignals.format.page import Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.repair import repair
from gaesignals.stores.store import Set
from gaesignals.testing import ManualClock, MemoryStore


def widen(mailbox: Mailbox, name: str, width: int) -> None:
    mailbox.store.write([Set(page_key(name), Page("epoch", width=width, hot_ms=mailbox.now_ms()).to_bytes())])


def test_messages_in_a_lane_are_found_after_the_home_page_was_evicted(
    mailbox: Mailbox, store: MemoryStore, clock: ManualClock
) -> None:
    widen(mailbox, "a", 8)
    mailbox.lanes.keep("a", 5, mailbox.now_ms())
    Signal("a").send("in lane 5")
    seen: list[object] = []
    store.evict([page_key("a")])
    clock.advance(60)
    assert Index(mailbox).settle(["a"]).unlisted == ("a",)
    assert deliver([("a", seen.append)]).is_idle
    assert repair(mailbox, ["a", "b"]) == ("a",)
    assert "a" in Index(mailbox).entries()
    assert deliver([("a", seen.append)]).delivered == 1
    assert seen == ["in lane 5"]


def test_a_sender_on_a_lane_repairs_the_home_page_by_sending(mailbox: Mailbox, store: MemoryStore) -> None:
    widen(mailbox, "a", 8)
    mailbox.lanes.keep("a", 5, mailbox.now_ms())
    Signal("a").send(1)
    store.evict([page_key("a")])
    Signal("a").send(2)
    seen: list[object] = []
    deliver([("a", seen.append)])
    assert sorted(seen) == [1, 2]  # type: ignore[type-var]


def test_names_that_are_as_wide_as_they_say_are_left_alone(mailbox: Mailbox, store: MemoryStore) -> None:
    widen(mailbox, "a", 8)
    mailbox.lanes.keep("a", 5, mailbox.now_ms())
    mailbox.send([("a", codec.dumps(1)), ("b", codec.dumps(2))])
    before = {key: store.raw(key) for key in store.keys()}  # noqa: SIM118
    assert repair(mailbox, ["a", "b", "c"]) == ()
    assert {key: store.raw(key) for key in store.keys()} == before  # noqa: SIM118
