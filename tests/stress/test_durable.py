"""The short version of `python -m tests.stress.durable`: real processes, and a memcache that is lost twice."""

from __future__ import annotations

from .durable import run


def test_every_durable_message_is_handled_though_memcache_is_emptied_and_its_process_killed() -> None:
    outcome = run(messages=300, within_seconds=120)
    assert outcome.brought > 0
    assert outcome.handled == outcome.acknowledged == 300
