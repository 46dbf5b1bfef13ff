"""Whatever somebody plants in memcache: work stays bounded by what is stored, and every error is one of ours."""

from __future__ import annotations

import random

import pytest

from .mutations import mutated
from .world import World, stored

# Work is bounded by what is stored: no message takes fewer bytes than this.
LEAST_MESSAGE_BYTES = 16
# A page may promise a million segments, which are looked for a thousand at a time, in three calls.
MAX_CALLS = 5_000
MAX_RECEIVED_BYTES = 200 * 2**20


def check(seed: int, *, mutations: int) -> None:
    """Plant so many mutations, do everything, and ask for what has to hold."""
    chance = random.Random(seed)
    planted = stored()
    for _ in range(mutations):
        planted = mutated(planted, chance)
    world = World(planted, chance)
    world.do_everything()
    assert world.troubles == [], "\n".join(world.troubles)
    cost = f"{world.handlers.runs} runs, {len(world.store.calls)} calls, {world.received_bytes:,} bytes received"
    runs = 1_000 + 3 * world.stored_bytes // LEAST_MESSAGE_BYTES
    assert world.handlers.runs <= runs, cost
    assert len(world.store.calls) <= MAX_CALLS, cost
    assert world.received_bytes <= MAX_RECEIVED_BYTES, cost


def test_everything_works_with_nothing_planted() -> None:
    world = World(stored(), random.Random(0))
    world.do_everything()
    assert world.troubles == []
    assert world.handlers.runs > 300
    kinds = {key.split(b":")[1] for key in stored()}
    every = {b"p", b"i", b"d", b"s", b"b", b"dead", b"paused", b"h", b"fleet"}
    assert every <= kinds, "every kind of value is there to be mutated"


# 39 and 245: pages that promise 65,536 segments. 92: a bundle of 6,000 messages where its page speaks of 20.
@pytest.mark.parametrize("seed", [*range(12), 39, 92, 245])
def test_a_planted_value_costs_bounded_work_and_raises_nothing_of_others(seed: int) -> None:
    check(seed, mutations=1 + seed % 3)
