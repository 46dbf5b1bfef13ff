"""Durable messages survive: a process that dies at any call, and random hours of everything that can go wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from gaesignals.mailbox.retries import drop, hasten, kill

from .durable_hours import live
from .durable_world import DiedError, DurableWorld

Step = Callable[[DurableWorld], object]


def send(world: DurableWorld) -> None:
    world.send()


def send_several(world: DurableWorld) -> None:
    world.send(30)


def retry(world: DurableWorld) -> None:
    world.fails = 1.0
    world.deliver()


def die_often(world: DurableWorld) -> None:
    world.fails = 1.0
    for _ in range(5):
        world.deliver()
        world.clock.advance(4000)


def rescue_after_a_flush(world: DurableWorld) -> None:
    world.store.flush()
    world.clock.advance(600)
    world.run_tasks()


def requeue_the_dead(world: DurableWorld) -> None:
    die_often(world)
    world.requeue()


def put_a_letter_back(world: DurableWorld) -> None:
    die_often(world)
    world.store.flush()
    world.clock.advance(86_400)
    world.run_tasks()


def run_retries_now(world: DurableWorld) -> None:
    retry(world)
    world.fails = 0.0
    world.change_retries(hasten)
    world.deliver()


def kill_retries(world: DurableWorld) -> None:
    retry(world)
    world.change_retries(kill)


STEPS: dict[str, Step] = {
    "a send": send,
    "a send of many": send_several,
    "a delivery": lambda world: world.deliver(),
    "a retry": retry,
    "a death": die_often,
    "a rescue": rescue_after_a_flush,
    "a requeue": requeue_the_dead,
    "a letter that is put back": put_a_letter_back,
    "retries that are run now": run_retries_now,
    "retries that become dead letters": kill_retries,
}


def after(step: Step, *, dies_at: int | None = None, is_after: bool = False, flush: bool = False) -> DurableWorld:
    """Two messages are sent, the step goes on until its process dies, and then everything comes to its end."""
    world = DurableWorld()
    world.send()
    world.send(3)
    world.die_at(dies_at, is_after=is_after)
    with contextlib.suppress(DiedError):
        step(world)
    if flush:
        world.store.flush()
    world.settle()
    return world


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("flush", [False, True], ids=["memcache keeps it", "memcache forgets it"])
def test_whoever_dies_at_whichever_call_loses_nothing(step: Step, flush: bool) -> None:
    world = DurableWorld()
    world.send()
    world.send(3)
    world.calls = 0
    step(world)
    for dies_at in range(1, world.calls + 1):
        for is_after in (False, True):
            dead = after(step, dies_at=dies_at, is_after=is_after, flush=flush)
            assert not dead.lost, (dies_at, is_after)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_without_a_fault_nothing_is_repeated_and_no_task_is_left(step: Step) -> None:
    world = after(step)
    flushes = step in (rescue_after_a_flush, put_a_letter_back)
    assert (world.lost, world.tasks.waiting("signals-safety")) == (set(), [])
    assert flushes or world.repeated == 0


def drop_first(dies_at: int | None, *, is_after: bool = False) -> tuple[DurableWorld, set[int]]:
    """A person drops what is to be retried of one delivery; what was sent after it goes on."""
    world = DurableWorld()
    world.send(4)
    retry(world)
    world.send(3)
    world.fails = 0.0
    world.die_at(dies_at, is_after=is_after)
    dropped = {0, 1, 2, 3}
    with contextlib.suppress(DiedError):
        dropped = world.change_retries(drop)
    world.settle()
    return world, dropped


def test_whoever_dies_while_a_retry_is_dropped_loses_nothing_else() -> None:
    world, dropped = drop_first(None)
    assert dropped
    assert world.lost == dropped
    assert world.tasks.waiting("signals-safety") == []
    for dies_at in range(1, 60):
        for is_after in (False, True):
            dead, _ = drop_first(dies_at, is_after=is_after)
            assert dead.lost <= dropped, (dies_at, is_after)


@pytest.mark.parametrize("seed", range(24))
def test_hours_of_everything_that_can_go_wrong_lose_nothing(seed: int) -> None:
    assert not live(seed, steps=60, with_faults=True).lost


@pytest.mark.parametrize("seed", range(5))
def test_hours_without_a_fault_repeat_nothing(seed: int) -> None:
    world = live(1000 + seed, steps=60, with_faults=False)
    assert (world.lost, world.repeated) == (set(), 0)
