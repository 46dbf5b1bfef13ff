"""An instance that is told to stop claims nothing more and gives back what it has not begun."""

from __future__ import annotations

from typing import Any

import pytest

from gaesignals import Receivers, Signal, current_message

from .conftest import Client, MakeClient


class Stopping:
    """An application whose instance is told to stop while it handles a message."""

    def __init__(self, make_client: MakeClient) -> None:
        self.handled: list[tuple[Any, int]] = []
        self.stops_at: Any = None
        receivers = Receivers()
        receivers.connect("weak", self.handle, id="weak")
        receivers.connect("firm", self.handle, id="firm", reliable=True)
        self.client: Client = make_client(receivers)

    def handle(self, data: Any) -> None:
        self.handled.append((data, current_message().attempt))
        if data == self.stops_at:
            self.client.http.get("/_ah/stop")


@pytest.fixture
def app(make_client: MakeClient) -> Stopping:
    return Stopping(make_client)


@pytest.mark.parametrize("name", ["weak", "firm"])
def test_what_was_not_begun_goes_back_and_another_instance_handles_it(app: Stopping, name: str) -> None:
    for number in range(10):
        Signal(name).send(number)
    app.stops_at = 3
    assert app.client.task({"names": [name]}).status_int == 200
    assert [data for data, _ in app.handled] == [0, 1, 2, 3]
    app.client.worker.stopping.clear()
    app.client.run_tasks()
    app.client.cron()
    app.client.run_tasks()
    assert sorted(app.handled) == [(number, 1) for number in range(10)], "each once, none charged an attempt"


def test_an_instance_that_is_stopping_takes_no_task(app: Stopping) -> None:
    Signal("firm").send(1)
    app.client.worker.stopping.set()
    assert app.client.task({"names": ["firm"]}, status=503)
    assert app.handled == []
    app.client.worker.stopping.clear()
    app.client.task({"names": ["firm"]})
    assert app.handled == [(1, 1)]
