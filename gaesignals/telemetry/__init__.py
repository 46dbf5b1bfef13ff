"""OpenTelemetry: what is traced, counted and timed."""

from .spans import Telemetry

__all__ = ["Telemetry"]
