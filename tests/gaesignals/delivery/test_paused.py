"""What a delivery does about names that somebody pauses, before it and meanwhile."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from gaesignals import Signal, StoreError, deliver, send_many
from gaesignals.format.keys import page_key
from gaesignals.format.pauses import PausedNames
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.pause import Pauses
from gaesignals.stores.client import Seen
from gaesignals.testing import MemoryStore


def test_what_waits_of_a_name_that_is_paused_meanwhile_remains(mailbox: Mailbox) -> None:
    send_many([("a", number) for number in range(40)])
    seen: list[PausedNames | None] = []

    def paused(page: Seen[PausedNames]) -> Collection[str]:
        seen.append(page.value)
        return page.value.since_ms if page.value else ()

    report = deliver([("a", lambda data: Pauses(mailbox).pause(["a"]))], paused=paused)
    assert (report.delivered, report.remaining, report.more) == (16, 24, ())
    assert seen[0] is None
    assert len(seen) == 2, "once in each round"


def test_a_name_that_is_paused_does_not_hide_that_memcache_is_silent(mailbox: Mailbox, store: MemoryStore) -> None:
    Signal("a").send(1)
    store.before = lambda call: [key for key in call.keys if key == page_key("a")]
    with pytest.raises(StoreError):
        deliver([("a", print), ("b", print)], paused=lambda page: ["b"])
