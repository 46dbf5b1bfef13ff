"""What else twenty workers meet in one backlog: failures, names of all speeds, handlers of an hour."""

from __future__ import annotations

import pytest

from .fleet import HOUR, Fleet


@pytest.mark.parametrize("reliable", [True, False])
@pytest.mark.parametrize("names", [20, pytest.param(100, marks=pytest.mark.stress)])
def test_names_of_all_speeds_are_shared(names: int, reliable: bool) -> None:
    """They come in one task, so what a claim takes of each is small beside what it takes of all."""
    fleet = Fleet()
    seconds = [(0.0, 0.01, 0.1, 1.0, 5.0)[number % 5] for number in range(names)]
    for number, each in enumerate(seconds):
        fleet.connect(f"job_{number}", each, reliable=reliable)
        fleet.send(f"job_{number}", 20)
    fleet.start()
    fleet.run_until_done()

    one_worker = sum(seconds) * 20
    assert fleet.seconds_taken <= one_worker / 4
    quick = [f"job_{number}" for number, each in enumerate(seconds) if each == 0.0]
    assert max(fleet.waits(quick)) <= 45.0
    fleet.check()


def test_a_tenth_that_fails_runs_again_and_keeps_nobody_waiting() -> None:
    fleet = Fleet()
    fleet.connect("job", 1.0, fails=0.1, backoff_seconds=5)
    fleet.send("job", 1000)
    fleet.start()
    fleet.run_until_done()

    assert sum(fleet.ledger.failed.values()) > 50
    fleet.check()


@pytest.mark.parametrize("reliable", [True, False])
def test_handlers_of_an_hour_run_once_and_all_at_the_same_time(reliable: bool) -> None:
    fleet = Fleet()
    fleet.connect("film", HOUR, reliable=reliable, lease_seconds=1.5 * HOUR)
    fleet.send("film", 16)
    fleet.start()
    fleet.run_until_done()

    assert fleet.seconds_taken <= 1.1 * HOUR
    fleet.check()
