"""Waits for something that may take for ever, no longer than a person wants, and says meanwhile how long that is."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# Until then an answer comes as a rule, and after that people wonder.
FIRST_SECONDS, EVERY_SECONDS = 2.0, 1.0


def within(
    seconds: float, work: Callable[[], Result], *, waiting: Callable[[float], None] = lambda seconds: None
) -> Result:
    """Return what `work` does, in a thread of its own; TimeoutError after `seconds`, and it is left alone then.

    `waiting` is told every second how long it has taken so far. What `work` raises is raised here.
    """
    outcome: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((work(), None))
        except BaseException as error:  # noqa: BLE001  # it is raised in the thread that waits
            outcome.put((None, error))

    started_at = time.monotonic()
    threading.Thread(target=run, daemon=True).start()
    pause = min(FIRST_SECONDS, seconds)
    while True:
        try:
            result, error = outcome.get(timeout=pause)
        except queue.Empty:
            elapsed = time.monotonic() - started_at
            if elapsed >= seconds:
                raise TimeoutError from None
            waiting(elapsed)
            pause = max(0.0, min(EVERY_SECONDS, seconds - elapsed))
            continue
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # None only if that is what the work returned
