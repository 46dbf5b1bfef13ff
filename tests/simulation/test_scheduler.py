"""Participants of one thread keep what a thread has one of to themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.appengine.ext.ndb import tasklets

from .scheduler import Scheduler


@pytest.fixture
def left_behind() -> Iterator[object]:
    """A context of ndb's that whatever ran before has left in the thread."""
    context = object()
    tasklets.set_context(context)
    yield context
    tasklets.set_context(None)


def test_no_participant_meets_a_context_of_ndb_that_another_has_put_away(left_behind: object) -> None:
    scheduler = Scheduler(1)
    met: list[object] = []

    def handle() -> None:
        for _ in range(20):
            outer = tasklets._state.current_context
            tasklets.set_context(None)
            scheduler.pause()
            met.append(tasklets._state.current_context)
            tasklets.set_context(outer)
            scheduler.pause()

    for name in ("one", "other", "third"):
        scheduler.add(name, handle)
    scheduler.run()

    assert met == [None] * 60
