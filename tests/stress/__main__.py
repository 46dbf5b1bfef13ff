"""Real processes under load, some of them killed: `python -m tests.stress --seconds 60`.

The local cloud, several senders and the worker run; SIGKILL hits random ones, cron overlaps with manual drains, tasks
arrive twice and out of order. Then everything is drained and counted in the manner of Jepsen's total-queue checker:
what went in has to come out.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers import EACH_WRITE_ON_DISK, Server, cluster

from .cloud import WORKER, LocalCloud
from .records import read

NAMES = ["hot", "batched", "weak", *(f"user_{number}_changed" for number in range(50))]
# Short, so that what a killed worker held is taken over within the run, and nothing is left after the quiet time.
LEASE_SECONDS = 5
QUIET_SECONDS = 20.0
WORKERS = 3
MAX_POSTS = 6
DEADLINE_SECONDS = 300.0
MEMCACHE, SERVER, CLUSTER = STORES = ("memcache", "server", "cluster")


@dataclass(frozen=True)
class Verdict:
    """What a run came to; `lost`, `phantom` and `weak_repeated` have to be none."""

    attempted: int
    acknowledged: int
    handled: int
    repeated: int
    unsure: int
    lost: int
    phantom: int
    weak_repeated: int
    weak_lost: int
    kills: int

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.phantom or self.weak_repeated)

    def table(self) -> str:
        rows = {
            "attempted": self.attempted,
            "acknowledged": self.acknowledged,
            "handled at least once": self.handled,
            "unsure (sent, never acknowledged)": self.unsure,
            "processes killed": self.kills,
            "reliable, handled more than once": self.repeated,
            "weak, lost with a killed process": self.weak_lost,
            "reliable and LOST": self.lost,
            "PHANTOM (handled, never sent)": self.phantom,
            "weak and REPEATED": self.weak_repeated,
        }
        return "\n".join(f"{label:<36}{count:>8}" for label, count in rows.items())


class Run:
    """The processes of one run."""

    def __init__(self, directory: Path, senders: int, servers: Sequence[Server]) -> None:
        self.kills = 0
        self._servers = servers
        self._posts: list[threading.Thread] = []
        self._cloud = LocalCloud(
            directory,
            SIGNALS_LEASE_SECONDS=str(LEASE_SECONDS),
            # As with several instances: by itself, the local cloud has one process a service.
            GUNICORN_CMD_ARGS=f"--workers={WORKERS}",
            SIGNALS_STORE=servers[0].url if servers else "memcache",
        )
        self._senders = [self._start_sender() for _ in range(senders)]

    def _start_sender(self) -> subprocess.Popen[str]:
        return self._cloud.start("-m", "tests.stress.sender", str(self._cloud.port("App Engine")))

    def disturb(self) -> None:
        """Do one of the things that must not matter."""
        acts = [self._kill_sender, self._kill_worker, self._drain, self._repeat_tasks]
        random.choice(acts + [self._kill_server] * bool(self._servers))()

    def _kill_sender(self) -> None:
        sender = self._senders.pop(random.randrange(len(self._senders)))
        sender.kill()
        sender.wait()
        self.kills += 1
        self._senders.append(self._start_sender())

    def _kill_worker(self) -> None:
        self.kills += self._cloud.kill(WORKER, random.choice)

    def _kill_server(self) -> None:
        """Kill the store, or one node of it. It comes back with all that it had answered for: that is on its disk."""
        server = random.choice(self._servers)
        server.kill()
        time.sleep(random.uniform(0, 2))
        server.start()
        self.kills += 1

    def _drain(self) -> None:
        self._post_meanwhile("/admin/drain", {"wait": random.random() < 0.5})

    def _repeat_tasks(self) -> None:
        """Tasks that Cloud Tasks never sent, twice at the same time and in any order."""
        names = random.sample(NAMES, 10)
        for _ in range(2):
            self._post_meanwhile("/tasks/deliver", {"names": names})

    def _post_meanwhile(self, path: str, body: object) -> None:
        """Post without waiting for the answer, which may take a minute: the next process is killed while it runs."""
        self._posts = [thread for thread in self._posts if thread.is_alive()]
        if len(self._posts) < MAX_POSTS:
            thread = threading.Thread(target=self._cloud.post, args=(path, body), daemon=True)
            thread.start()
            self._posts.append(thread)

    def stop_senders(self) -> None:
        for sender in self._senders:
            sender.kill()
            sender.wait()

    def drain_all(self) -> None:
        """Drain until nothing has been left for longer than a lease and its grace."""
        started = quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < QUIET_SECONDS:
            if time.monotonic() - started > DEADLINE_SECONDS:
                raise SystemExit(f"the mailboxes do not become empty: {self._cloud.status()}")
            self._cloud.post("/admin/drain", {"wait": True})
            totals = self._cloud.status()
            if totals is None or totals["waiting"] or totals["leased"] or totals["retrying"]:
                quiet_since = time.monotonic()
            time.sleep(0.5)

    def stop(self) -> None:
        self._cloud.stop()


def judge(directory: Path, kills: int) -> Verdict:
    """Compare what was sent with what was handled."""
    attempted, acknowledged = read(directory, "attempted"), read(directory, "acknowledged")
    handled = read(directory, "handled")
    missing = acknowledged.keys() - handled.keys()
    repeated = {key for key, count in handled.items() if count > 1}
    return Verdict(
        attempted=len(attempted),
        acknowledged=len(acknowledged),
        handled=len(handled),
        repeated=len([key for key in repeated if not key.startswith("weak")]),
        unsure=len(attempted.keys() - acknowledged.keys()),
        lost=len([key for key in missing if not key.startswith("weak")]),
        phantom=len(handled.keys() - attempted.keys()),
        weak_repeated=len([key for key in repeated if key.startswith("weak")]),
        weak_lost=len([key for key in missing if key.startswith("weak")]),
        kills=kills,
    )


@contextlib.contextmanager
def _serving(store: str) -> Iterator[Sequence[Server]]:
    """The servers of the store that is named; there are none of memcache, which the local cloud has."""
    if store == MEMCACHE:
        yield ()
    elif store == CLUSTER:
        with cluster(*EACH_WRITE_ON_DISK) as nodes:
            yield nodes
    else:
        with Server(*EACH_WRITE_ON_DISK) as server:
            yield [server]


@contextlib.contextmanager
def _running(directory: Path, senders: int, servers: Sequence[Server]) -> Iterator[Run]:
    run = Run(directory, senders, servers)
    try:
        yield run
    finally:
        run.stop_senders()
        run.stop()


def stress(*, seconds: float, senders: int, store: str = MEMCACHE) -> Verdict:
    """Run for about `seconds`, drain, and compare."""
    with tempfile.TemporaryDirectory() as name, _serving(store) as servers:
        directory = Path(name)
        with _running(directory, senders, servers) as run:
            ends_at = time.monotonic() + seconds
            while time.monotonic() < ends_at:
                time.sleep(random.uniform(0.1, 1.0))
                run.disturb()
            run.stop_senders()
            run.drain_all()
            return judge(directory, run.kills)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--store", choices=STORES, default=MEMCACHE, help="a server or a Cluster is killed, too")
    options = parser.parse_args()
    verdict = stress(seconds=options.seconds, senders=options.senders, store=options.store)
    print(verdict.table())
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
