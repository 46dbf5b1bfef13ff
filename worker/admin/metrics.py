"""`GET /metrics`: the counts of the history and what waits now, for whoever scrapes.

They are the fleet's, the same whichever instance is asked, so a scraper must not add up instances. A count begins anew
where memcache forgot it, and its `_created` says since when it counts. What is not known is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import Blueprint
from werkzeug.wrappers import Response

from gaesignals.format.counts import DURATION_BOUNDS, DURATIONS, WAIT_BOUNDS, WAITS, Field, buckets
from gaesignals.format.history import EVERYTHING

from ..access.doors import Door, door
from ..labels import Labels
from .archive import Archive, Counted
from .inspector import MAX_SORTED, Inspector
from .openmetrics import CONTENT_TYPE, Exposition
from .status import NameStatus, Status

_FLEET: Mapping[Field, str] = {
    Field.SENT: "Messages that workers sent",
    Field.REPLACED: "Messages whose place newer ones took that workers sent",
    Field.DELIVERED: "Messages that every receiver is done with",
    Field.FAILED: "Messages that a handler failed with",
    Field.RETRIED: "Messages that are to be run again",
    Field.DEAD: "Messages that became dead letters",
    Field.LOST: "Messages that the store forgot or that could not be read",
    Field.EXPIRED: "Messages that were too old for a receiver",
    Field.OVERTAKEN: "Messages whose lease somebody else took over",
    Field.BROUGHT: "Durable messages that the store forgot and tasks brought back",
}
_OUTCOMES = (Field.DELIVERED, Field.FAILED, Field.RETRIED, Field.DEAD, Field.EXPIRED)
_GAUGES = {
    "waiting": "Fresh messages that wait",
    "leased": "Messages that a reliable delivery holds",
    "retrying": "Messages that are to be run again",
}


@dataclass(frozen=True, slots=True)
class _Histogram:
    name: str
    help: str
    first: int
    bounds: tuple[float, ...]
    total: Field
    a_second: int

    def add(self, out: Exposition, counted: Counted) -> None:
        out.histogram(
            self.name,
            self.bounds,
            buckets(counted.cell, self.first, self.bounds),
            total=counted.cell.get(self.total, 0) / self.a_second,
            created=counted.created,
            labels={"receiver": counted.title},
        )


_HISTOGRAMS = (
    _Histogram(
        "gaesignals_handler_duration_seconds",
        "How long a call of a handler took",
        DURATIONS,
        DURATION_BOUNDS,
        Field.HANDLER_US,
        1_000_000,
    ),
    _Histogram(
        "gaesignals_queue_wait_seconds",
        "How long a message waited for its first attempt",
        WAITS,
        WAIT_BOUNDS,
        Field.WAITED_MS,
        1000,
    ),
)


def blueprint(inspector: Inspector, archive: Archive, labels: Labels) -> Blueprint:
    app = Blueprint("metrics", __name__)

    @app.get("/metrics")
    @door(Door.ADMIN)
    def metrics() -> Response:
        """200 even where memcache does not answer: a scraper keeps nothing of an error, and this tells it."""
        status = inspector.look(size=MAX_SORTED)
        out = Exposition()
        _add_health(out, status)
        if status.health.is_memcache_up:
            _add_gauges(out, status, labels)
            _add_counters(out, archive.ever(), labels)
        return Response(out.text(), content_type=CONTENT_TYPE)

    return app


def _add_health(out: Exposition, status: Status) -> None:
    out.family("gaesignals_memcache_up", "gauge", "Whether the store answers")
    out.sample("gaesignals_memcache_up", int(status.health.is_memcache_up))
    if status.health.last_fan_out_at:
        name = "gaesignals_last_fan_out_timestamp_seconds"
        out.family(name, "gauge", "When a fan-out last came to its end", unit="seconds")
        out.sample(name, status.health.last_fan_out_at.timestamp())


def _add_gauges(out: Exposition, status: Status, labels: Labels) -> None:
    _add_total(out, status, "dead", "gaesignals_dead_letters", "Dead letters")
    _add_total(out, status, "paused", "gaesignals_paused_names", "Names that are paused")
    out.family("gaesignals_instances", "gauge", "Processes of the worker that were heard of in the last three minutes")
    out.sample("gaesignals_instances", len(status.up))
    names = status.mailbox.read
    if status.mailbox.unread or not all(each.is_readable for each in names):
        return  # of some names nobody knows what waits
    _add_total(
        out, status, "unmatched", "gaesignals_unmatched_names", "Names that wait and that no receiver here listens to"
    )
    by_template = _by_template(names, labels)
    for field, help in _GAUGES.items():
        out.family(f"gaesignals_{field}", "gauge", f"{help}, by name or pattern; empty for names nobody listens to")
        for template, statuses in by_template.items():
            out.sample(f"gaesignals_{field}", sum(getattr(each, field) for each in statuses), {"name": template})


def _add_total(out: Exposition, status: Status, total: str, name: str, help: str) -> None:
    count = status.totals[total]
    if count is not None:
        out.family(name, "gauge", help)
        out.sample(name, count)


def _by_template(names: Iterable[NameStatus], labels: Labels) -> dict[str, list[NameStatus]]:
    found: dict[str, list[NameStatus]] = {template: [] for template in ("", *labels.templates)}
    for each in names:
        found[labels.template_of(each.name) or ""].append(each)
    return found


def _add_counters(out: Exposition, ever: Mapping[bytes, Counted], labels: Labels) -> None:
    for field, help in _FLEET.items():
        name = f"gaesignals_{field.name.lower()}"
        if everything := ever.get(EVERYTHING):
            out.family(name, "counter", help)
            out.counter(name, everything.cell.get(field, 0), created=everything.created)
    receivers = [each for label, each in ever.items() if label in labels.receivers]
    names = [each for label, each in ever.items() if label in labels.names]
    _add_outcomes(out, "receiver", receivers, "Messages by receiver and what became of them with it", _OUTCOMES)
    _add_outcomes(
        out,
        "name",
        names,
        "Runs of handlers by name or pattern and what became of them",
        (Field.SENT, Field.REPLACED, *_OUTCOMES),
    )
    for histogram in _HISTOGRAMS:
        out.family(histogram.name, "histogram", histogram.help, unit="seconds")
        for each in receivers:
            histogram.add(out, each)


def _add_outcomes(out: Exposition, kind: str, counted: Iterable[Counted], help: str, outcomes: Iterable[Field]) -> None:
    name = f"gaesignals_{kind}_messages"
    out.family(name, "counter", help)
    outcomes = tuple(outcomes)
    for each in counted:
        for field in outcomes:
            labels = {kind: each.title, "outcome": field.name.lower()}
            out.counter(name, each.cell.get(field, 0), created=each.created, labels=labels)
