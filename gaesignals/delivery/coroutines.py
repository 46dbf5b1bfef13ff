"""Coroutines: the event loop of one delivery, on the thread that delivers.

App Engine's services can be called from a request's own thread alone, so nothing is handed to another one. The loop is
made for the first coroutine of a delivery, serves all of it and ends with it: what a handler left running is cancelled
then. No handler runs longer than its limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeAlias

from gaesignals.errors import RunningLoopError

logger = logging.getLogger("gaesignals")

CLEANUP_SECONDS: Final = 5.0
"""What a coroutine that is cancelled has to end in, before it is left to itself."""

Work: TypeAlias = Coroutine[Any, Any, object]


def is_loop_running() -> bool:
    """Whether this is called from inside an event loop. A thread can run one at a time."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def reject_running_loop() -> None:
    """Raise `RunningLoopError` inside a running event loop."""
    if is_loop_running():
        raise RunningLoopError(
            "deliver() cannot run coroutine handlers inside a running event loop, which it would block; run it in a "
            "thread: await asyncio.to_thread(gaesignals.in_this_request(deliver), receivers)"
        )


class Coroutines:
    """Runs the coroutines of one delivery, each for at most `limit_seconds`. Close it afterwards."""

    def __init__(self, *, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Work) -> object:
        """Run `work` to its end, alone; return what it returns, or raise what it raises.

        Raises `TimeoutError` if that takes too long.
        """
        try:
            reject_running_loop()
        except RunningLoopError:
            work.close()
            raise
        return self._complete(self.bounded(work))

    def run_each(self, works: Iterable[Work], *, concurrency: int) -> None:
        """Run all of `works`, `concurrency` of them at a time; the next is asked for when it can begin.

        An error of one, which has to be none that belongs to it alone, begins no more of them; it is raised when those
        that had begun are done. One that ends the process is raised at once.
        """
        reject_running_loop()
        self._complete(_run_each(works, concurrency))

    async def bounded(self, work: Work) -> object:
        """Await `work` and return its result.

        Raises `TimeoutError` if it is not done in time, when it was cancelled or has ignored that.
        """
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({task}, timeout=self._limit_seconds)
        if done:
            if task.cancelled():
                raise RuntimeError("the handler was cancelled, and not by its delivery")
            return task.result()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=CLEANUP_SECONDS)
        if not done:
            logger.error("a handler that was cancelled goes on; it is left to itself")
        error = task.exception() if done and not task.cancelled() else None
        if done and not task.cancelled() and error is None:
            return task.result()
        raise TimeoutError(
            f"the handler did not finish within three quarters of its lease, {self._limit_seconds:g} seconds, "
            "and was cancelled"
        ) from error

    def close(self) -> None:
        """Cancel what is left and end the loop."""
        if self._loop is None:
            return
        loop, self._loop = self._loop, None
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=CLEANUP_SECONDS))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    def _complete(self, work: Work) -> object:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)


async def _run_each(works: Iterable[Work], concurrency: int) -> None:
    running: set[asyncio.Future[object]] = set()
    try:
        for work in works:
            running.add(asyncio.ensure_future(work))
            for _ in range(2):
                # It begins, and the handler in it: only then is known whether there is time for another.
                await asyncio.sleep(0)
            while len(running) >= concurrency or any(task.done() for task in running):
                await _reap(running)
        while running:
            await _reap(running)
    except Exception:
        await asyncio.gather(*running, return_exceptions=True)
        raise


async def _reap(running: set[asyncio.Future[object]]) -> None:
    """Wait until one is done at least, and raise what it raised."""
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    running -= done
    for task in done:
        task.result()
