"""What the library computes for a message that passes: `python -m benchmarks.cpu`.

It is the time of this process alone, against the in-memory store, in units of one CBOR round trip of a page of eight
messages, so that it is about the same on every machine. All take turns, and the least of many slices counts: whatever
else the machine does only adds.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import time
from collections.abc import Callable, Iterator

import cbor2
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from gaesignals import Receivers, Signal, deliver
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.mailbox.known import Known
from gaesignals.observing import Observer
from gaesignals.telemetry.spans import Telemetry
from gaesignals.testing import MemoryStore

ROUND_TRIPS = 300
# Two pages: sealing has its share, and a slice is short.
SENDS = 32
MESSAGES = 30 * SENDS
BATCH = 100
PAGE_VIEWED = Signal("page_viewed")
DATA = {"path": "/"}
PAGE_OF_EIGHT = {
    "e": "f3d3b03520f0040faf33f53c",
    "f": 0,
    "n": 0,
    "m": [[f"{number:024x}", 1_700_000_000_000_000 + number, cbor2.dumps(DATA)] for number in range(8)],
}
SEND, MESSAGE, IN_BATCHES = "a send", "a message", f"a message, in batches of {BATCH}"
FIRST = "a send that knows nothing"
"""As the first of a process, or one whose page and slot others have written since: it decodes them."""
OPERATIONS = (SEND, FIRST, MESSAGE, IN_BATCHES)


def _limits() -> dict[str, float]:
    """In units, with OpenTelemetry off."""
    most = (12.0, 2.2, 1.0) if sys.version_info < (3, 11) else (10.0, 1.8, 0.8)
    return dict(zip((SEND, MESSAGE, IN_BATCHES), most, strict=True))


def _round_trips() -> None:
    for _ in range(ROUND_TRIPS):
        cbor2.loads(cbor2.dumps(PAGE_OF_EIGHT))


def _send() -> None:
    for _ in range(SENDS):
        PAGE_VIEWED.send(DATA)


def _send_first(mailbox: Mailbox) -> None:
    for _ in range(SENDS):
        mailbox.known = Known()
        PAGE_VIEWED.send(DATA)


def _deliver(receivers: Receivers) -> None:
    done = 0
    while done < MESSAGES:
        done += deliver(receivers).delivered


def _seconds(run: Callable[[], None], count: int) -> float:
    started = time.process_time()
    run()
    return (time.process_time() - started) / count


def _slice(observer: Observer, *, reliable: bool, batch: int | None) -> Iterator[tuple[str, float]]:
    """Send and deliver once around."""
    receivers = Receivers()
    receivers.connect(PAGE_VIEWED, lambda _: None, reliable=reliable, batch=batch, id="page_viewed")
    with use_mailbox(Mailbox(MemoryStore(), observer=observer)) as mailbox:
        for _ in range(MESSAGES // SENDS // 2):
            yield SEND, _seconds(_send, SENDS)
            yield FIRST, _seconds(lambda: _send_first(mailbox), SENDS)
        yield MESSAGE if batch is None else IN_BATCHES, _seconds(lambda: _deliver(receivers), MESSAGES)


def measure(slices: int) -> tuple[float, dict[tuple[str, bool, str], float]]:
    """The seconds of a unit; and those of each operation, by its name, whether telemetry is on, and the mode."""
    # Spans and numbers are made, and go nowhere.
    on = Telemetry(tracer_provider=TracerProvider(), meter_provider=MeterProvider())
    unit = float("inf")
    least: dict[tuple[str, bool, str], float] = {}
    ways = itertools.product(((False, Telemetry()), (True, on)), (False, True), (None, BATCH))
    gc.disable()
    for _, ((is_on, observer), reliable, batch) in itertools.product(range(slices), list(ways)):
        gc.collect()
        unit = min(unit, _seconds(_round_trips, ROUND_TRIPS))
        for what, seconds in _slice(observer, reliable=reliable, batch=batch):
            mode = "" if what in (SEND, FIRST) else "reliable" if reliable else "weak"
            key = what, is_on, mode
            least[key] = min(seconds, least.get(key, seconds))
    gc.enable()
    return unit, least


def table(slices: int) -> str:
    """What was measured, in microseconds and in units, and how many units it may be."""
    unit, least = measure(slices)
    limits = _limits()
    lines = [
        f"a CBOR round trip of a page of eight: {unit * 10**6:.1f} microseconds",
        "",
        f"{'operation':<34}{'mode':<10}{'OpenTelemetry':<15}{'microseconds':>12}{'units':>8}{'at most':>9}",
    ]
    for (what, is_on, mode), seconds in sorted(
        least.items(), key=lambda item: (item[0][1], OPERATIONS.index(item[0][0]))
    ):
        most = f"{limits[what]:g}" if what in limits and not is_on else ""
        switch = "on" if is_on else "off"
        lines.append(f"{what:<34}{mode:<10}{switch:<15}{seconds * 10**6:>12.1f}{seconds / unit:>8.2f}{most:>9}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=15)
    print(table(parser.parse_args().slices))
