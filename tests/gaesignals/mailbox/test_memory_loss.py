"""Memcache forgets, or holds what nobody wrote: any key, at any call of any operation.

Later messages always arrive, nothing raises out of a delivery or wedges, and what is known to be lost is counted.
A value is only ever looked at by a call that names its key, so it is enough to spoil each key before each such call,
and once more at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gaesignals import Receivers, Signal, deliver, send_many
from gaesignals.data import codec
from gaesignals.errors import StoreError
from gaesignals.format.inline import Inline
from gaesignals.format.keys import page_key
from gaesignals.format.page import VERSION, Page
from gaesignals.mailbox.current import current_mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import look
from gaesignals.testing import Call, ManualClock, MemoryStore
from tests.simulation.scenes import NAMES, SCENARIOS, Scenario, Scene, small_index

Spoil = Callable[[MemoryStore, bytes], object]
"""Does something bad to one key."""


@pytest.fixture(autouse=True)
def _small_index() -> Iterator[None]:
    with small_index():
        yield


class Spoiler:
    """Spoils keys of a scene just before call number `at`, or at the end if there are fewer calls.

    `choose` picks them from those that the call names, or from all there are at the end. Nothing but `refusals` may be
    raised by what the process does then.
    """

    refusals: tuple[type[Exception], ...] = ()

    def __init__(self, at: int, choose: Callable[[MemoryStore, list[bytes]], list[bytes]], spoil: Spoil) -> None:
        self.at = at
        self.calls = 0
        self.spoilt: list[bytes] = []
        self._choose = choose
        self._spoil = spoil

    def watch(self, store: MemoryStore) -> None:
        def before(call: Call) -> None:
            self.calls += 1
            if self.calls == self.at:
                self._act(store, list(call.keys))

        store.before = before

    def finish(self, store: MemoryStore) -> None:
        store.before = None
        if self.calls < self.at:
            self._act(store, sorted(store.keys()))

    def _act(self, store: MemoryStore, keys: list[bytes]) -> None:
        self.spoilt = self._choose(store, [key for key in keys if store.raw(key) is not None])
        for key in self.spoilt:
            self._spoil(store, key)


def run(scenario: Scenario, spoiler: Spoiler) -> Scene:
    """Let the process of `scenario` and all that come after it live with what `spoiler` does."""
    clock = ManualClock()
    store = MemoryStore(clock=clock, takes_ids=True)
    scene = Scene(store, clock)
    act = scenario(scene)
    spoiler.watch(store)
    with contextlib.suppress(*spoiler.refusals):
        act(scene.box())
    spoiler.finish(store)
    return scene


def check_later_messages(scene: Scene) -> None:
    """What is sent now arrives, and nothing keeps coming back."""
    later = [f"{name}/later" for name in NAMES]
    scene.send(scene.box(), *later)
    scene.recover()
    missing = set(later) - set(scene.handled)
    assert not missing, f"sent after the loss and not handled: {missing}"
    scene.check_weak()
    scene.check_index()


def one(number: int) -> Callable[[MemoryStore, list[bytes]], list[bytes]]:
    return lambda store, keys: keys[number : number + 1]


def everything(store: MemoryStore, keys: list[bytes]) -> list[bytes]:
    return sorted(store.keys())


def any_of(seed: str) -> Callable[[MemoryStore, list[bytes]], list[bytes]]:
    chance = random.Random(seed)
    return lambda store, keys: [key for key in sorted(store.keys()) if chance.random() < 0.5]


def forget(store: MemoryStore, key: bytes) -> None:
    store.evict([key])


def every_call_and_key(
    scenario: Scenario, spoil: Callable[[int], Spoil], *, refusals: tuple[type[Exception], ...] = ()
) -> Iterator[tuple[Spoiler, Scene]]:
    """Spoil each key of each call, one a run, with what `spoil` returns for the number of the run."""
    numbers = itertools.count()
    for at in itertools.count(1):
        for key in itertools.count():
            spoiler = Spoiler(at, one(key), spoil(next(numbers)))
            spoiler.refusals = refusals
            scene = run(scenario, spoiler)
            if not spoiler.spoilt:
                break
            yield spoiler, scene
        if spoiler.calls < at:
            return


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_any_key_may_be_evicted_before_any_call(scenario: Scenario) -> None:
    for spoiler, scene in every_call_and_key(scenario, lambda number: forget):
        check_later_messages(scene)
        check_losses(spoiler, scene)


def check_losses(spoiler: Spoiler, scene: Scene) -> None:
    """A segment or a bundle that is gone takes its messages with it, and these are counted."""
    lost = scene.lost()
    counted = sum(report.lost for report in scene.reports)
    [key] = spoiler.spoilt
    if key.startswith((b"gs:s:", b"gs:b:")) and not key.startswith(b"gs:b:dead."):
        # What a person takes out may be in it, too.
        assert len(lost) <= counted <= len(lost) + len(scene.discardable) or scene.has_died
    elif not key.startswith((b"gs:p:", b"gs:d:")):
        assert not lost or scene.has_died, f"lost by an eviction in the index: {lost}"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_everything_may_be_flushed_before_any_call(scenario: Scenario) -> None:
    for at in itertools.count(1):
        spoiler = Spoiler(at, everything, forget)
        scene = run(scenario, spoiler)
        check_later_messages(scene)
        if spoiler.calls < at:
            return


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_any_keys_may_be_evicted_together(scenario: Scenario) -> None:
    for at in itertools.count(1):
        spoiler = Spoiler(at, any_of(f"{scenario.__name__} {at}"), forget)
        scene = run(scenario, spoiler)
        check_later_messages(scene)
        if spoiler.calls < at:
            return


# What nobody wrote


def truncated(store: MemoryStore, key: bytes, chance: random.Random) -> bytes:
    value = store.raw(key) or b""
    return value[: chance.choice((0, 1, 3, 7, len(value) // 2, len(value) - 1))]


def with_a_flipped_bit(store: MemoryStore, key: bytes, chance: random.Random) -> bytes:
    value = bytearray(store.raw(key) or b"")
    value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    return bytes(value)


def of_another_kind(store: MemoryStore, key: bytes, chance: random.Random) -> bytes:
    """None of a later version than what was there: that is left alone, which is another test's."""
    own = _version_of(store, key)
    others = [
        each for each in sorted(store.keys()) if kind_of(each) != kind_of(key) and _version_of(store, each) <= own
    ]
    return store.raw(chance.choice(others)) or b"" if others else b"other"


