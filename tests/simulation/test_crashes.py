"""The process dies before and after every call of every operation, and nothing acknowledged is lost.

The calls are found by counting. What is left is found by the worker's fan-out alone, so the index is tested as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map
from google.appengine.api.memcache import memcache_stub

from gaesignals.errors import SignalsError
from gaesignals.mailbox.look import look
from gaesignals.stores.app_engine import MemcacheStore
from gaesignals.stores.store import Outcome, Read, Store, Write
from gaesignals.stores.valkey import ValkeyStore
from gaesignals.testing import ManualClock, MemoryStore
from tests.servers import NO_FILES, Server, ServerClock

from .scenes import FULL_MESSAGES, SCENARIOS, DiedError, Scenario, Scene, small_index


class DyingStore:
    """A store whose process dies at one call, before it takes effect or after, and makes no calls from then on."""

    def __init__(self, store: Store, *, dies_at: int | None = None, is_after: bool = False) -> None:
        self._store = store
        self.limits = store.limits
        self.takes_ids = getattr(store, "takes_ids", False)
        self._dies_at = dies_at
        self._is_after = is_after
        self.calls = 0

    def call(self, call: Callable[[], Any]) -> Any:
        self.calls += 1
        if self._dies_at is None or self.calls < self._dies_at:
            return call()
        if self.calls == self._dies_at and self._is_after:
            call()
        raise DiedError

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        return self.call(lambda: self._store.gets(keys))  # type: ignore[no-any-return]

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        return self.call(lambda: self._store.write(writes))  # type: ignore[no-any-return]

    def delete(self, keys: Collection[bytes]) -> Mapping[bytes, bool]:
        return self.call(lambda: self._store.delete(keys))  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _small_index() -> Iterator[None]:
    with small_index():
        yield


@contextlib.contextmanager
def memory() -> Iterator[Scene]:
    """One that takes ids, as memcache does not."""
    clock = ManualClock()
    yield Scene(MemoryStore(clock=clock, takes_ids=True), clock)


@contextlib.contextmanager
def app_engine() -> Iterator[Scene]:
    clock = ManualClock()
    before = apiproxy_stub_map.apiproxy
    apiproxy_stub_map.apiproxy = apiproxy_stub_map.APIProxyStubMap(memcache_stub.MemcacheServiceStub(gettime=clock))
    try:
        yield Scene(MemcacheStore(), clock)
    finally:
        apiproxy_stub_map.apiproxy = before


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(*NO_FILES) as server:
        yield server


@contextlib.contextmanager
def on_server(server: Server) -> Iterator[Scene]:
    server.command("FLUSHALL")
    store, clock = ValkeyStore(server.url), ServerClock([server])
    try:
        yield Scene(store, clock)
    finally:
        store.close()
        clock.close()


def recover_and_check(scene: Scene) -> None:
    """Besides what `Scene.check` says, all that is weak and still waited when the process died runs."""
    waiting = look(scene.box(), ["weak"])["weak"].waiting
    handled = weak_and_handled(scene)
    scene.recover()
    scene.check()
    assert weak_and_handled(scene) >= handled + waiting, "weak and lost, though nobody had claimed it"


def weak_and_handled(scene: Scene) -> int:
    return sum(key.startswith("weak") for key in scene.handled)


class HalfDoneStore(DyingStore):
    """A store whose process dies when one write call has been carried out for some of its keys only."""

    def __init__(self, store: Store, *, dies_at: int, part: slice) -> None:
        super().__init__(store, dies_at=dies_at)
        self._part = part

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        if self.calls + 1 == self._dies_at:
            self._store.write(writes[self._part])
        return super().write(writes)


@pytest.mark.parametrize("part", [slice(0, 1), slice(1, None)], ids=["its first key", "all but its first key"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_acknowledged_is_lost_where_a_call_is_carried_out_in_part(scenario: Scenario, part: slice) -> None:
    for dies_at in range(1, 10_000):
        with memory() as scene:
            act = scenario(scene)
            dying = HalfDoneStore(scene.store, dies_at=dies_at, part=part)
            with contextlib.suppress(DiedError, SignalsError):
                act(scene.box(dying))
            if dying.calls < dies_at:
                return
            recover_and_check(scene)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_acknowledged_is_lost_wherever_the_process_dies_on_a_server(scenario: Scenario, server: Server) -> None:
    die_everywhere(scenario, lambda: on_server(server))


@pytest.mark.parametrize("kind", [memory, app_engine])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_acknowledged_is_lost_wherever_the_process_dies(
    scenario: Scenario, kind: Callable[[], contextlib.AbstractContextManager[Scene]]
) -> None:
    die_everywhere(scenario, kind)


def die_everywhere(scenario: Scenario, kind: Callable[[], contextlib.AbstractContextManager[Scene]]) -> None:
    points = 0
    for dies_at in range(1, 10_000):
        was_reached = False
        for is_after in (False, True):
            with kind() as scene:
                act = scenario(scene)
                dying = DyingStore(scene.store, dies_at=dies_at, is_after=is_after)
                with contextlib.suppress(DiedError, SignalsError):
                    act(scene.box(dying))
                was_reached = dying.calls >= dies_at
                if not was_reached:
                    break
                points += 1
                recover_and_check(scene)
        if not was_reached:
            break
    assert points, "the scenario made no call"


def test_what_is_weak_and_lost_was_in_the_batch_at_hand() -> None:
    """Two batches wait; the process dies in the first one's handlers, and only that one can be gone."""
    with memory() as scene:
        box = scene.box()
        for number in range(FULL_MESSAGES * 66):
            scene.send(box, f"weak/{number}")
        scene.deadly.add("weak/5")
        with contextlib.suppress(DiedError):
            scene.deliver(scene.box())
        scene.recover()
        lost = scene.acknowledged - set(scene.handled)
        assert lost <= {f"weak/{number}" for number in range(FULL_MESSAGES * 64)}
        scene.check()
