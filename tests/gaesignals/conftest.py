"""A mailbox in memory with a clock that is moved by hand."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from gaesignals.mailbox.box import Mailbox, use_mailbox
from gaesignals.testing import ManualClock, MemoryNamespaces, MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def mailbox(store: MemoryStore, clock: ManualClock) -> Iterator[Mailbox]:
    """The current mailbox of the test, so that `Signal.send` and `deliver` use it."""
    box = Mailbox(store, clock=clock, random=random.Random(7), sleep=lambda _: None, namespaces=MemoryNamespaces())
    with use_mailbox(box):
        yield box
