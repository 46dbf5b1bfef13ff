"""Ends a process of the local cloud with the one that started it, even if that one is killed.

The starter keeps the other end of the process's standard input, and never writes to it. When the starter is gone, in
whatever way, the input ends. This works wherever pipes do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

GRACE_SECONDS = 3.0


def end_on_signals(*, supervised: bool) -> threading.Event:
    """Return an event that is set when this process is asked to end.

    A process that is `supervised` ends with its starter, and leaves Ctrl-C to it.
    """
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    if supervised:
        ignore_interrupts()
        end_with_starter()
    else:
        signal.signal(signal.SIGINT, lambda *_: ended.set())
    return ended


def end_with_starter(*pids: int) -> None:
    """Watch standard input; when it ends, terminate `pids` (by default this process), and end for good soon after."""
    threading.Thread(target=_watch, args=(pids or (os.getpid(),),), name="lifeline", daemon=True).start()


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which a terminal sends to the whole group, to the starter: it ends the others in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watch(pids: tuple[int, ...]) -> None:
    try:
        while os.read(0, 1024):
            pass
    except OSError:
        return
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
