"""Counting what this process does: by the minute, by receiver and by name, until it is written to the history.

It is on the way of every message, so it adds to a few numbers and does nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from gaesignals.format.counts import MAX_FIELDS, WAITS, Cell, Field, added, duration_field, wait_field
from gaesignals.format.fleet import LastError
from gaesignals.format.history import EVERYTHING
from gaesignals.observing import HandlerCall, Judged, Observer
from gaesignals.report import DeliveryReport

from .labels import Labels
from .past import REPORTED

# What is counted by receiver alone, and added up for all together.
_SUMMED = {Field.CALLS, Field.HANDLER_US, Field.WAITED_MS, *range(WAITS, MAX_FIELDS)}

Minutes = Mapping[int, Mapping[bytes, Cell]]


class Counting(Observer):
    """Counts for the history. Safe in threads. Holds the counts since they were taken last, and an error a receiver."""

    def __init__(self, labels: Labels, clock: Callable[[], float] = time.time) -> None:
        self._labels = labels
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes: dict[int, dict[bytes, list[int]]] = {}
        self._errors: dict[bytes, LastError] = {}

    @property
    def has_counted(self) -> bool:
        """Whether there is anything to take."""
        return bool(self._minutes)

    def untold(self) -> tuple[Minutes, Mapping[bytes, LastError]]:
        """What there is to take, which stays."""
        with self._lock:
            return _minutes(self._minutes, self._labels), dict(self._errors)

    def take(self) -> tuple[Minutes, Mapping[bytes, LastError]]:
        """What was counted since the last call: cells by minute (since 1970) and label, and the last errors."""
        with self._lock:
            minutes, self._minutes = self._minutes, {}
            errors, self._errors = self._errors, {}
        return _minutes(minutes, self._labels), errors

    def sent(self, names: Sequence[str]) -> None:
        self._add_all(names, Field.SENT)

    def replaced(self, names: Sequence[str]) -> None:
        self._add_all(names, Field.REPLACED)

    def brought(self, names: Sequence[str]) -> None:
        self._add_all(names, Field.BROUGHT)

    def handled(self, call: HandlerCall) -> None:
        counted = _counted(call)
        with self._lock:
            label = self._labels.of_receiver(call.receiver, call.name)
            for row in filter(None, (self._row(label), self._row_of_name(call.name))):
                for field, count in counted:
                    row[field] += count
            if call.error:
                self._errors[label] = LastError(int(self._clock() * 1000), call.error)

    def judged(self, judged: Judged) -> None:
        counted = ((Field.RETRIED, judged.retried), (Field.DEAD, judged.dead), (Field.EXPIRED, judged.expired))
        with self._lock:
            for field, receivers in counted:
                for receiver in receivers:
                    self._row(self._labels.of_receiver(receiver, judged.name))[field] += 1
                self._add_to_name(judged.name, field, len(receivers))

    def delivered(self, report: DeliveryReport) -> None:
        with self._lock:
            row = self._row(EVERYTHING)
            for field in REPORTED:
                row[field] += getattr(report, field.name.lower())

    def sampled(self, waiting: Mapping[str, tuple[int, int]]) -> None:
        """Somebody has looked how many messages of each name wait, and how many are to be retried.

        Names that are not in `waiting` have none.
        """
        with self._lock:
            for label in (EVERYTHING, *self._labels.names):
                self._row(label)[Field.SAMPLES] += 1
            for name, (fresh, retrying) in waiting.items():
                for row in filter(None, (self._row(EVERYTHING), self._row_of_name(name))):
                    row[Field.WAITING] += fresh
                    row[Field.RETRYING] += retrying

    def _add_all(self, names: Sequence[str], field: Field) -> None:
        with self._lock:
            self._row(EVERYTHING)[field] += len(names)
            for name in names:
                self._add_to_name(name, field, 1)

    def _add_to_name(self, name: str, field: Field, count: int) -> None:
        row = self._row_of_name(name) if count else None
        if row is not None:
            row[field] += count

    def _row_of_name(self, name: str) -> list[int] | None:
        label = self._labels.of_name(name)
        return None if label is None else self._row(label)

    def _row(self, label: bytes) -> list[int]:
        rows = self._minutes.setdefault(int(self._clock()) // 60, {})
        row = rows.get(label)
        if row is None:
            row = rows[label] = [0] * MAX_FIELDS
        return row


def _counted(call: HandlerCall) -> list[tuple[int, int]]:
    """The fields that a call adds to; its messages' waits where it was their first attempt."""
    counted: list[tuple[int, int]] = [
        (Field.DELIVERED, call.count - call.failed),
        (Field.FAILED, call.failed),
        (Field.CALLS, 1),
        (Field.HANDLER_US, round(call.seconds * 1_000_000)),
        (duration_field(call.seconds), 1),
    ]
    handling = call.handling
    if handling is None or not call.count:
        return counted
    pairs = zip(handling.messages, handling.waited_seconds, strict=False)
    waits = [seconds for message, seconds in pairs if message.attempt == 1]
    if waits:
        counted.append((Field.WAITED_MS, round(sum(waits) * 1000)))
        counted += Counter(map(wait_field, waits)).items()
    return counted


def _minutes(minutes: Mapping[int, Mapping[bytes, Sequence[int]]], labels: Labels) -> Minutes:
    return {minute: _cells(rows, labels) for minute, rows in minutes.items()}


def _cells(rows: Mapping[bytes, Sequence[int]], labels: Labels) -> Mapping[bytes, Cell]:
    cells: dict[bytes, Cell] = {
        label: {field: count for field, count in enumerate(row) if count} for label, row in rows.items()
    }
    summed = [
        {field: count for field, count in cell.items() if field in _SUMMED}
        for label, cell in cells.items()
        if label in labels.receivers
    ]
    cells[EVERYTHING] = added([cells.get(EVERYTHING, {}), *summed])
    return cells
