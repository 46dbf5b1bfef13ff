"""The page of the fleet: which instances there are, what they are at, what was delivered last and what failed last.

Values in, values out. Each list is short, so the page stays small. An entry that cannot be is an error of the whole
page, which then counts as forgotten: it is written anew within a minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gaesignals.data import codec
from gaesignals.errors import DecodeError

from .counts import checked_counts
from .history import MAX_MARKS

VERSION = 1
MAX_INSTANCES: Final = 100
MAX_WORKS: Final = 8
MAX_DELIVERIES: Final = 50
MAX_ERRORS: Final = 128
MAX_NAMES: Final = 3
MAX_TEXT: Final = 300
"""Of a text, in bytes of UTF-8."""
MAX_BYTES: Final = 500_000
FORGET_MS: Final = 3_600_000
"""An instance that nobody has heard of for so long is not listed any more."""

REPORT: Final = ("delivered", "failed", "retried", "dead", "lost", "remaining", "overtaken", "expired")
"""The counts of a delivery's report, in the order in which they are stored."""


@dataclass(frozen=True, slots=True)
class WorkInHand:
    """A delivery that an instance is at: since when, for how many names, of which the last is `name`.

    About `done` of the `claimed` messages have been run so far.
    """

    name: str
    names: int
    since_ms: int
    done: int
    claimed: int

    def to_wire(self) -> list[Any]:
        return [_short(self.name), self.names, self.since_ms, self.done, self.claimed]

    @classmethod
    def from_wire(cls, wire: object) -> WorkInHand:
        match wire:
            case [str(name), *numbers] if len(numbers) == 4 and len(name) <= MAX_TEXT:
                return cls(name, *checked_times(numbers))
        raise DecodeError("not a delivery in hand")


@dataclass(frozen=True, slots=True)
class Instance:
    """A process of the worker: what it is called, when it started, was heard of and stopped (0: it has not).

    `id` is what leases call it, which is empty outside App Engine; `pid` tells processes of one instance apart.
    """

    id: str
    pid: int
    version: str
    started_ms: int
    heard_ms: int
    stopped_ms: int = 0
    works: tuple[WorkInHand, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        return self.id, self.pid

    def to_wire(self) -> list[Any]:
        works = [work.to_wire() for work in self.works[:MAX_WORKS]]
        numbers = [self.pid, self.started_ms, self.heard_ms, self.stopped_ms]
        return [_short(self.id), _short(self.version), numbers, works]

    @classmethod
    def from_wire(cls, wire: object) -> Instance:
        match wire:
            case [str(id_), str(version), [_, _, _, _] as numbers, list(works)] if (
                len(works) <= MAX_WORKS and max(len(id_), len(version)) <= MAX_TEXT
            ):
                pid, started_ms, heard_ms, stopped_ms = checked_times(numbers)
                found = tuple(map(WorkInHand.from_wire, works))
                return cls(id_, pid, version, started_ms, heard_ms, stopped_ms, found)
        raise DecodeError("not an instance")


@dataclass(frozen=True, slots=True)
class PastDelivery:
    """A delivery that has ended: of which instance, for how many names, of which `which` are the first; what for.

    `source` says that, and `by` who asked, where a person did. `counts` are those of its report.
    """

    ended_ms: int
    took_ms: int
    source: str
    instance: str
    names: int
    which: tuple[str, ...] = ()
    by: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)

    def to_wire(self) -> list[Any]:
        counts = [self.counts.get(name, 0) for name in REPORT]
        texts = [_short(text) for text in (self.source, self.instance, self.by, *self.which[:MAX_NAMES])]
        return [[self.ended_ms, self.took_ms, self.names], texts, counts]

    @classmethod
    def from_wire(cls, wire: object) -> PastDelivery:
        match wire:
            case [[_, _, _] as numbers, [str(source), str(instance), str(by), *which], list(counts)] if len(
                which
            ) <= MAX_NAMES and len(counts) == len(REPORT):
                ended_ms, took_ms, names = checked_times(numbers)
                source, instance, by, *first = map(_checked_text, (source, instance, by, *which))
                found = dict(zip(REPORT, checked_counts(counts), strict=True))
                return cls(ended_ms, took_ms, source, instance, names, tuple(first), by, found)
        raise DecodeError("not a delivery")


