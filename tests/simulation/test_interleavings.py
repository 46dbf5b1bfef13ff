"""Senders, deliveries, fan-outs and settling, interleaved at every store call; `make stress` runs many more seeds."""

from __future__ import annotations

import pytest

from .world import run_world

CHUNKS, SEEDS = 16, 60


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_or_repeated_in_any_order(chunk: int) -> None:
    for seed in range(chunk * SEEDS, (chunk + 1) * SEEDS):
        run_world(seed)


@pytest.mark.parametrize("seed", range(100_000, 100_040))
def test_without_deaths_and_jumps_every_message_is_handled_exactly_once(seed: int) -> None:
    run_world(seed, kills=False, jumps=False)


@pytest.mark.parametrize("chunk", range(4))
def test_what_somebody_discards_meanwhile_is_gone_as_a_whole_or_waits_as_a_whole(chunk: int) -> None:
    for seed in range(200_000 + chunk * 50, 200_000 + (chunk + 1) * 50):
        run_world(seed, discards=True)


@pytest.mark.parametrize("chunk", range(4))
def test_what_dies_and_is_requeued_meanwhile_has_run_or_is_a_dead_letter(chunk: int) -> None:
    for seed in range(300_000 + chunk * 30, 300_000 + (chunk + 1) * 30):
        run_world(seed, requeues=True)


@pytest.mark.parametrize("chunk", range(4))
def test_what_the_network_writes_twice_or_late_is_neither_lost_nor_run_twice_weakly(chunk: int) -> None:
    for seed in range(500_000 + chunk * 20, 500_000 + (chunk + 1) * 20):
        run_world(seed, doubles=True)


@pytest.mark.parametrize("chunk", range(2))
def test_what_is_discarded_over_such_a_network_is_gone_as_a_whole_or_waits_as_a_whole(chunk: int) -> None:
    for seed in range(600_000 + chunk * 15, 600_000 + (chunk + 1) * 15):
        run_world(seed, doubles=True, discards=True)


@pytest.mark.parametrize("chunk", range(4))
def test_whatever_memcache_forgets_meanwhile_what_comes_later_arrives(chunk: int) -> None:
    for seed in range(400_100 + chunk * 50, 400_100 + (chunk + 1) * 50):
        run_world(seed, forgets=True)
