"""What the history says, put together for a look: the same whichever instance is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gaesignals.format.counts import Cell, Field
from gaesignals.format.fleet import Fleet, Instance, PastDelivery
from gaesignals.format.history import EVER, EVERYTHING, SpanKey
from gaesignals.mailbox.history import History
from gaesignals.receivers import Receivers
from gaesignals.report import DeliveryReport

from ..deliveries import Delivery, Source
from ..labels import Labels
from ..past import Past, Series, Window, at, places
from ..recorder import Recorder
from ..statistics import ReceiverStatistics
from .status import AtWork, InstanceStatus, ReceiverStatus

_SOURCES = {source.value: source for source in Source}


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts of the receiver or name `title`, or of everything, since `created` in seconds."""

    title: str
    cell: Cell
    created: float


@dataclass(frozen=True, slots=True)
class Retrospect:
    """What was read: a series of one window, receivers, deliveries and instances.

    `brought` are the durable messages that tasks brought back in the last day, None where that is not known.
    """

    series: Series
    brought: int | None = None
    receivers: tuple[ReceiverStatus, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    instances: tuple[InstanceStatus, ...] = ()


class Archive:
    """Reads the history of all instances, having written what this one has to tell."""

    def __init__(self, history: History, recorder: Recorder, labels: Labels, receivers: Receivers) -> None:
        self._history = history
        self._recorder = recorder
        self._labels = labels
        self._receivers = receivers
        self._last = Past()

    def look(self, now_ms: int, window: Window, label: bytes = EVERYTHING) -> Retrospect:
        """What is remembered of a window, and of the last day of each receiver; a read, and a write of what is new."""
        self._recorder.write_to_look()
        receivers = [self._labels.of(each) for each in self._receivers]
        wanted = places({label: window}, [label, *receivers], now_ms)
        self._last = Past(self._history.read(wanted), now_ms)
        self._recorder.forget_written()
        return self._retrospect(self._last, window, label)

    def nothing(self, now_ms: int, window: Window, label: bytes = EVERYTHING) -> Retrospect:
        """What this instance knows by itself where memcache does not answer, and what it read or wrote last."""
        counted, news = self._recorder.untold()
        last = self._last.remembered.with_later(self._recorder.written)
        remembered = replace(last.with_added(counted, now_ms), fleet=(last.fleet or Fleet()).with_news(news, 0))
        return self._retrospect(Past(remembered, now_ms, whole_until_ms=self._last.now_ms), window, label)

    def label_of(self, name: str) -> bytes | None:
        """What the counts of a name are found by; None for a name that nobody here listens to."""
        return self._labels.of_name(name)

    def ever(self) -> dict[bytes, Counted]:
        """What was counted since memcache began to remember, by label; only what is known."""
        titles = self._labels.titles
        spans = self._history.read([SpanKey.of(EVER, 0, label) for label in titles]).spans
        found = {label: spans.get(SpanKey.of(EVER, 0, label)) for label in titles}
        return {
            label: Counted(titles[label], span.cells.get(label, {}).get(0, {}), span.since_ms / 1000)
            for label, span in found.items()
            if span is not None
        }

    def _retrospect(self, past: Past, window: Window, label: bytes) -> Retrospect:
        return Retrospect(
            past.series(window, label),
            past.day(label).count(Field.BROUGHT),
            tuple(self._receiver_statuses(past)),
            tuple(_deliveries(past.fleet)),
            tuple(sorted(map(_instance_status, past.fleet.instances), key=lambda each: (each.started_at, each.id))),
        )

    def _receiver_statuses(self, past: Past) -> Iterable[ReceiverStatus]:
        for receiver in self._receivers:
            label = self._labels.of(receiver)
            statistics = ReceiverStatistics.of(past.day(label), past.fleet.errors.get(label))
            yield ReceiverStatus(receiver, statistics)


def _deliveries(fleet: Fleet) -> Iterable[Delivery]:
    return [_delivery(each, _SOURCES[each.source]) for each in fleet.deliveries if each.source in _SOURCES]


def _delivery(past: PastDelivery, source: Source) -> Delivery:
    counts: dict[str, Any] = dict(past.counts)
    report = DeliveryReport(**counts)
    return Delivery(
        at(past.ended_ms), past.took_ms / 1000, source, past.names, report, past.instance, past.which, past.by
    )


def _instance_status(instance: Instance) -> InstanceStatus:
    works = tuple(AtWork(work.name, work.names, at(work.since_ms), work.done, work.claimed) for work in instance.works)
    return InstanceStatus(
        instance.id,
        instance.pid,
        instance.version,
        at(instance.started_ms),
        at(instance.heard_ms),
        at(instance.stopped_ms) if instance.stopped_ms else None,
        works,
    )