def _version_of(store: MemoryStore, key: bytes) -> int:
    return (store.raw(key) or b"gs\0")[2]


def kind_of(key: bytes) -> bytes:
    """Segments and bundles are alike: one in place of another would be a real duplicate."""
    return key.split(b":")[1].replace(b"s", b"b")


HUGE: list[Any] = [-1, 2**31, 2**63, 2**64 - 1, 2**200, True, "", "x" * 1000, "é" * 150, b"", None, [], {}]


def tampered_with(store: MemoryStore, key: bytes, chance: random.Random) -> bytes:
    """One part of what is there replaced by nonsense, under a checksum that matches."""
    value = store.raw(key) or b""
    body = codec.unseal(value, version=value[2])
    places = list(_places(body))
    if not places:
        return codec.seal(value[2], chance.choice(HUGE))
    container, index = chance.choice(places)
    container[index] = chance.choice(HUGE)
    return codec.seal(value[2], body)


def _places(body: Any) -> Iterator[tuple[Any, Any]]:
    for index, value in enumerate(body) if isinstance(body, list) else body.items() if isinstance(body, dict) else ():
        yield body, index
        yield from _places(value)


def nonsense(store: MemoryStore, key: bytes, chance: random.Random) -> bytes:
    odd = [*HUGE, {"": 0}, {"x" * 300: 0}, {"i": "x", "f": 0, "n": 2**40}, [[[]]]]
    return codec.seal(_version_of(store, key), chance.choice(odd))


KINDS = [truncated, tampered_with, with_a_flipped_bit, nonsense, of_another_kind]


