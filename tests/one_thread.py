"""Processes that are one thread's greenlets: what a thread has one of, each of them has for itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_as_new() -> Iterator[None]:
    """Leave the thread to others in the block; what it held is back after it: an event loop, a task, ndb's context.

    ndb is there if another test has imported it. The context which that test left behind ended up in a handler of
    another process's, where all that was once begun in it was waited for without end. Nothing is put back into the
    thread of a process that dies in the block: the thread is somebody else's by then.
    """
    ndb = sys.modules.get("google.appengine.ext.ndb.tasklets")
    loop, context = asyncio._get_running_loop(), ndb and ndb._state.current_context
    # From Python 3.14 on a thread has one task that runs, whatever the loop: no other could be begun.
    task = asyncio.current_task(loop) if loop is not None else None
    if loop is not None and task is not None:
        asyncio.tasks._leave_task(loop, task)
    asyncio._set_running_loop(None)
    if ndb is not None:
        ndb.set_context(None)
    yield
    asyncio._set_running_loop(loop)
    if loop is not None and task is not None:
        asyncio.tasks._enter_task(loop, task)
    if ndb is not None:
        ndb.set_context(context)
