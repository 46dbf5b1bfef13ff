"""The short version of `make stress`: a few seconds of load with real processes that are killed."""

from __future__ import annotations

from .__main__ import stress


def test_nothing_reliable_is_lost_when_processes_are_killed_under_load() -> None:
    verdict = stress(seconds=5, senders=2)
    assert verdict.acknowledged
    assert verdict.is_good, verdict.table()