def corrupted(number: int, seed: str) -> Spoil:
    """Each run spoils in another way; every fifth plants what is not plain bytes, as a pickle is not."""
    chance = random.Random(f"{seed} {number}")
    how = KINDS[number % len(KINDS)]
    return lambda store, key: store.set_raw(key, how(store, key, chance), is_foreign=number % 25 == 0)


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_any_key_may_hold_nonsense_before_any_call(scenario: Scenario, turn: int) -> None:
    for _, scene in every_call_and_key(scenario, lambda number: corrupted(number + turn, scenario.__name__)):
        check_later_messages(scene)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_a_later_version_wrote_is_left_alone_and_stops_nothing_else(scenario: Scenario) -> None:
    """Sending to it is refused. When it is gone, everything goes on."""
    newer = codec.seal(VERSION + 1, {"from": "the future"})

    def plant(store: MemoryStore, key: bytes) -> None:
        store.set_raw(key, newer)

    for spoiler, scene in every_call_and_key(scenario, lambda number: plant, refusals=(StoreError,)):
        assert isinstance(scene.store, MemoryStore)
        [key] = spoiler.spoilt
        if not key.startswith((b"gs:s:", b"gs:b:")):
            assert scene.store.raw(key) == newer
        scene.store.evict([key])
        check_later_messages(scene)


@pytest.mark.usefixtures("mailbox")
@pytest.mark.parametrize("reliable", [False, True])
def test_no_planted_id_makes_a_key_that_memcache_refuses(store: MemoryStore, reliable: bool) -> None:
    """An epoch of sixty letters that take four bytes each, and the index of a segment behind it."""
    epoch = "\N{PILE OF POO}" * 60
    store.set_raw(page_key("a"), Page(epoch, first=10**13, next=10**13 + 1).to_bytes())
    assert deliver([("a", lambda data: None)], reliable=reliable).lost == 1
    Signal("a").send(1)
    assert deliver([("a", lambda data: None)], reliable=reliable).delivered == 1


# What is known to be lost


@pytest.fixture
def with_logging(_small_index: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("gaesignals"), "disabled", False)


@pytest.mark.usefixtures("with_logging", "mailbox")
@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize("spoil", [forget, lambda store, key: store.set_raw(key, b"spoilt")])
def test_messages_that_are_gone_are_counted_and_logged(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, spoil: Spoil, reliable: bool
) -> None:
    """A segment of four, and a bundle of one inside another segment."""
    for number in range(11):
        Signal("a").send(str(number) * (3000 if number == 6 else 1))
    segment, *_ = sorted(key for key in store.keys() if key.startswith(b"gs:s:"))  # noqa: SIM118
    [body] = [key for key in store.keys() if key.startswith(b"gs:b:")]  # noqa: SIM118
    spoil(store, segment)
    spoil(store, body)
    report = deliver([("a", lambda data: None)], reliable=reliable)
    assert (report.lost, report.delivered) == (5, 6)
    logged = [record for record in caplog.records if record.message == "messages cannot be read"]
    assert [(record.levelname, record.signals_count) for record in logged] == [("ERROR", 5)]  # type: ignore[attr-defined]
    assert deliver([("a", lambda data: None)], reliable=reliable).is_idle


@pytest.mark.usefixtures("with_logging", "mailbox")
@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize(("before", "after", "lost"), [(2, 0, 3), (2, 20, 4), (4, 0, 5), (4, 20, 4)])
def test_one_message_that_cannot_be_read_costs_those_of_its_page_at_most(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, before: int, after: int, lost: int, reliable: bool
) -> None:
    """Whoever sends to the page after it passes it on, and whoever claims others does not look at it."""
    for number in range(before):
        Signal("a").send(number)
    page = Page.from_bytes(store.raw(page_key("a")) or b"")
    planted = Inline(1, 1, 0, codec.encode(["id", 1, "no bytes"]))
    store.set_raw(page_key("a"), replace(page, messages=page.messages + planted).to_bytes())
    for number in range(after):
        Signal("a").send(number)
    report = deliver([("a", lambda data: None)], reliable=reliable)
    assert (report.lost, report.delivered) == (lost, before + 1 + after - lost)
    logged = [record for record in caplog.records if record.message == "messages cannot be read"]
    assert [record.signals_count for record in logged] == [lost]  # type: ignore[attr-defined]
    assert deliver([("a", lambda data: None)], reliable=reliable).is_idle