@dataclass(frozen=True, slots=True)
class LastError:
    """What the last failure of a receiver said, and when that was."""

    at_ms: int
    text: str

    def to_wire(self) -> list[Any]:
        return [self.at_ms, _short(self.text)]

    @classmethod
    def from_wire(cls, wire: object) -> LastError:
        match wire:
            case [at_ms, str(text)] if len(text) <= MAX_TEXT:
                return cls(checked_times([at_ms])[0], text)
        raise DecodeError("not a last error")


@dataclass(frozen=True, slots=True)
class News:
    """What an instance has to tell since it told last: of itself, its deliveries, errors by the label of a receiver."""

    instance: Instance
    deliveries: tuple[PastDelivery, ...] = ()
    errors: Mapping[bytes, LastError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All of it: the newest deliveries first, the last error of each receiver by its label."""

    instances: tuple[Instance, ...] = ()
    deliveries: tuple[PastDelivery, ...] = ()
    errors: Mapping[bytes, LastError] = field(default_factory=dict)
    marks: tuple[int, ...] = ()

    def with_news(self, news: News, mark: int) -> Fleet:
        """This and what an instance tells; whom nobody has heard of for an hour is left out."""
        mine, now_ms = news.instance, news.instance.heard_ms
        others = [each for each in self.instances if each.key != mine.key and now_ms - each.heard_ms < FORGET_MS]
        instances = sorted([mine, *others], key=lambda each: -each.heard_ms)[:MAX_INSTANCES]
        deliveries = sorted([*news.deliveries, *self.deliveries], key=lambda each: -each.ended_ms)[:MAX_DELIVERIES]
        latest = dict(self.errors)
        for label, error in news.errors.items():
            if label not in latest or latest[label].at_ms <= error.at_ms:
                latest[label] = error
        kept = sorted(latest, key=lambda label: -latest[label].at_ms)[:MAX_ERRORS]
        marks = (*self.marks, mark)[-MAX_MARKS:]
        return Fleet(tuple(instances), tuple(deliveries), {label: latest[label] for label in kept}, marks)

    def to_bytes(self) -> bytes:
        errors = [[label, error.to_wire()] for label, error in self.errors.items()]
        instances, deliveries = ([each.to_wire() for each in some] for some in (self.instances, self.deliveries))
        return codec.seal(VERSION, [instances, deliveries, errors, list(self.marks)])

    @classmethod
    def from_bytes(cls, value: bytes) -> Fleet:
        """Read the stored page. Raises `DecodeError` or `NewerFormatError`."""
        if len(value) > MAX_BYTES:
            raise DecodeError("far too large for the page of the fleet")
        match codec.unseal(value, version=VERSION):
            case [list(instances), list(deliveries), list(errors), list(marks)] if (
                len(instances) <= MAX_INSTANCES
                and len(deliveries) <= MAX_DELIVERIES
                and len(errors) <= MAX_ERRORS
                and len(marks) <= MAX_MARKS
            ):
                return cls(
                    tuple(map(Instance.from_wire, instances)),
                    tuple(map(PastDelivery.from_wire, deliveries)),
                    dict(map(_error_from_wire, errors)),
                    tuple(checked_counts(marks)),
                )
        raise DecodeError("not the page of the fleet")


def checked_times(numbers: object) -> list[int]:
    """Times in milliseconds and counts, each one that a date can be made of. Raises `DecodeError`."""
    checked = checked_counts(numbers)
    if max(checked) >= 2**47:
        raise DecodeError("not a time")
    return checked


def _error_from_wire(wire: object) -> tuple[bytes, LastError]:
    match wire:
        case [bytes(label), error] if len(label) <= MAX_TEXT:
            return label, LastError.from_wire(error)
    raise DecodeError("not a last error of a receiver")


def _checked_text(text: object) -> str:
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise DecodeError("not a short text")
    return text


def _short(text: str) -> str:
    """What the page has room for of a text, and CBOR takes: no lone surrogates, and no half of a character."""
    return text[:MAX_TEXT].encode(errors="replace")[:MAX_TEXT].decode(errors="ignore")
