"""What a message carries of the trace it was sent in: a W3C traceparent, its tracestate, and the baggage.

The text is `traceparent tracestate`, and, where there is any, a line break and the baggage.
"""

from __future__ import annotations

import logging
from typing import Final

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

logger = logging.getLogger("gaesignals")

MAX_BAGGAGE_CHARACTERS: Final = 1000
_TRACE: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()


def current_text() -> str:
    """The text for a message that is sent now; empty outside a trace and without baggage.

    Baggage of more than a thousand characters is left out, with a warning.
    """
    carrier: dict[str, str] = {}
    _TRACE.inject(carrier)
    _BAGGAGE.inject(carrier)
    carried = carrier.get("baggage", "")
    if len(carried) > MAX_BAGGAGE_CHARACTERS:
        logger.warning("baggage is too long to travel with a message", extra={"signals_characters": len(carried)})
        carried = ""
    context = f"{carrier.get('traceparent', '')} {carrier.get('tracestate', '')}".rstrip()
    return f"{context} \n{carried}" if carried else context


def span_of(text: str) -> trace.SpanContext | None:
    """The span that a message was sent in, or None where it carries none that can be read."""
    traceparent, _, tracestate = text.partition("\n")[0].strip().partition(" ")
    if not traceparent:
        return None
    carrier = {"traceparent": traceparent, "tracestate": tracestate}
    found = trace.get_current_span(_TRACE.extract(carrier, otel_context.Context())).get_span_context()
    return found if found.is_valid else None


def with_baggage_of(text: str) -> otel_context.Context:
    """The current context, with the baggage of a message in place of its own."""
    return _BAGGAGE.extract({"baggage": text.partition("\n")[2]}, baggage.clear())
