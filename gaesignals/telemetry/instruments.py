"""The metrics: what is counted and timed, under which names and units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final, TypeAlias

from opentelemetry.metrics import Meter

Labels: TypeAlias = Mapping[str, str | int | float]

_DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 150)
# From one delivery before the next request to a message's longest wait, seven days.
_WAIT_BUCKETS: Final = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 21_600, 86_400, 604_800)


class Instruments:
    """OpenTelemetry instruments of one meter."""

    COUNTS: ClassVar[Mapping[str, str]] = {
        "delivered": "Messages that every receiver is done with",
        "failed": "Messages that a handler failed with",
        "retried": "Messages that are to be run again",
        "dead": "Messages that became dead letters",
        "lost": "Messages that the store forgot or that could not be read",
        "expired": "Messages that were too old for a receiver",
        "overtaken": "Messages whose lease somebody else took over",
    }
    """The counts of a `DeliveryReport` that are metrics of their own, as gaesignals.NAME."""

    def __init__(self, meter: Meter) -> None:
        message = "{message}"
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", message, "Messages sent, or not sent for an error"
        )
        self._replaced = meter.create_counter(
            "gaesignals.replaced", message, "Messages whose place a newer one of their name took"
        )
        self._handled = meter.create_counter("gaesignals.handled", message, "Messages that a receiver was run for")
        self._reports = {
            name: meter.create_counter(f"gaesignals.{name}", message, description)
            for name, description in self.COUNTS.items()
        }
        self._calls = meter.create_counter("gaesignals.memcache.calls", "{call}", "Calls to the store")
        self._durations = meter.create_histogram(
            "messaging.process.duration",
            "s",
            "How long a call of a handler took",
            explicit_bucket_boundaries_advisory=_DURATION_BUCKETS,
        )
        self._waits = meter.create_histogram(
            "gaesignals.queue.wait",
            "s",
            "How long a message waited, from its sending to its first attempt",
            explicit_bucket_boundaries_advisory=_WAIT_BUCKETS,
        )

    def count_sent(self, count: int, labels: Labels) -> None:
        if count:
            self._sent.add(count, labels)

    def count_replaced(self, count: int) -> None:
        self._replaced.add(count)

    def count_handled(self, done: int, failed: int, labels: Labels) -> None:
        for outcome, count in (("done", done), ("failed", failed)):
            if count:
                self._handled.add(count, {**labels, "messaging.gaesignals.outcome": outcome})

    def count_report(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            if count:
                self._reports[name].add(count)

    def count_call(self, verb: str) -> None:
        self._calls.add(1, {"gaesignals.memcache.verb": verb})

    def record_call(self, seconds: float, labels: Labels) -> None:
        self._durations.record(seconds, labels)

    def record_waits(self, waits: Iterable[float], labels: Labels) -> None:
        for seconds in waits:
            self._waits.record(seconds, labels)
