"""Deliveries that bury and persons that drop, interleaved at every key of every call: what has letters is listed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gaesignals.format.entries import Record
from gaesignals.format.letter import DeadLetter
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.dead.bury import bury
from gaesignals.testing import ManualClock, MemoryStore

from .scheduler import Scheduler, SwitchingStore

NAMES = ("a", "b")
LETTER = DeadLetter(Record("0" * 24, 0, b"\xf6"), 0, "broken")


class Graveyard:
    """One run of it. `buried` are the letters of which somebody was told that they are stored."""

    def __init__(self, seed: int, *, kills: bool) -> None:
        self.random = random.Random(f"graveyard {seed}")
        self.store = MemoryStore(clock=ManualClock())
        self.scheduler = Scheduler(seed)
        self.switching = SwitchingStore(self.store, self.scheduler, is_split=True)
        self.buried: set[tuple[str, str]] = set()
        self.dropped: set[tuple[str, str]] = set()
        for number in range(4):
            kill_after = self.random.randint(1, 8) if kills and number % 2 else None
            move = self._drop if number < 2 else self._bury
            self.scheduler.add(f"{number}", lambda number=number, move=move: move(number), kill_after=kill_after)

    def _mailbox(self, number: int) -> Mailbox:
        return Mailbox(
            self.switching,
            clock=ManualClock(),
            random=random.Random(number),
            sleep=lambda _: self.scheduler.pause(),
        )

    def _bury(self, number: int) -> None:
        for turn in range(3):
            id = f"{number}{turn}".ljust(24, "0")
            letter = replace(LETTER, record=replace(LETTER.record, id=id))
            missed = bury(self._mailbox(number), {name: [letter] for name in NAMES})
            self.buried |= {(name, id) for name in NAMES if name not in missed}

    def _drop(self, number: int) -> None:
        letters = DeadLetters(self._mailbox(number))
        for _ in range(4):
            name = self.random.choice(NAMES)
            there = {letter.id for letter in letters.peek(name)}
            self.dropped |= {(name, id) for id in there}
            letters.drop(name, there)

    def run(self) -> None:
        self.scheduler.run()

    def left(self) -> tuple[dict[str, set[str]], dict[str, int]]:
        """The letters on the pages, and the counts in the index."""
        letters = DeadLetters(Mailbox(self.store, clock=ManualClock()))
        return {name: {letter.id for letter in letters.peek(name)} for name in NAMES}, letters.names()


@pytest.mark.parametrize("chunk", range(4))
def test_a_name_is_listed_with_as_many_letters_as_its_page_has(chunk: int) -> None:
    for seed in range(chunk * 50, (chunk + 1) * 50):
        world = Graveyard(seed, kills=False)
        world.run()
        pages, counts = world.left()
        assert counts == {name: len(ids) for name, ids in pages.items() if ids}, f"seed {seed}"


@pytest.mark.parametrize("chunk", range(4))
def test_what_was_buried_is_listed_or_was_dropped_whoever_is_killed(chunk: int) -> None:
    for seed in range(1000 + chunk * 50, 1000 + (chunk + 1) * 50):
        world = Graveyard(seed, kills=True)
        world.run()
        pages, counts = world.left()
        for name, id in world.buried - world.dropped:
            assert id in pages[name], f"seed {seed}: {id} is lost"
            assert name in counts, f"seed {seed}: {name} is not listed"
