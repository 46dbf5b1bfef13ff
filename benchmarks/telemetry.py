"""What telemetry costs where no SDK is in the process: `python -m benchmarks.telemetry`.

Microseconds of this process's time for a send and a handler call, in memory, without the default observer and with it.
The two take turns and the best round of each counts, since whatever else the machine does only adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gaesignals import deliver
from gaesignals.mailbox.box import Mailbox
from gaesignals.observing import Observer
from gaesignals.telemetry.spans import Telemetry
from gaesignals.testing import MemoryStore

ROUNDS = 40
COUNT = 500


def _sends(observer: Observer) -> Callable[[], None]:
    def run() -> None:
        mailbox = Mailbox(MemoryStore(), observer=observer)
        for _ in range(COUNT):
            mailbox.send([("a", b"\x01")])

    return run


def _handler_calls(observer: Observer) -> Callable[[], Callable[[], None]]:
    """Prepare a delivery of `COUNT` messages in one claim; what is returned runs it."""

    def prepare() -> Callable[[], None]:
        mailbox = Mailbox(MemoryStore(), observer=observer)
        mailbox.send([("a", b"\x01")] * COUNT)
        return lambda: _deliver(mailbox)

    return prepare


def _deliver(mailbox: Mailbox) -> None:
    assert deliver([("a", lambda data: None)], mailbox=mailbox).delivered == COUNT


def _best_us(prepare: list[Callable[[], Callable[[], None]]]) -> list[float]:
    best = [float("inf")] * len(prepare)
    for _ in range(ROUNDS):
        for index, make in enumerate(prepare):
            run = make()
            started = time.process_time()
            run()
            best[index] = min(best[index], (time.process_time() - started) / COUNT * 10**6)
    return best


def table() -> str:
    """Microseconds without and with telemetry."""
    none, telemetry = Observer(), Telemetry()
    lines = [f"{'microseconds':<24}{'without':>10}{'with':>10}{'more':>10}"]
    for what, times in (
        ("a send", _best_us([lambda: _sends(none), lambda: _sends(telemetry)])),
        ("a handler call", _best_us([_handler_calls(none), _handler_calls(telemetry)])),
    ):
        without, with_ = times
        lines.append(f"{what:<24}{without:>10.1f}{with_:>10.1f}{with_ - without:>10.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
