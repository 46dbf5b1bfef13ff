"""Each call of each operation fails: before it took effect, after it, for one key alone, or to take effect later.

What a send says of its messages is true, weak messages never run twice, reliable ones are never lost, and what is left
is found by the worker's fan-out alone. The calls and their keys are found by counting.
"""

from __future__ import annotations

import contextlib
import enum
import random
from collections.abc import Collection, Iterator, Mapping, Sequence

import pytest

from gaesignals.errors import StoreError
from gaesignals.stores.store import Absent, Outcome, Read, Store, Write
from gaesignals.testing import ManualClock, MemoryStore
from tests.simulation.scenes import SCENARIOS, Scenario, Scene, small_index


class Fault(enum.Enum):
    """How a call fails for some of its keys. It is always answered as failed."""

    BEFORE = "nothing happens"
    AFTER = "it takes effect"
    LATE = "it takes effect after the next call"


class FaultySource:
    """Says which keys of which call fail: those of one call, or none."""

    def __init__(self, number: int = 0, fault: Fault = Fault.BEFORE, key: int | None = None) -> None:
        self._number = number
        self._fault = fault
        self._key = key

    def draw(self, number: int, keys: Sequence[bytes]) -> tuple[Fault, Collection[bytes]]:
        """The fault of the call of that number, and the keys that it is for."""
        if number != self._number:
            return self._fault, ()
        return self._fault, keys if self._key is None else keys[self._key : self._key + 1]


class RandomFaults(FaultySource):
    """Any call may fail, in any way, for any of its keys."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._rate = self._random.choice((0.05, 0.2, 0.5))

    def draw(self, number: int, keys: Sequence[bytes]) -> tuple[Fault, Collection[bytes]]:
        fault = self._random.choice(list(Fault))
        if self._random.random() >= self._rate:
            return fault, ()
        return fault, keys if self._random.random() < 0.5 else [k for k in keys if self._random.random() < 0.5]


class FaultyStore:
    """A store whose calls fail as `faults` says. `sizes` has the verb and the number of keys of each call made."""

    def __init__(self, store: Store, faults: FaultySource) -> None:
        self._store = store
        self.limits = store.limits
        self.takes_ids = getattr(store, "takes_ids", False)
        self._faults = faults
        self._late: list[Write] = []
        self.sizes: list[tuple[str, int]] = []

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        _, failed, late = self._begin("gets", keys)
        answer = dict(self._store.gets(keys))
        self._end(late)
        return answer | dict.fromkeys(failed, Absent.FAILED)

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        fault, failed, late = self._begin("write", [write.key for write in writes])
        held = [write for write in writes if fault is not Fault.AFTER and write.key in failed]
        answer = dict(self._store.write([write for write in writes if write not in held]))
        self._end(late)
        self._late += held if fault is Fault.LATE else []
        return answer | dict.fromkeys(failed, Outcome.FAILED)

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        fault, failed, late = self._begin("delete", keys)
        answer = dict(self._store.delete([key for key in keys if fault is Fault.AFTER or key not in failed]))
        self._end(late)
        return answer | dict.fromkeys(failed, False)

    def finish(self) -> None:
        """Let what is still to take effect do so."""
        self._end(self._late)

    def _begin(self, verb: str, keys: Collection[bytes]) -> tuple[Fault, Collection[bytes], list[Write]]:
        self.sizes.append((verb, len(keys)))
        fault, failed = self._faults.draw(len(self.sizes), list(keys))
        late, self._late = self._late, []
        return fault, failed, late

    def _end(self, late: Sequence[Write]) -> None:
        for write in late:
            self._store.write([write])


@pytest.fixture(autouse=True)
def _small_index() -> Iterator[None]:
    with small_index():
        yield


def run(scenario: Scenario, faults: FaultySource) -> tuple[Scene, FaultyStore]:
    """Let the process of `scenario` meet `faults`; the scene as it is when everybody else has recovered."""
    clock = ManualClock()
    scene = Scene(MemoryStore(clock=clock, takes_ids=True), clock)
    act = scenario(scene)
    faulty = FaultyStore(scene.store, faults)
    with contextlib.suppress(StoreError):
        act(scene.box(faulty))
    faulty.finish()
    scene.recover()
    return scene, faulty


def check(scene: Scene) -> None:
    scene.check()
    assert not scene.unmentioned, "the error of a send has to list every message"
    assert not scene.refused & set(scene.begun), "messages that a send called failed were stored"


def faults_of(scenario: Scenario, fault: Fault) -> Iterator[FaultySource]:
    """Every call of the scenario failing as a whole, and for each of its keys alone."""
    _, dry = run(scenario, FaultySource())
    for number, (verb, size) in enumerate(dry.sizes, start=1):
        if fault is Fault.BEFORE or verb == "write" or (verb == "delete" and fault is Fault.AFTER):
            yield FaultySource(number, fault)
            if size > 1:
                yield from (FaultySource(number, fault, key) for key in range(size))


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_one_failing_call_loses_nothing_and_repeats_nothing_weak(scenario: Scenario, fault: Fault) -> None:
    for faults in faults_of(scenario, fault):
        scene, _ = run(scenario, faults)
        check(scene)
        lost = scene.lost()
        assert scene.has_died or not lost, f"weak and lost though nobody died: {lost}"
        assert not scene.refused | scene.unsure, "one failure is no reason to give up"
        assert sum(report.lost for report in scene.reports) == 0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_any_number_of_failing_calls_lose_nothing_reliable_and_repeat_nothing_weak(scenario: Scenario) -> None:
    for seed in range(60):
        scene, _ = run(scenario, RandomFaults(seed))
        check(scene)
