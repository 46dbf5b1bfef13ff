"""Traces and metrics by OpenTelemetry, through its API alone: without its SDK in the process nothing comes of them.

A message carries the W3C context of the span it was sent in, and the span of its handler joins that trace. Names of
spans and attributes of metrics are bounded: a name made at run time is in none of them, the template that it was filled
in from or that its receiver is connected to stands for it. What everything is called is said in docs/observability.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace

from gaesignals.errors import SendError
from gaesignals.message import Message
from gaesignals.observing import HandlerCall, Handling, Observer, Sending
from gaesignals.raised import Drop, Retry, text_of, wait_of
from gaesignals.report import DeliveryReport

from .carried import current_text, span_of, with_baggage_of
from .instruments import Instruments
from .providers import SCOPE, has_meters, has_sdk, meter_of, tracer_of

logger = logging.getLogger("gaesignals")

_MAX_EVENTS: Final = 32
# What OpenTelemetry's SDK keeps of a span's links by default; it drops the others without a word.
_MAX_LINKS: Final = 128

Attributes: TypeAlias = dict[str, str | int | float]


class Telemetry(Observer):
    """Tells OpenTelemetry's providers of sends, deliveries and calls of handlers.

    None stands for the process's own providers, whenever they are set. A provider that fails is done without.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._is_tracing = has_sdk if tracer_provider is None else lambda: True
        self._is_measuring = has_meters if meter_provider is None else lambda: True
        self._tracer = tracer_of(tracer_provider)
        self._instruments = Instruments(meter_of(meter_provider))

    def is_listening(self) -> bool:
        return self._is_tracing() or self._is_measuring()

    def sending(self, sending: Sending) -> AbstractContextManager[object]:
        span = self._send_span(sending) if self._is_tracing() else trace.INVALID_SPAN

        def end(error: BaseException | None) -> None:
            _end_in_error(span, error)
            self._count_sent(sending, error)

        return _Block(span, end, is_counting=True)

    def _send_span(self, sending: Sending) -> trace.Span:
        attributes: Attributes = _operation("send") | _destination(sending.pattern)
        if len(sending.ids) == 1:
            attributes["messaging.message.id"] = sending.ids[0]
        else:
            attributes["messaging.batch.message_count"] = len(sending.ids)
        return self._tracer.start_span(
            f"send {sending.pattern}".strip(), kind=trace.SpanKind.PRODUCER, attributes=attributes
        )

    def replaced(self, names: Sequence[str]) -> None:
        self._instruments.count_replaced(len(names))

    def _count_sent(self, sending: Sending, error: BaseException | None) -> None:
        stored = len(error.stored) if isinstance(error, SendError) else 0 if error else len(sending.ids)
        labels = _operation("send", with_type=False) | _destination(sending.pattern)
        self._instruments.count_sent(stored, labels)
        if error is not None:
            self._instruments.count_sent(len(sending.ids) - stored, labels | {"error.type": _type_of(error)})

    def context(self) -> str:
        if not self._is_tracing():
            return ""
        return current_text()

    def delivering(self) -> AbstractContextManager[object]:
        if not self._is_tracing():
            return nullcontext()
        span = self._tracer.start_span("deliver", attributes=_operation("deliver", with_type=False))
        return _Block(span, lambda error: _end_in_error(span, error), is_counting=True)

    def delivered(self, report: DeliveryReport) -> None:
        counts = {name: getattr(report, name) for name in Instruments.COUNTS}
        self._instruments.count_report(counts)
        work = _work.get()
        if work is not None and work.span.is_recording():
            work.span.set_attributes({f"messaging.gaesignals.{name}": count for name, count in counts.items()})

    def handling(self, handling: Handling) -> AbstractContextManager[object]:
        if not self._is_tracing():
            return nullcontext()
        outer = trace.get_current_span().get_span_context()
        contexts = [(message, span_of(message.context)) for message in handling.messages]
        links = [trace.Link(found, _message(message)) for message, found in contexts if found is not None]
        attributes = _handling(handling)
        if len(links) > _MAX_LINKS:
            attributes["messaging.gaesignals.unlinked"] = len(links) - _MAX_LINKS
        around, parent = None, None
        if not handling.is_batch and contexts:
            around = with_baggage_of(handling.messages[0].context)
            if contexts[0][1] is not None:
                # One message's handler belongs to the trace of its sender; the delivery that ran it is linked.
                parent = trace.set_span_in_context(trace.NonRecordingSpan(contexts[0][1]), around)
                links += [trace.Link(outer)] if outer.is_valid else []
        span = self._tracer.start_span(
            f"process {handling.pattern}".strip(),
            context=parent,
            kind=trace.SpanKind.CONSUMER,
            attributes=attributes,
            links=links[:_MAX_LINKS],
        )
        return _Block(span, lambda error: _end_handling(span, handling, error), around=around)

    def handled(self, call: HandlerCall) -> None:
        handling = call.handling
        if handling is None or not self._is_measuring():
            return
        labels = _operation("process", with_type=False) | _receiver(handling)
        failure = {"error.type": _type_of(call.raised)} if call.failed or not call.count else {}
        self._instruments.record_call(call.seconds, labels | failure)
        self._instruments.count_handled(call.count - call.failed, call.failed, _receiver(handling))
        if call.count:
            firsts = zip(handling.messages, handling.waited_seconds, strict=False)
            waits = [seconds for message, seconds in firsts if message.attempt == 1]
            self._instruments.record_waits(waits, _receiver(handling))

    def called(self, verb: str) -> None:
        self._instruments.count_call(verb)
        work = _work.get()
        if work is not None:
            work.calls += 1


