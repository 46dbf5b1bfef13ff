"""What a fleet has to show, each figure with its limit: `python -m tests.fleet` prints them, the tests hold them.

Seeds are fixed, so a figure is the same every time. Each run also checks that nothing was lost, and that nothing ran
again but for what a killed worker held.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from .fleet import HOUR, Fleet

SEEDS = range(1, 4)


@dataclass(frozen=True)
class Figure:
    """What is measured, and the least or the most that it may be."""

    what: str
    measure: Callable[[], float]
    at_least: float | None = None
    at_most: float | None = None
    is_long: bool = False

    @property
    def limit(self) -> str:
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"

    def is_met_by(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@functools.cache
def drained(count: int, seconds: float, *, reliable: bool = True, at_once: bool = True) -> Fleet:
    """A fleet that found so many messages of so many seconds, and has run them all."""
    fleet = Fleet()
    fleet.connect("job", seconds, reliable=reliable)
    fleet.send("job", count, at_once=at_once)
    fleet.start()
    fleet.run_until_done()
    fleet.check()
    return fleet


def times_one_worker(count: int, seconds: float, *, reliable: bool, at_once: bool) -> float:
    return count * seconds / drained(count, seconds, reliable=reliable, at_once=at_once).seconds_taken


def longest_wait_beside(count: int, seconds: float, *, reliable: bool) -> float:
    """The longest that one of 99 quick names waits which share a task with a name of so many slow messages."""
    waits = []
    for seed in SEEDS:
        fleet = Fleet(seed=seed)
        fleet.connect("slow", seconds, reliable=reliable)
        fleet.connect("user_{id}", 0.0, reliable=reliable)
        fleet.send("slow", count)
        quick = [f"user_{number}" for number in range(99)]
        for name in quick:
            fleet.send(name, 1)
        fleet.start()
        fleet.run_until_done(within=HOUR * 12)
        fleet.check()
        waits += fleet.waits(quick)
    return max(waits)


def longest_wait_amid(count: int, seconds: float, *, reliable: bool) -> float:
    """The longest that quick names with tasks of their own wait, sent to while a slow name has all places."""
    fleet = Fleet()
    fleet.connect("slow", seconds, reliable=reliable)
    fleet.connect("user_{id}", 0.0)
    fleet.send("slow", count)
    for number in range(int(count * seconds / 20 / 7)):
        fleet.add_wake(f"user_{number}", after=15 + 7 * number)
    fleet.start()
    fleet.run_until_done()
    fleet.check()
    return max(fleet.wake_waits())


def repeats_after_a_kill(count: int, seconds: float) -> float:
    """The most messages that ran again, where one of the workers is killed at some time amid so many of so long."""
    most = 0
    for seed in SEEDS:
        fleet = Fleet(seed=seed)
        fleet.connect("job", seconds)
        fleet.send("job", count)
        fleet.start()
        fleet.kill_one_after(fleet.random.randint(count // 20, count * 9 // 10))
        fleet.run_until_done()
        fleet.check(repeats=count)
        assert fleet.killed == 1
        most = max(most, fleet.ledger.repeats)
    return most


def _rows() -> list[Figure]:
    figures = []
    for reliable, least in ((True, 16), (False, 14)):
        mode = "reliable" if reliable else "weak"
        for at_once in (False, True):
            how = "by send_many" if at_once else "singly"
            for count, seconds in ((1000, 10.0), (20_000, 1.0)):
                measure = functools.partial(times_one_worker, count, seconds, reliable=reliable, at_once=at_once)
                what = f"{count:,} x {seconds:g} s, {mode}, sent {how}: times one worker"
                figures.append(Figure(what, measure, at_least=least, is_long=count > 1000))
        figures += [
            Figure(
                f"1,000 x 10 s, {mode}: handlers at once",
                lambda reliable=reliable: drained(1000, 10.0, reliable=reliable).ledger.most_at_once,
                at_least=20,
            ),
            Figure(
                f"100 x 10 s, {mode}: seconds",
                lambda reliable=reliable: drained(100, 10.0, reliable=reliable).seconds_taken,
                at_most=100,
            ),
        ]
    figures += [
        *(
            Figure(
                f"a quick name beside {count:,} x {seconds:g} s, {mode}, waits: seconds",
                functools.partial(longest_wait_beside, count, seconds, reliable=mode == "reliable"),
                at_most=at_most,
            )
            for count, seconds, at_most in ((1000, 0.5, 1.5), (100, 10.0, 12))
            for mode in ("reliable", "weak")
        ),
        *(
            Figure(
                f"a quick name sent to amid {count:,} x {seconds:g} s, {mode}, waits: seconds",
                functools.partial(longest_wait_amid, count, seconds, reliable=mode == "reliable"),
                at_most=12,
            )
            for count, seconds in ((500, 10.0), (2000, 1.0))
            for mode in ("reliable", "weak")
        ),
        Figure(
            "a kill amid 10,000 x 1 ms repeats: messages",
            lambda: repeats_after_a_kill(10_000, 0.001),
            at_most=1000,
        ),
        Figure(
            "a kill amid 1,000 x 1 s repeats: messages",
            lambda: repeats_after_a_kill(1000, 1.0),
            at_most=16,
        ),
        Figure(
            "a kill amid 200 x 10 s repeats: messages",
            lambda: repeats_after_a_kill(200, 10.0),
            at_most=2,
        ),
    ]
    return figures


FIGURES = _rows()
