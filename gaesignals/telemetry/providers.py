"""OpenTelemetry's providers: whether there are any, and what is had of them. One that fails is done without."""

from __future__ import annotations

import logging
from typing import Final

from opentelemetry import metrics, trace

logger = logging.getLogger("gaesignals")

SCOPE: Final = "gaesignals"


def has_sdk() -> bool:
    """Whether anybody has set a tracer provider in this process; there is none to be set up for otherwise."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def has_meters() -> bool:
    """Whether anybody has set a meter provider in this process: the one that stands in for it has no public name."""
    return type(metrics.get_meter_provider()).__name__ != "_ProxyMeterProvider"


def tracer_of(provider: trace.TracerProvider | None) -> trace.Tracer:
    try:
        return trace.get_tracer(SCOPE, tracer_provider=provider)
    except Exception:
        logger.exception("OpenTelemetry's tracer provider failed; there will be no spans")
        return trace.NoOpTracer()


def meter_of(provider: metrics.MeterProvider | None) -> metrics.Meter:
    try:
        return metrics.get_meter(SCOPE, meter_provider=provider)
    except Exception:
        logger.exception("OpenTelemetry's meter provider failed; there will be no metrics")
        return metrics.NoOpMeter(SCOPE)
