"""The system's own processes over a real server, killed at random: `python -m tests.simulation.processes --count 300`.

A world is a few senders, workers and deliveries that run at the same time, each call of theirs held up for a moment.
Some of them are killed, and perhaps the server with them. What each does is drawn from a seed; how they meet is not.
Then the clock is put forward, the worker's fan-out alone finds what is left, and everything is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from gaesignals.data import codec
from gaesignals.errors import SendError, StoreError
from gaesignals.format.entries import Record
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.stores.store import Outcome, Read, Store, Write
from gaesignals.stores.valkey import ValkeyStore
from gaesignals.testing import ManualClock
from tests.servers import EACH_WRITE_ON_DISK, NO_FILES, Server, cluster
from tests.stress.records import Notebook, read

from .scenes import BODY, FULL_MESSAGES, NAMES, Scene, small_index

MOST_SECONDS = 0.4
KEY_LENGTH = 40
# More than a page of these scenes holds, so that it is sealed.
MANY = 3 * FULL_MESSAGES
KINDS = ("server", "cluster", "killed", "forgetful")


class SlowStore(ValkeyStore):
    """A store whose calls take a moment longer, before they are made and after, so that others come in between."""

    def __init__(self, url: str, *, namespace: str, random: random.Random) -> None:
        super().__init__(url, namespace=namespace, deadline_seconds=1.0)
        self._random = random

    def gets(self, keys: Collection[bytes]) -> Mapping[bytes, Read]:
        return self._slowly(lambda: super(SlowStore, self).gets(keys))

    def write(self, writes: Sequence[Write]) -> Mapping[bytes, Outcome]:
        return self._slowly(lambda: super(SlowStore, self).write(writes))

    def _slowly(self, call: Callable[[], Mapping[bytes, object]]) -> Mapping[bytes, object]:
        self._pause()
        answer = call()
        self._pause()
        return answer

    def _pause(self) -> None:
        if self._random.random() < 0.5:
            time.sleep(self._random.uniform(0, 0.004))


@dataclasses.dataclass
class Process(Scene):
    """What a process does, written down in files that outlive it."""

    directory: str = ""
    failure_rate: float = 0.0
    random: random.Random = dataclasses.field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.notes = {kind: Notebook(kind, self.directory) for kind in ("attempted", "stored", "handled")}

    def box(self, store: Store | None = None) -> Mailbox:
        """Ids are random, as they are: those of a scene's boxes would be the same in each process."""
        return Mailbox(store or self.store, clock=self.clock)

    def _one(self, data: str) -> None:
        if self.random.random() < self.failure_rate:
            raise RuntimeError("on purpose")
        self.notes["handled"].write(data[:KEY_LENGTH].rstrip())

    def dead(self) -> set[str]:
        letters = DeadLetters(self.box())
        return {str(letter.data)[:KEY_LENGTH].rstrip() for name in NAMES for letter in letters.list(name)}

    def send_some(self) -> None:
        for number in range(self.random.randint(3, 12)):
            name = self.random.choice(NAMES)
            count = self.random.choice((1, 1, 1, MANY))
            keys = [f"{name}/{os.getpid()} {number} {place}" for place in range(count)]
            self.notes["attempted"].write(*keys)
            texts = [key.ljust(KEY_LENGTH) + self.random.choice(("", "", BODY)) for key in keys]
            box = self.box()
            records = [Record(box.new_id(), int(self.clock() * 10**6), codec.dumps(text)) for text in texts]
            stored = dict(zip((record.id for record in records), keys, strict=True))
            try:
                box.send_records([(name, record) for record in records])
            except SendError as error:
                stored = {id_: stored[id_] for id_ in error.stored}
            self.notes["stored"].write(*stored.values())

    def work(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            with contextlib.suppress(StoreError, AssertionError):
                self.drain(self.box())

    def deliver_some(self) -> None:
        for _ in range(self.random.randint(1, 5)):
            with contextlib.suppress(StoreError):
                self.deliver(self.box())


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a world came to. `broken` has a line for each promise that was not kept."""

    acknowledged: int
    handled: int
    killed: int
    broken: tuple[str, ...]


def run_world(seed: int, servers: Sequence[Server], kind: str) -> Verdict:
    """Run the world of `seed` on these servers, from start to count."""
    drawn = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory, small_index():
        world = _World(seed, servers, kind, drawn, directory)
        killed = world.run()
        return world.judge(killed)


class _World:
    def __init__(self, seed: int, servers: Sequence[Server], kind: str, drawn: random.Random, directory: str) -> None:
        self._seed = seed
        self._servers = servers
        self._kind = kind
        self._drawn = drawn
        self._directory = directory
        self._failure_rate = drawn.choice((0.0, 0.2))

    def run(self) -> int:
        """Let everybody run, some not to the end; return how many were killed."""
        acts = [Process.send_some] * self._drawn.randint(1, 3) + [Process.work] * self._drawn.randint(1, 2)
        acts += [Process.deliver_some] * self._drawn.randint(0, 1)
        children = [self._fork(act, number) for number, act in enumerate(acts)]
        ends = {child: self._drawn.uniform(0, MOST_SECONDS) for child in children if self._drawn.random() < 0.3}
        server_end = self._drawn.uniform(0.02, 0.2) if self._kind in ("killed", "forgetful") else None
        started = time.monotonic()
        killed = 0
        while children:
            passed = time.monotonic() - started
            for child in list(children):
                if ends.get(child, 1e9) < passed:
                    os.kill(child, signal.SIGKILL)
                    ends.pop(child)
                    killed += 1
                if os.waitpid(child, os.WNOHANG)[0]:
                    children.remove(child)
                    ends.pop(child, None)
            if server_end is not None and passed > server_end:
                server_end = None
                self._servers[0].kill()
                self._servers[0].start()
            time.sleep(0.002)
        return killed

    def _fork(self, act: Callable[[Process], None], number: int) -> int:
        child = os.fork()
        if child:
            return child
        try:
            own = random.Random(f"{self._seed} {number}")
            process = self._process(own, time.time)
            act(process)
        finally:
            os._exit(0)

    def _process(self, own: random.Random, clock: object) -> Process:
        store = SlowStore(self._servers[0].url, namespace=f"w{self._seed}", random=own)
        return Process(store, clock, directory=self._directory, failure_rate=self._failure_rate, random=own)  # type: ignore[arg-type]

    def judge(self, killed: int) -> Verdict:
        process = self._process(self._drawn, ManualClock(time.time()))
        process.failure_rate = 0.0
        process.recover()
        broken: list[str] = []
        handled = read(Path(self._directory), "handled")
        stored = read(Path(self._directory), "stored")
        if self._kind == "forgetful":
            later = [f"{name}/later {number}" for name in NAMES for number in range(MANY)]
            process.notes["attempted"].write(*later)
            for key in later:
                process.box().send([(key.split("/")[0], codec.dumps(key))])
            process.recover()
            handled = read(Path(self._directory), "handled")
            broken += [f"lost after the server forgot: {key}" for key in later if not handled[key]]
        else:
            gone = stored.keys() - handled.keys() - set(process.dead())
            broken += [f"lost: {key}" for key in gone if not key.startswith("weak")]
        attempted = read(Path(self._directory), "attempted")
        broken += [f"never sent: {key}" for key in handled.keys() - attempted.keys()]
        broken += [f"weak, {count} times: {key}" for key, count in handled.items() if key[:4] == "weak" and count > 1]
        process.store.close()  # type: ignore[attr-defined]
        return Verdict(len(stored), len(handled), killed, tuple(broken))


@contextlib.contextmanager
def serving(kind: str) -> Iterator[Sequence[Server]]:
    """The servers of a kind of world: they keep each write on disk, unless they are to forget."""
    if kind == "cluster":
        with cluster(*NO_FILES) as nodes:
            yield nodes
    else:
        with Server(*(EACH_WRITE_ON_DISK if kind == "killed" else NO_FILES)) as server:
            yield [server]


def main() -> int:
    """Print a line for each promise that a world breaks, and what all of them came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--on", choices=KINDS, default="server")
    options = parser.parse_args()
    verdicts = []
    with serving(options.on) as servers:
        for seed in range(options.seed, options.seed + options.count):
            verdicts.append(run_world(seed, servers, options.on))
            for line in verdicts[-1].broken:
                print(f"seed {seed}: {line}", flush=True)
    acknowledged = sum(verdict.acknowledged for verdict in verdicts)
    handled = sum(verdict.handled for verdict in verdicts)
    killed = sum(verdict.killed for verdict in verdicts)
    broken = sum(bool(verdict.broken) for verdict in verdicts)
    print(f"{len(verdicts)} worlds: {broken} broken; {acknowledged} sent, {handled} handled, {killed} processes killed")
    return 1 if broken or not acknowledged else 0


if __name__ == "__main__":
    sys.exit(main())
