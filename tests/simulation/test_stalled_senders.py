"""A sender stalls between its read and its writes, while others claim and send; no segment of theirs is overwritten."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from gaesignals import Message, Receivers, Signal, send_many
from gaesignals.delivery.deliver import deliver
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.stores.memory import Call
from gaesignals.testing import ManualClock, MemoryStore

BUNDLES = 40 * 16


class Lab:
    """A page of so many single messages and forty bundles, claims of so many messages, and senders."""

    def __init__(self, *, singles: int, claims: int, reliable: bool) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.ran: list[str] = []
        self.receivers = Receivers()
        self.receivers.connect("job", self._handle, batch=48, reliable=reliable, id="job")
        self.sent: list[str] = []
        self._claims = claims
        self._boxes = 0
        for number in range(singles):
            self.send(f"single {number}")
        bundled = [f"bundled {number}" for number in range(BUNDLES)]
        self.sent += bundled
        with use_mailbox(self.box()):
            send_many([("job", data) for data in bundled])

    def box(self) -> Mailbox:
        self._boxes += 1
        return Mailbox(self.store, clock=self.clock, random=random.Random(self._boxes), sleep=lambda _: None)

    def send(self, data: str) -> None:
        self.sent.append(data)
        with use_mailbox(self.box()):
            Signal("job").send(data)

    def claim(self) -> None:
        deliver(self.receivers, max_messages=self._claims, mailbox=self.box())

    def fill(self) -> None:
        for number in range(16):
            self.send(f"between {len(self.sent)} {number}")

    def before_write(self, number: int, act: Callable[[], object]) -> None:
        """Do `act` before the write call of that number takes effect."""
        writes = 0

        def hook(call: Call) -> None:
            nonlocal writes
            writes += call.verb == "write"
            if call.verb == "write" and writes == number:
                self.store.before = None
                act()

        self.store.before = hook

    def _handle(self, messages: list[Message]) -> None:
        self.ran += [message.data for message in messages]


@pytest.mark.parametrize("reliable", [True, False])
@pytest.mark.parametrize(("singles", "claims"), [(0, 48), (10, 5), (10, 48)])
@pytest.mark.parametrize("number", [1, 2], ids=["before its segments", "before its page"])
@pytest.mark.parametrize(
    "meanwhile",
    [("claim",), ("claim", "send"), ("claim", "fill", "send"), ("send", "claim"), ("claim", "send", "claim", "fill")],
    ids=" ".join,
)
def test_a_sender_that_stalls_overwrites_nothing(
    meanwhile: Sequence[str], number: int, singles: int, claims: int, reliable: bool
) -> None:
    lab = Lab(singles=singles, claims=claims, reliable=reliable)

    def act() -> None:
        for step in meanwhile:
            lab.send(f"meanwhile {len(lab.sent)}") if step == "send" else getattr(lab, step)()

    lab.before_write(number, act)
    lab.send("late")
    while not deliver(lab.receivers, mailbox=lab.box()).is_idle:
        pass

    assert sorted(lab.ran) == sorted(lab.sent)
