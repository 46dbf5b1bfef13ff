"""Signals of which only the newest counts, in worlds where senders stall, die and are answered wrongly."""

from __future__ import annotations

import pytest

from .latest_world import run_world

CHUNKS, SEEDS = 4, 40


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_newest_value_is_always_handled_after_it_was_sent(chunk: int) -> None:
    replaced = 0
    for seed in range(chunk * SEEDS, (chunk + 1) * SEEDS):
        world = run_world(seed)
        assert world.broken == []
        replaced += world.observer.count
    assert replaced > SEEDS
