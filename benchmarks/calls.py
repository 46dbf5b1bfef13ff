"""Memcache calls and bytes of each operation: `python -m benchmarks.calls`.

Counted at the SDK's interface by its own hooks, over its local memcache stub, so the numbers are exact and the same on
every machine.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.appengine.api import apiproxy_stub_map
from google.appengine.api.memcache import memcache_stub

from gaesignals import Signal, deliver, send_many
from gaesignals.data import codec
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.stores.app_engine import AppEngineNamespaces, MemcacheStore
from gaesignals.testing import ManualClock, MemoryStore

NAMES = [f"user_{number}_password_change" for number in range(100)]


@dataclass
class Calls:
    """How many calls were made, and how many bytes they moved both ways."""

    count: int = 0
    bytes: int = 0


@dataclass
class Meter:
    """Counts the calls that the SDK makes while a count is open."""

    _open: list[Calls] = field(default_factory=list)

    @contextlib.contextmanager
    def counting(self) -> Iterator[Calls]:
        calls = Calls()
        self._open.append(calls)
        try:
            yield calls
        finally:
            self._open.remove(calls)

    def add(self, service: str, call: str, request: Any, response: Any) -> None:
        for calls in self._open:
            calls.count += 1
            calls.bytes += request.ByteSize() + response.ByteSize()


@contextlib.contextmanager
def metered() -> Iterator[Meter]:
    """Put a fresh memcache stub behind the SDK, with a meter on it and a mailbox in it, whose clock stands still.

    A sender lists a name once more after a call that took long: that would count what else the machine does.
    """
    before = apiproxy_stub_map.apiproxy
    proxy = apiproxy_stub_map.APIProxyStubMap(memcache_stub.MemcacheServiceStub())
    apiproxy_stub_map.apiproxy = proxy
    meter = Meter()

    def count(service: str, call: str, request: Any, response: Any) -> None:
        meter.add(service, call, request, response)

    proxy.GetPostCallHooks().Append("meter", count, "memcache")
    try:
        with use_mailbox(Mailbox(MemcacheStore(), clock=ManualClock(), namespaces=AppEngineNamespaces())):
            yield meter
    finally:
        apiproxy_stub_map.apiproxy = before


def interleaved_calls_a_send(*, senders: int, sends: int, drainers: int, seed: int) -> float:
    """The mean number of calls of a send, where processes switch at every call and all send to one name."""
    from tests.simulation.scheduler import Scheduler, SwitchingStore

    clock = ManualClock()
    scheduler = Scheduler(seed, hold_back=False, max_steps=10**7)
    store = SwitchingStore(MemoryStore(clock=clock), scheduler)
    finished: list[int] = []

    def mailbox(number: int) -> Mailbox:
        return Mailbox(store, clock=clock, random=random.Random(f"{seed} {number}"), sleep=lambda _: scheduler.pause())

    def send(number: int) -> Callable[[], None]:
        def run() -> None:
            box = mailbox(number)
            for _ in range(sends):
                box.send([("hot", codec.dumps(number))])
            finished.append(number)

        return run

    def drain() -> None:
        box = mailbox(-1)
        while len(finished) < senders:
            deliver([("hot", lambda data: None)], mailbox=box)

    participants = [scheduler.add(f"sender {number}", send(number)) for number in range(senders)]
    for number in range(drainers):
        scheduler.add(f"drainer {number}", drain)
    scheduler.run()
    return sum(participant.calls for participant in participants) / (senders * sends)


def _rows() -> Iterator[tuple[str, str, str]]:
    handlers = [(name, lambda data: None) for name in NAMES]
    for mode, reliable in (("weak", False), ("reliable", True)):
        with metered() as meter:
            with meter.counting() as calls:
                deliver(handlers, reliable=reliable)
            yield f"{mode} delivery, 100 names, nothing waits", str(calls.count), "1"
            send_many([(name, 1) for name in NAMES])
            with meter.counting() as calls:
                deliver(handlers, reliable=reliable)
            yield f"{mode} delivery, 100 names, all wait", str(calls.count), "4" if reliable else "2"
    with metered() as meter:
        with meter.counting() as calls:
            Signal("order_paid").send(1)
        yield "send", str(calls.count), "2"
        with meter.counting() as calls:
            send_many([(name, 1) for name in NAMES])
        yield "send_many, 100 names", str(calls.count), "2"
    for mode, reliable in (("weak", False), ("reliable", True)):
        with metered() as meter:
            for _ in range(3000):
                Signal("page_viewed").send({"path": "/"})
            with meter.counting() as calls:
                while not deliver([("page_viewed", lambda data: None)], reliable=reliable).is_idle:
                    pass
            yield f"{mode} drain of 3,000 on one name", str(calls.count), "40"
    yield "bytes a send, backlog of 10,000 over 400", f"{_bytes_ratio():.2f}", "1.3"
    for drainers, most in ((0, 3), (2, 5)):
        mean = interleaved_calls_a_send(senders=32, sends=20, drainers=drainers, seed=1)
        yield f"calls a send, 32 senders, {drainers} drainers", f"{mean:.2f}", str(most)


def _bytes_ratio() -> float:
    with metered() as meter:
        sizes = []
        for backlog in (400, 10_000 - 400 - 64):
            for _ in range(backlog // 16):
                send_many([("page_viewed", number) for number in range(16)])
            with meter.counting() as calls:
                for number in range(64):
                    Signal("page_viewed").send(number)
            sizes.append(calls.bytes)
    return sizes[1] / sizes[0]


def table() -> str:
    """What was measured and what is allowed."""
    lines = [f"{'operation':<46}{'measured':>10}{'at most':>10}"]
    lines += [f"{operation:<46}{measured:>10}{most:>10}" for operation, measured, most in _rows()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
