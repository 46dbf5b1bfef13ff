"""Random hours of a world with durable messages: `python -m tests.simulation.durable_hours --seconds 300`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Callable

from .durable_world import DiedError, DurableWorld

EVENTS = (
    "send",
    "send",
    "send",
    "many",
    "later",
    "deliver",
    "deliver",
    "deliver",
    "tasks",
    "tasks",
    "pass",
    "pass",
    "requeue",
)
FAULTS = ("flush", "evict", "memcache", "queue", "die", "die", "twice")

SKEWS = (0.0, 5.0, -5.0)


def live(seed: int, *, steps: int, with_faults: bool) -> DurableWorld:
    """Some hours of a world, at the end of which everything is given the time to come to its end."""
    world = DurableWorld(seed, skew_seconds=SKEWS[seed % len(SKEWS)], fails=0.2)
    for _ in range(steps):
        event = world.chance.choice(EVENTS + (FAULTS if with_faults else ()))
        with contextlib.suppress(DiedError):
            happen(world, event)
        world.clock.advance(world.chance.choice([0.1, 1, 20, 300]))
        if world.chance.random() < 0.3:
            world.is_memcache_away = world.is_queue_away = False
            world.dies_at = None
    world.settle()
    return world


def happen(world: DurableWorld, event: str) -> None:
    chance = world.chance
    happenings: dict[str, Callable[[], object]] = {
        "send": world.send,
        "many": lambda: world.send(chance.choice([2, 20, 40])),
        "later": lambda: world.send(chance.choice([1, 5, 30]), delay_seconds=chance.choice([0, 30, 700, 9000])),
        "deliver": world.deliver,
        "tasks": world.run_tasks,
        "twice": lambda: world.run_tasks(twice=True),
        "pass": lambda: world.clock.advance(chance.choice([60, 700, 4000])),
        "requeue": world.requeue,
        "flush": world.store.flush,
        "evict": lambda: world.store.evict(lambda key: chance.random() < 0.3),
        "memcache": lambda: setattr(world, "is_memcache_away", True),
        "queue": lambda: setattr(world, "is_queue_away", True),
        "die": lambda: world.die_at(chance.randrange(1, 12), is_after=chance.random() < 0.5),
    }
    happenings[event]()


def main() -> int:
    """Live through one seed after the other; 1 if a message was lost, and 0 when the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, default=0, help="the first one")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    logging.disable()
    end = time.monotonic() + options.seconds
    sent = repeated = 0
    seed = options.seed
    while time.monotonic() < end:
        world = live(seed, steps=options.steps, with_faults=bool(seed % 5))
        if world.lost or (world.repeated and not seed % 5):
            print(f"seed {seed}: lost {sorted(world.lost)}, repeated {world.repeated}")
            return 1
        sent, repeated = sent + len(world.sent), repeated + world.repeated
        seed += 1
    print(f"{seed - options.seed} worlds, {sent} durable messages: none lost, {repeated} repeated by faults")
    return 0


if __name__ == "__main__":
    sys.exit(main())