class _Block:
    """A span while it is the current one; `end` says how it ended. `is_counting` counts memcache calls on it.

    `around` is the context to be the current one with the span in it, None for the one that is.
    """

    __slots__ = ("_around", "_context", "_end", "_is_counting", "_token", "calls", "span")

    def __init__(
        self,
        span: trace.Span,
        end: Callable[[BaseException | None], None],
        *,
        is_counting: bool = False,
        around: otel_context.Context | None = None,
    ) -> None:
        self.span = span
        self.calls = 0
        self._end = end
        self._around = around
        self._is_counting = is_counting
        self._context: Token[otel_context.Context] | None = None
        self._token: Token[_Block | None] | None = None

    def __enter__(self) -> None:
        # A span that is none must not hide the current one.
        own = self.span.get_span_context()
        if own.is_valid and own != trace.get_current_span().get_span_context():
            self._context = otel_context.attach(trace.set_span_in_context(self.span, self._around))
        if self._is_counting:
            self._token = _work.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._is_counting and self.span.is_recording():
                self.span.set_attribute("messaging.gaesignals.memcache_calls", self.calls)
            self._end(error)
        finally:
            if self._token is not None:
                _work.reset(self._token)
            if self._context is not None:
                otel_context.detach(self._context)
                self.span.end()


_work: ContextVar[_Block | None] = ContextVar("gaesignals_work", default=None)


def _operation(name: str, *, with_type: bool = True) -> Attributes:
    attributes: Attributes = {"messaging.system": SCOPE, "messaging.operation.name": name}
    return attributes | {"messaging.operation.type": name} if with_type else attributes


def _destination(pattern: str) -> Attributes:
    return {"messaging.destination.template": pattern} if pattern else {}


def _receiver(handling: Handling) -> Attributes:
    return {
        "messaging.destination.subscription.name": handling.receiver,
        "messaging.gaesignals.mode": "reliable" if handling.is_reliable else "weak",
        **_destination(handling.pattern),
    }


def _message(message: Message) -> Attributes:
    return {"messaging.message.id": message.id, "messaging.gaesignals.attempt": message.attempt}


def _handling(handling: Handling) -> Attributes:
    own: Attributes = {"messaging.batch.message_count": len(handling.messages)}
    return _operation("process") | _receiver(handling) | (own if handling.is_batch else _message(handling.messages[0]))


def _end_handling(span: trace.Span, handling: Handling, error: BaseException | None) -> None:
    """Say what became of a call: done, dropped, to be run again as the handler asked, or failed."""
    if not span.is_recording():
        return
    outcome = "done"
    if isinstance(error, Drop):
        outcome = "dropped"
        span.add_event("drop", {"messaging.gaesignals.reason": str(error)})
    elif isinstance(error, Retry) and handling.is_reliable:
        outcome = "retry"
        _add_retry(span, error, {})
    elif error is not None:
        outcome = "failed"
        _end_in_error(span, error)
    if error is None or outcome == "dropped":
        outcome = _end_marked(span, handling) or outcome
    span.set_attribute("messaging.gaesignals.outcome", outcome)


def _add_retry(span: trace.Span, retry: Retry, attributes: Attributes) -> None:
    wait = wait_of(retry)
    after: Attributes = {} if wait is None else {"messaging.gaesignals.after_seconds": wait}
    span.add_event("retry", {"messaging.gaesignals.reason": text_of(retry)} | attributes | after)


def _end_marked(span: trace.Span, handling: Handling) -> str:
    for message in handling.messages:
        if isinstance(message.mark, Retry) and handling.is_reliable:
            _add_retry(span, message.mark, _message(message))
    marked = [message for message in handling.messages if message.failure is not None]
    for message in marked[:_MAX_EVENTS]:
        span.add_event("failed", _message(message) | {"messaging.gaesignals.reason": str(message.failure)})
    if marked:
        span.set_attribute("messaging.gaesignals.failed", len(marked))
        span.set_attribute("error.type", _type_of(None))
        span.set_status(trace.StatusCode.ERROR, "marked as failed by the handler")
    return "failed" if marked else ""


def _end_in_error(span: trace.Span, error: BaseException | None) -> None:
    if error is None or not span.is_recording():
        return
    span.record_exception(error)
    span.set_attribute("error.type", _type_of(error))
    span.set_status(trace.StatusCode.ERROR, type(error).__name__)


def _type_of(error: BaseException | None) -> str:
    """What stands for an error in attributes; a mark by `Message.fail` has no type of its own."""
    if error is None or isinstance(error, Drop):
        return "marked"
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
