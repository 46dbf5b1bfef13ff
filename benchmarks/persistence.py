"""What each way to keep signals on a Valkey or Redis server costs a send: `python -m benchmarks.persistence`.

A sender sends one message at a time to a server that it starts, on this machine and disk. Each line is the median of
five rounds, in turns, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

from gaesignals import Signal
from gaesignals.mailbox.current import open_mailbox, use_mailbox
from gaesignals.stores.valkey import ValkeyStore
from tests.servers import EACH_WRITE_ON_DISK, NO_FILES, Server, wait_until

SENDS, ROUNDS = 300, 5
EACH_SECOND_ON_DISK = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")


def main() -> None:
    """Print a line for each way."""
    with contextlib.ExitStack() as stack:
        replicated = stack.enter_context(Server(*NO_FILES))
        replica = stack.enter_context(Server(*NO_FILES, "--replicaof", "127.0.0.1", str(replicated.port)))
        wait_until(lambda: replica.command("INFO", "replication")["master_link_status"] == "up")
        urls = {
            "no file": stack.enter_context(Server(*NO_FILES)).url,
            "appendfsync everysec": stack.enter_context(Server(*EACH_SECOND_ON_DISK)).url,
            "appendfsync always": stack.enter_context(Server(*EACH_WRITE_ON_DISK)).url,
            "no file, confirmed by a replica": f"{replicated.url}?replicas=1",
        }
        sends = {way: _sender(stack, url) for way, url in urls.items()}
        taken: dict[str, list[float]] = {way: [] for way in sends}
        for _ in range(ROUNDS):
            for way, send in sends.items():
                started = time.perf_counter()
                for _ in range(SENDS):
                    send()
                taken[way].append((time.perf_counter() - started) / SENDS)
        least = statistics.median(taken["no file"])
        for way, seconds in taken.items():
            median = statistics.median(seconds)
            print(f"{way:<34}{median * 1000:>7.2f} ms a send{median / least:>7.1f} times")


def _sender(stack: contextlib.ExitStack, url: str) -> Callable[[], object]:
    mailbox = open_mailbox(store=url)
    assert isinstance(mailbox.store, ValkeyStore)
    stack.callback(mailbox.store.close)
    signal = Signal("order_paid")

    def send() -> None:
        with use_mailbox(mailbox):
            signal.send({"number": 7})

    return send


if __name__ == "__main__":
    main()
