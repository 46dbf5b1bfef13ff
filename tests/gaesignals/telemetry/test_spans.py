"""Traces join from send to handler, metrics are exact, and neither can cost a message.

With the OpenTelemetry SDK's in-memory exporters.
"""

from __future__ import annotations

import logging
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from gaesignals import (
    Drop,
    Message,
    Receivers,
    Retry,
    SendError,
    Signal,
    current_message,
    deliver,
    send_many,
)
from gaesignals.format.entries import Record
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.observing import Observer
from gaesignals.telemetry.spans import Telemetry
from gaesignals.testing import Call, ManualClock, MemoryStore

PASSWORD_CHANGED = Signal("user_{user_id}_password_change")


class Watch:
    """What was exported: spans by name, and each metric as its points."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.telemetry = Telemetry(
            tracer_provider=self.provider, meter_provider=MeterProvider(metric_readers=[self.reader])
        )

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        (found,) = self.spans(name)
        return found

    def metrics(self) -> dict[str, list[tuple[dict[str, object], object]]]:
        """The points of each metric: attributes, and a counter's value or a histogram's count and sum."""
        data = self.reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, object], object]]] = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
            for point in metric.data.data_points:
                value = point.value if hasattr(point, "value") else (point.count, point.sum)
                found.setdefault(metric.name, []).append((dict(point.attributes), value))
        return found

    def values(self, name: str) -> list[object]:
        return [value for _, value in self.metrics().get(name, [])]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture(autouse=True)
def box(store: MemoryStore, clock: ManualClock, watch: Watch) -> Iterator[Mailbox]:
    made = Mailbox(store, clock=clock, random=random.Random(7), sleep=lambda _: None, observer=watch.telemetry)
    with use_mailbox(made):
        yield made


def fail(data: object) -> None:
    raise ValueError("no")


def ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def ids_of(context: trace.SpanContext) -> tuple[int, int]:
    return context.trace_id, context.span_id


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


# Traces


@pytest.mark.parametrize("reliable", [False, True])
def test_a_handler_is_a_child_of_the_span_it_was_sent_in(watch: Watch, reliable: bool) -> None:
    receivers = Receivers()
    receivers.connect("order_paid", lambda data: None, reliable=reliable, id="charge")
    id_ = Signal("order_paid").send({"order": 1})
    deliver(receivers)
    sent, handled = watch.span("send"), watch.span("process order_paid")
    assert (sent.kind, handled.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert ids(handled)[0] == ids(sent)[0]
    assert handled.parent is not None
    assert handled.parent.span_id == ids(sent)[1]
    assert links(handled) == [ids(sent), ids(watch.span("deliver"))]
    assert dict(handled.attributes or {}) == {
        "messaging.system": "gaesignals",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.template": "order_paid",
        "messaging.destination.subscription.name": "charge",
        "messaging.gaesignals.mode": "reliable" if reliable else "weak",
        "messaging.message.id": id_,
        "messaging.gaesignals.attempt": 1,
        "messaging.gaesignals.outcome": "done",
    }


def test_a_batch_is_one_span_in_its_delivery_with_a_link_to_each_send(watch: Watch) -> None:
    receivers = Receivers()
    receivers.connect("page_viewed", lambda messages: None, batch=10, id="count")
    sent_ids = [Signal("page_viewed").send(number) for number in range(3)]
    deliver(receivers)
    handled = watch.span("process page_viewed")
    assert links(handled) == [ids(span) for span in watch.spans("send")]
    assert [(link.attributes or {})["messaging.message.id"] for link in handled.links] == sent_ids
    assert handled.parent is not None
    assert handled.parent.span_id == ids(watch.span("deliver"))[1]
    assert (handled.attributes or {})["messaging.batch.message_count"] == 3


def test_what_a_handler_does_is_in_its_span(watch: Watch) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda data: Signal("b").send(), id="forward")
    Signal("a").send()
    deliver(receivers)
    first, second = watch.spans("send")
    assert second.parent is not None
    assert second.parent.span_id == ids(watch.span("process a"))[1]
    assert ids(second)[0] == ids(first)[0]
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_what_becomes_of_a_message_is_logged_in_its_span(
    watch: Watch, caplog: pytest.LogCaptureFixture, is_coroutine: bool
) -> None:
    class Filter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            logged.append((record.getMessage(), ids_of(trace.get_current_span().get_span_context())))
            return True

    raised: dict[str, Exception] = {"failed": ValueError("no"), "retry": Retry(), "drop": Drop()}

    def handle(data: str) -> None:
        if data == "mark":
            current_message().fail("no")
        else:
            raise raised[data]

    async def handle_soon(data: str) -> None:
        handle(data)

    caplog.set_level(logging.INFO, logger="gaesignals")
    logged: list[tuple[str, tuple[int, int]]] = []
    receivers = Receivers()
    receivers.connect("a", handle_soon if is_coroutine else handle, reliable=True)
    logger, keep = logging.getLogger("gaesignals"), Filter()
    logger.addFilter(keep)
    try:
        for data in (*raised, "mark"):
            Signal("a").send(data)
        deliver(receivers)
    finally:
        logger.removeFilter(keep)
    assert sorted(where for _, where in logged) == sorted(ids(span) for span in watch.spans("process a"))
    assert {line for line, _ in logged} == {
        "a handler failed",
        "a handler asked for a retry",
        "a handler dropped messages",
        "a handler marked a message as failed",
    }


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_baggage_travels_with_a_message_and_from_none_to_another(watch: Watch, is_coroutine: bool) -> None:
    seen: list[dict[str, object]] = []

    def handle(data: object) -> None:
        seen.append(dict(baggage.get_all()))
        otel_context.attach(baggage.set_baggage("left", "behind"))

    async def handle_soon(data: object) -> None:
        handle(data)

    token = otel_context.attach(baggage.set_baggage("tenant", "acme, inc & söhne"))
    Signal("a").send(1)
    otel_context.detach(token)
    Signal("a").send(2)
    deliver([("a", handle_soon if is_coroutine else handle)])
    assert seen == [{"tenant": "acme, inc & söhne"}, {}]
    assert not baggage.get_all()
    assert len({ids(span)[0] for span in watch.spans("process")}) == 2


def test_baggage_that_is_too_long_stays_behind_and_the_trace_does_not(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    token = otel_context.attach(baggage.set_baggage("tenant", "x" * 1000))
    Signal("a").send()
    otel_context.detach(token)
    seen: list[object] = []
    deliver([("a", lambda data: seen.append(baggage.get_all()))])
    assert seen == [{}]
    assert ids(watch.span("process"))[0] == ids(watch.span("send"))[0]
    assert "baggage is too long to travel with a message" in caplog.messages


def test_of_a_large_batch_it_is_said_how_many_sends_are_not_linked(watch: Watch) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: None, batch=200)
    for number in range(150):
        Signal("a").send(number)
    deliver(receivers)
    handled = watch.span("process a")
    assert len(handled.links) == 128
    assert (handled.attributes or {})["messaging.gaesignals.unlinked"] == 22


def test_a_message_that_is_marked_to_be_run_again_is_an_event(watch: Watch) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: messages[0].retry(60, "busy"), batch=10, reliable=True)
    id_ = Signal("a").send()
    deliver(receivers)
    (event,) = watch.span("process a").events
    assert (event.name, dict(event.attributes or {})) == (
        "retry",
        {
            "messaging.gaesignals.reason": "busy",
            "messaging.gaesignals.after_seconds": 60,
            "messaging.message.id": id_,
            "messaging.gaesignals.attempt": 1,
        },
    )


def test_many_messages_of_one_call_share_one_span(watch: Watch) -> None:
    send_many([("a", 1), ("b", 2)])
    deliver([("a", len_of), ("b", len_of)])
    sent = watch.span("send")
    assert (sent.attributes or {})["messaging.batch.message_count"] == 2
    assert {ids(span)[0] for span in watch.spans("process")} == {ids(sent)[0]}


def len_of(data: object) -> int:
    return 0


def test_a_failure_is_recorded_and_its_retry_stays_in_the_trace(watch: Watch, clock: ManualClock) -> None:
    receivers = Receivers()
    receivers.connect("a", fail, reliable=True)
    Signal("a").send()
    deliver(receivers)
    clock.advance(3600)
    deliver(receivers)
    first, second = watch.spans("process a")
    assert [(span.attributes or {})["messaging.gaesignals.attempt"] for span in (first, second)] == [1, 2]
    assert ids(first)[0] == ids(second)[0] == ids(watch.span("send"))[0]
    for span in (first, second):
        assert span.status.status_code is StatusCode.ERROR
        assert [event.name for event in span.events] == ["exception"]
        assert (span.attributes or {})["error.type"] == "ValueError"
        assert (span.attributes or {})["messaging.gaesignals.outcome"] == "failed"


@pytest.mark.parametrize(
    ("error", "event", "outcome"), [(Retry(60, "later"), "retry", "retry"), (Drop("stale"), "drop", "dropped")]
)
def test_a_retry_and_a_drop_are_events_and_no_errors(watch: Watch, error: Exception, event: str, outcome: str) -> None:
    def handle(data: object) -> None:
        raise error

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True)
    Signal("a").send()
    deliver(receivers)
    span = watch.span("process a")
    assert [found.name for found in span.events] == [event]
    assert (span.attributes or {})["messaging.gaesignals.outcome"] == outcome
    assert span.status.status_code is StatusCode.UNSET


def test_messages_that_a_batch_marks_are_events(watch: Watch) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: messages[1].fail("bad row"), batch=10, reliable=True)
    sent_ids = send_many([("a", number) for number in range(3)])
    deliver(receivers)
    span = watch.span("process a")
    assert [(event.attributes or {})["messaging.message.id"] for event in span.events] == [sent_ids[1]]
    assert (span.attributes or {})["messaging.gaesignals.failed"] == 1
    assert span.status.status_code is StatusCode.ERROR


def test_a_send_that_fails_says_so(watch: Watch, store: MemoryStore) -> None:
    store.before = lambda call: call.keys
    with pytest.raises(SendError):
        Signal("a").send()
    span = watch.span("send")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "gaesignals.errors.SendError"
    ((labels, count),) = watch.metrics()["messaging.client.sent.messages"]
    assert (labels["error.type"], count) == ("gaesignals.errors.SendError", 1)


def test_messages_that_newer_ones_replace_are_counted(watch: Watch, store: MemoryStore) -> None:
    for _ in range(3):
        Signal("a", latest=True).send()
    assert watch.metrics()["gaesignals.replaced"] == [({}, 2)]


def test_a_delivery_says_what_it_came_to_and_how_many_calls_it_made(watch: Watch, store: MemoryStore) -> None:
    Signal("a").send()
    assert (watch.span("send").attributes or {})["messaging.gaesignals.memcache_calls"] == len(store.calls) == 2
    deliver([("a", fail), ("a", len_of)])
    attributes = dict(watch.span("deliver").attributes or {})
    assert attributes["messaging.gaesignals.failed"] == 1
    assert attributes["messaging.gaesignals.memcache_calls"] == 2


def test_the_context_is_the_only_thing_a_message_grows_by(store: MemoryStore, clock: ManualClock) -> None:
    def sent_bytes(observer: Observer) -> int:
        store.flush()
        store.calls.clear()
        Mailbox(store, clock=clock, random=random.Random(7), observer=observer).send([("a", b"x")])
        return sum(call.sent_bytes for call in store.calls)

    without = sent_bytes(Observer())
    assert sent_bytes(Telemetry()) == without
    assert without < sent_bytes(Watch().telemetry) <= without + 70


def test_what_is_not_sampled_is_not_sampled_at_the_handler(store: MemoryStore, watch: Watch) -> None:
    unsampled = Telemetry(tracer_provider=TracerProvider(sampler=ALWAYS_OFF))
    with use_mailbox(Mailbox(store, observer=unsampled)):
        Signal("a").send()
    seen: list[Message] = []
    deliver([("a", lambda data: seen.append(current_message()))])
    assert not int(seen[0].context[-2:], 16) & 1
    assert watch.spans("process") == []


@pytest.mark.parametrize("context", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 5000, "字"])
def test_a_message_whose_context_says_nothing_is_handled(watch: Watch, box: Mailbox, context: str) -> None:
    box.send_records([("a", Record("1", 1, b"\xf6", context=context))])
    assert deliver([("a", len_of)]).delivered == 1
    assert watch.span("process").parent is not None


def test_a_record_keeps_its_context_on_every_attempt() -> None:
    record = Record("1", 1, b"x", context="00-ab")
    assert Record.from_wire(record.to_wire()) == record
    assert record.charged(receivers=("r",), not_before_ms=5, error="no").context == "00-ab"
    assert replace(record, context="").to_wire() == ["1", 1, b"x"]
    assert record.size >= replace(record, context="").size + len("00-ab")


# Names


def test_names_made_at_run_time_are_in_no_span_and_no_metric(watch: Watch) -> None:
    receivers = Receivers()
    receivers.connect(PASSWORD_CHANGED, lambda data, *, user_id: None, id="mail")
    name = "user_54274_password_change"
    PASSWORD_CHANGED(user_id=54274).send()
    Signal(name).send()
    send_many([(name, 1), (PASSWORD_CHANGED(user_id=54274), 2)])
    send_many([(PASSWORD_CHANGED(user_id=54274), 2), (PASSWORD_CHANGED(user_id=54275), 2)])
    deliver(receivers, names=[name, "user_54275_password_change"])
    Signal(name)().send()
    deliver([(name, len_of)])
    spans = watch.exporter.get_finished_spans()
    assert {span.name for span in spans} == {
        "send",
        "send user_{user_id}_password_change",
        "process",
        "process user_{user_id}_password_change",
        "deliver",
    }
    assert len(watch.spans("send user_{user_id}_password_change")) == 2
    assert not [text for span in spans for text in texts(span) if "user_5427" in text]
    assert "user_5427" not in str(watch.metrics())


def texts(span: ReadableSpan) -> list[str]:
    """Everything that an exporter is told of a span."""
    return [span.to_json(), str(span.attributes), str(span.events), str([link.attributes for link in span.links])]


# Metrics


def test_metrics_are_exact(watch: Watch, clock: ManualClock) -> None:
    def handle(data: object) -> None:
        clock.advance(2)
        if data == "bad":
            raise ValueError

    receivers = Receivers()
    receivers.connect("a", handle, reliable=True, id="r", max_attempts=2)
    send_many([("a", "good"), ("a", "bad")])
    clock.advance(10)
    deliver(receivers)
    clock.advance(3600)
    deliver(receivers)
    found = watch.metrics()
    system = {"messaging.system": "gaesignals"}
    receiver = {
        "messaging.destination.subscription.name": "r",
        "messaging.gaesignals.mode": "reliable",
        "messaging.destination.template": "a",
    }
    assert found["messaging.client.sent.messages"] == [(system | {"messaging.operation.name": "send"}, 2)]
    counts = {name: watch.values(f"gaesignals.{name}") for name in ("delivered", "failed", "retried", "dead", "lost")}
    assert counts == {"delivered": [1], "failed": [2], "retried": [1], "dead": [1], "lost": []}
    assert found["gaesignals.handled"] == [
        (receiver | {"messaging.gaesignals.outcome": "done"}, 1),
        (receiver | {"messaging.gaesignals.outcome": "failed"}, 2),
    ]
    process = system | {"messaging.operation.name": "process"} | receiver
    assert found["messaging.process.duration"] == [
        (process, (1, 2.0)),
        (process | {"error.type": "ValueError"}, (2, 4.0)),
    ]
    # The second attempt's wait is the backoff's; the second message waited for the first, too.
    assert found["gaesignals.queue.wait"] == [(receiver, (2, 22.0))]


def test_calls_to_memcache_are_counted_by_verb(watch: Watch, store: MemoryStore) -> None:
    Signal("a").send(b"x" * 5000)
    deliver([("a", len_of)])
    made = {verb: sum(call.verb == verb for call in store.calls) for verb in ("gets", "write", "delete")}
    counted = {
        labels["gaesignals.memcache.verb"]: count for labels, count in watch.metrics()["gaesignals.memcache.calls"]
    }
    assert counted == made


def test_a_batch_that_is_run_again_one_by_one_waits_once(watch: Watch, clock: ManualClock) -> None:
    receivers = Receivers()
    receivers.connect("a", lambda messages: 1 / 0, batch=10, reliable=True)
    send_many([("a", 1), ("a", 2)])
    clock.advance(3)
    deliver(receivers)
    assert watch.values("gaesignals.queue.wait") == [(2, 6.0)]
    assert watch.values("gaesignals.handled") == [2]


def test_a_lost_message_is_counted(watch: Watch, store: MemoryStore) -> None:
    Signal("a").send(b"x" * 5000)
    stored = store.keys()
    store.evict([key for key in stored if len(store.raw(key) or b"") > 4000])
    deliver([("a", len_of)])
    assert watch.values("gaesignals.lost") == [1]


# Trouble


class BrokenProcessor(SpanProcessor):
    def __init__(self, at: str) -> None:
        self._at = at

    def on_start(self, span: object, parent_context: object = None) -> None:
        if self._at == "start":
            raise RuntimeError("broken")

    def on_end(self, span: object) -> None:
        if self._at == "end":
            raise RuntimeError("broken")


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("reliable", [False, True])
def test_a_broken_sdk_loses_nothing(at: str, reliable: bool, store: MemoryStore) -> None:
    provider = TracerProvider()
    provider.add_span_processor(BrokenProcessor(at))
    seen: list[object] = []
    with use_mailbox(Mailbox(store, observer=Telemetry(tracer_provider=provider))):
        send_many([("a", 1), ("a", 2)])
        report = deliver([("a", seen.append)], reliable=reliable)
        assert (report.delivered, seen) == (2, [1, 2])
        Signal("a").send()
        assert deliver([("a", fail)], reliable=reliable).failed == 1
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_provider_that_cannot_be_had_is_done_without(caplog: pytest.LogCaptureFixture, store: MemoryStore) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("broken")

    telemetry = Telemetry(tracer_provider=Broken(), meter_provider=Broken())  # type: ignore[arg-type]
    with use_mailbox(Mailbox(store, observer=telemetry)):
        Signal("a").send()
        assert deliver([("a", len_of)]).delivered == 1
    assert [message.split(";")[1] for message in caplog.messages] == [
        " there will be no spans",
        " there will be no metrics",
    ]


@pytest.mark.parametrize("context", ["x" * 1601, "字", 7, None])
def test_a_context_that_cannot_be_stored_is_left_out(context: object, store: MemoryStore) -> None:
    class Odd(Observer):
        def context(self) -> str:
            return context  # type: ignore[return-value]

    with use_mailbox(Mailbox(store, observer=Odd())):
        Signal("a").send()
        seen: list[Message] = []
        deliver([("a", lambda data: seen.append(current_message()))])
    assert seen[0].context == ""


def test_a_process_that_dies_in_a_handler_leaves_no_span_behind(watch: Watch) -> None:
    class Died(BaseException):
        pass

    def die(data: object) -> None:
        raise Died

    Signal("a").send()
    with pytest.raises(Died):
        deliver([("a", die)])
    assert watch.span("process").status.status_code is StatusCode.ERROR
    assert not trace.get_current_span().get_span_context().is_valid


PROGRAM = """
import sys
from gaesignals import Signal, current_message, deliver
from gaesignals.mailbox import Mailbox, use_mailbox
from gaesignals.testing import MemoryStore
with use_mailbox(Mailbox(MemoryStore())):
    Signal("a").send()
    seen = []
    assert deliver([("a", lambda data: seen.append(current_message().context))]).delivered == 1
    assert seen == [""], seen
    assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
    if "with-sdk" in sys.argv:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        Signal("a").send()
        deliver([("a", lambda data: seen.append(current_message().context))])
        assert len(seen[1]) == 55, seen
"""


@pytest.mark.parametrize("arguments", [[], ["with-sdk"]], ids=["without an SDK", "an SDK that is set later"])
def test_the_default_mailbox_uses_the_sdk_of_the_process_if_there_is_one(arguments: list[str]) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=True, timeout=60)


def test_calls_of_the_store_are_told_by_verb(store: MemoryStore) -> None:
    verbs: list[str] = []

    class Verbs(Observer):
        def called(self, verb: str) -> None:
            verbs.append(verb)

    with use_mailbox(Mailbox(store, observer=Verbs())):
        Signal("a").send()
    made: list[Call] = store.calls
    assert verbs == [call.verb for call in made]
