"""Whether this process is about to end, for whatever reason: deliveries then end after the current handler.

App Engine tells the app (`/_ah/stop`), the system sends SIGTERM. gunicorn takes signals for itself where it has loaded
the app before it forks (`--preload`), and ends a process without any after so many requests (`--max-requests`). So its
own mark is looked at, too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Protocol


class _Server(Protocol):
    """What gunicorn's workers have had under these names for ten years."""

    alive: bool
    ppid: int


class Ending:
    """Told by `set`, or finds out by itself. Safe in threads and forked processes."""

    def __init__(self) -> None:
        self._is_told = threading.Event()
        self._server_of: tuple[int, _Server | None] | None = None

    def set(self) -> None:
        """Say that this process is about to end."""
        self._is_told.set()

    def clear(self) -> None:
        """Take that back, as tests do."""
        self._is_told.clear()

    def is_set(self) -> bool:
        """Whether the process is about to end. Asked between any two messages, so it costs next to nothing."""
        return self._is_told.is_set() or _is_ending(self._server())

    def on_signal(self) -> None:
        """Have SIGTERM say it as well, before whatever it does now; it can be had in the main thread alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        previous = signal.getsignal(signal.SIGTERM)

        def stop(number: int, frame: FrameType | None) -> None:
            self.set()
            if callable(previous):
                previous(number, frame)
            elif previous is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        signal.signal(signal.SIGTERM, stop)

    def _server(self) -> _Server | None:
        """The gunicorn that serves this process, looked for once in each."""
        pid = os.getpid()
        if self._server_of is None or self._server_of[0] != pid:
            self._server_of = (pid, _find_server())
        return self._server_of[1]


def _is_ending(server: _Server | None) -> bool:
    # It ends as well when its parent is gone, and then marks nothing.
    return server is not None and (not server.alive or server.ppid != os.getppid())


def _find_server() -> Any:
    """What serves requests has the main thread for as long as it does."""
    base = sys.modules.get("gunicorn.workers.base")
    main_thread = threading.main_thread().ident
    frame = sys._current_frames().get(main_thread) if base and main_thread else None
    while base is not None and frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, base.Worker):
            return found
        frame = frame.f_back
    return None
