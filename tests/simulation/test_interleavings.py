"""Senders, deliveries, fan-outs and settling, interleaved at every store call; `make stress` runs many more seeds."""

from __future__ import annotations

import pytest

from .world import run_world

CHUNKS, SEEDS = 16, 150


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_or_repeated_in_any_order(chunk: int) -> None:
    for seed in range(chunk * SEEDS, (chunk + 1) * SEEDS):
        run_world(seed)


@pytest.mark.parametrize("seed", range(100_000, 100_040))
def test_without_deaths_and_jumps_every_message_is_handled_exactly_once(seed: int) -> None:
    run_world(seed, kills=False, jumps=False)
