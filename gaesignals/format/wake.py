"""When a task is to wake the worker: for a name at rest at once, for a busy one about once a second.

A page keeps the latest wake that was promised, and whether that has a task, so that senders who know nothing of each
other do not add one for every message.
"""

from __future__ import annotations

from typing import Final

from gaesignals.values import value

PACE_MS: Final = 1000
"""No more than one task in this time for a page that is busy."""

# A promise that is this long past and has messages waiting behind it was not kept: a task was lost, or never added.
OVERDUE_MS: Final = 60_000
MAX_GATHER_MS: Final = 60_000


@value
class Promise:
    """What a page is to say, and the time of the task to add once that is stored; None for no task.

    `wake_ms` is the latest wake that was promised. `is_second` says that a task comes at that moment; without it, one
    came before, and whatever is sent until then asks for one.
    """

    wake_ms: int
    is_second: bool
    task_ms: int | None = None


def promise(wake_ms: int, *, is_second: bool, is_waiting: bool, gather_ms: int, now_ms: int) -> Promise:
    """Decide for one more message in a page, from what the page says; `is_waiting` if it had messages already."""
    if now_ms < wake_ms <= now_ms + MAX_GATHER_MS + PACE_MS:
        return Promise(wake_ms, is_second=True, task_ms=None if is_second else wake_ms)
    # One that is further ahead was written by a clock that is wrong.
    age_ms = now_ms - wake_ms if wake_ms <= now_ms else OVERDUE_MS
    if is_waiting and age_ms < OVERDUE_MS:
        return Promise(wake_ms, is_second)
    # Of a page that is busy the last task came at that moment, and the next one comes a second after it.
    after_ms = max(gather_ms, PACE_MS - age_ms if is_second else 0)
    if after_ms:
        return Promise(now_ms + after_ms, is_second=True, task_ms=now_ms + after_ms)
    return Promise(now_ms + PACE_MS, is_second=False, task_ms=now_ms)
