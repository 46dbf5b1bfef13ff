"""What else twenty workers meet in one backlog: failures, names of all speeds, handlers of an hour."""

from __future__ import annotations

import pytest

from .fleet import HOUR, Fleet


@pytest.mark.parametrize("reliable", [True, False])
@pytest.mark.parametrize(("names", "most"), [(20, 30.0), pytest.param(100, 75.0, marks=pytest.mark.stress)])
def test_names_of_all_speeds_are_shared(names: int, most: float, reliable: bool) -> None:
    """They come in one task, which has turns for eight of them in its ten seconds: 1.2 s each.

    The others go on in tasks of four. Of twenty names these are three, at work at once, so in the second ten seconds
    all have had turns; what is left of a quick name then comes with the next. Of a hundred they are 23 for the twenty
    places, and the messages of one name are on leases of several tasks, with slow ones before them in each.
    """
    fleet = Fleet()
    seconds = [(0.0, 0.01, 0.1, 1.0, 5.0)[number % 5] for number in range(names)]
    for number, each in enumerate(seconds):
        fleet.connect(f"job_{number}", each, reliable=reliable)
        fleet.send(f"job_{number}", 20)
    fleet.start()
    fleet.run_until_done()

    one_worker = sum(seconds) * 20
    assert fleet.seconds_taken <= one_worker / (0.4 * names if names < 50 else 14)
    quick = [f"job_{number}" for number, each in enumerate(seconds) if each == 0.0]
    assert max(fleet.waits(quick)) <= most
    fleet.check()


@pytest.mark.parametrize("reliable", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("count", [5, 17, 20, 40])
def test_a_few_slow_messages_find_many_workers(count: int, at_once: bool, reliable: bool) -> None:
    """The first claim takes sixteen, runs one, and hands back the others ten seconds later, when everybody has some."""
    fleet = Fleet()
    fleet.connect("job", 10.0, reliable=reliable)
    fleet.send("job", count, at_once=at_once)
    fleet.start()
    fleet.run_until_done()

    assert fleet.seconds_taken <= 25
    fleet.check()


def test_a_tenth_that_fails_runs_again_and_keeps_nobody_waiting() -> None:
    fleet = Fleet()
    fleet.connect("job", 1.0, fails=0.1, backoff_seconds=5)
    fleet.send("job", 1000)
    fleet.start()
    fleet.run_until_done()

    assert sum(fleet.ledger.failed.values()) > 50
    late = [wait for wait in fleet.waits({"job"}) if wait > 65]
    assert len(late) < 20, "1,100 runs are 55 seconds for twenty workers; what fails at the end may wait for cron"
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


def test_what_all_workers_held_when_they_died_is_shared_as_well() -> None:
    """Their leases end together. Each is run message by message, and one after another they took four minutes more."""
    fleet = Fleet()
    fleet.connect("job", 10.0)
    fleet.send("job", 200)
    fleet.start()
    fleet.kill_all(after=20)
    fleet.run_until_done()

    assert fleet.killed == 20
    assert fleet.seconds_taken <= 400, "a lease and its grace, a minute of cron, and what is left for twenty"
    fleet.check(repeats=20 * 2)
