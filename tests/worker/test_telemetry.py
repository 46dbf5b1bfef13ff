"""A trace goes on from the sender's request through the index and a task to the handler in the worker."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gaesignals import Receivers, Signal
from gaesignals.mailbox.current import open_mailbox, use_mailbox
from gaesignals.telemetry.spans import Telemetry

from .conftest import MakeClient


@pytest.mark.parametrize("reliable", [False, True])
def test_a_handler_that_a_task_runs_is_in_the_trace_of_the_request_that_sent(
    monkeypatch: pytest.MonkeyPatch, make_client: MakeClient, reliable: bool
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # A process's own provider can be set once, so here the default observer is given one.
    monkeypatch.setattr("gaesignals.mailbox.box.Telemetry", lambda: Telemetry(tracer_provider=provider))
    monkeypatch.setattr("worker.app.Telemetry", lambda: Telemetry(tracer_provider=provider))
    receivers = Receivers()
    receivers.connect("order_paid", lambda data: None, reliable=reliable)
    client = make_client(receivers)
    with (
        use_mailbox(open_mailbox()),
        provider.get_tracer("shop").start_as_current_span("POST /orders") as request,
    ):
        Signal("order_paid").send()
    client.cron()
    client.run_tasks()
    (sent,) = (span for span in exporter.get_finished_spans() if span.name == "send")
    (handled,) = (span for span in exporter.get_finished_spans() if span.name == "process order_paid")
    assert sent.context is not None
    assert handled.context is not None
    assert handled.parent is not None
    assert handled.context.trace_id == sent.context.trace_id == request.get_span_context().trace_id
    assert handled.parent.span_id == sent.context.span_id
    assert handled.parent.is_remote