@pytest.mark.usefixtures("with_logging", "mailbox")
@pytest.mark.parametrize("reliable", [False, True])
def test_a_page_that_cannot_be_read_is_counted_logged_and_replaced(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, reliable: bool
) -> None:
    Signal("a").send(1)
    store.set_raw(page_key("a"), b"spoilt")
    assert deliver([("a", lambda data: None)], reliable=reliable).lost == 1
    assert "a stored value cannot be read and counts as evicted" in caplog.text
    assert deliver([("a", lambda data: None)], reliable=reliable).is_idle


@pytest.mark.usefixtures("mailbox")
def test_what_memcache_held_is_never_unpickled(store: MemoryStore) -> None:
    Signal("a").send(1)
    for key in store.keys():  # noqa: SIM118
        store.set_raw(key, pickle.dumps(Bomb()), is_foreign=True)
    assert deliver([("a", lambda data: None)]).lost == 1


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


# A page that is gone while its messages are at hand


@pytest.mark.usefixtures("mailbox")
@pytest.mark.parametrize("comes_back", [False, True])
def test_messages_at_hand_are_run_though_their_page_is_gone_when_the_lease_is_renewed(
    store: MemoryStore, clock: ManualClock, comes_back: bool
) -> None:
    """Nobody else can have them, so stopping would lose them."""
    handled: list[int] = []

    def handler(data: int) -> None:
        if data == 1 and not handled:
            store.evict([page_key("a")])
            if comes_back:
                Signal("a").send(100)
        clock.advance(20)
        if data == 2 and data not in failed:
            failed.append(data)
            raise RuntimeError("once")
        handled.append(data)

    failed: list[int] = []
    receivers = Receivers()
    receivers.connect("a", handler, reliable=True, backoff_seconds=1, id="h")
    for number in range(1, 10):
        Signal("a").send(number)
    report = deliver(receivers, lease_seconds=60)
    assert (report.delivered, report.retried, report.overtaken) == (8, 1, 0)
    clock.advance(100)
    deliver(receivers, lease_seconds=60)
    assert sorted(handled) == [*range(1, 10), *([100] if comes_back else [])]


@pytest.mark.usefixtures("mailbox")
@pytest.mark.parametrize("count", [10, 100])
def test_a_takeover_goes_on_though_the_page_is_gone(store: MemoryStore, clock: ManualClock, count: int) -> None:
    handled: list[int] = []
    failed: list[int] = []

    def handler(data: int) -> None:
        if not failed:
            store.evict([page_key("a")])
        if data not in failed:
            failed.append(data)
            raise RuntimeError("once")
        handled.append(data)

    def die(data: int) -> None:
        raise SystemExit

    def receivers(handler: Callable[[int], None], *, batch: int | None = None) -> Receivers:
        made = Receivers()
        made.connect("a", handler, reliable=True, backoff_seconds=1, id="h", batch=batch)
        return made

    send_many([("a", number) for number in range(count)])
    with pytest.raises(SystemExit):
        deliver(receivers(die, batch=count), lease_seconds=60)
    clock.advance(100)
    assert deliver(receivers(handler), lease_seconds=60).retried == count
    clock.advance(100)
    deliver(receivers(handler), lease_seconds=60)
    assert sorted(handled) == list(range(count))
    assert look(current_mailbox(), ["a"])["a"].retrying == 0


@pytest.mark.usefixtures("mailbox")
def test_what_goes_back_to_a_new_page_is_listed_though_the_answer_to_its_write_was_lost(
    store: MemoryStore, clock: ManualClock
) -> None:
    def fail(data: int) -> None:
        store.flush()
        store.after = lose
        raise RuntimeError("once")

    def lose(call: Call) -> tuple[bytes, ...]:
        if call.verb == "write" and page_key("a") in call.keys:
            store.after = None
            return call.keys
        return ()

    Signal("a").send(1)
    deliver([("a", fail)], reliable=True)
    assert "a" in Index(current_mailbox()).entries()
