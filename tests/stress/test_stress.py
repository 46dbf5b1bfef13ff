"""The short version of `make stress`: a few seconds of load with real processes that are killed."""

from __future__ import annotations

from tests.servers import program

from .__main__ import CLUSTER, stress


def test_nothing_reliable_is_lost_when_processes_are_killed_under_load() -> None:
    verdict = stress(seconds=5, senders=2)
    assert verdict.acknowledged
    assert verdict.is_good, verdict.table()


def test_nothing_reliable_is_lost_when_nodes_of_a_cluster_that_keep_each_write_on_disk_are_killed_as_well() -> None:
    program()
    verdict = stress(seconds=8, senders=2, store=CLUSTER)
    assert verdict.acknowledged
    assert verdict.is_good, verdict.table()
