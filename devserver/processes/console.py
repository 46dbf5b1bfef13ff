"""What the local cloud prints: a line for each event, with the process that it is about in front.

What applications and messages say is data: nothing in it acts on the terminal, or passes for another line.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TextIO

from gaesignals.cli.text import printable

_COLOURS: Mapping[str, int] = {"frontend": 36, "worker": 32, "tasks": 33, "cron": 35, "api": 34}
_WIDTH = max(map(len, _COLOURS))


def print_line(line: str) -> None:
    """Print a line of this process, whole: its threads print at the same time."""
    sys.stdout.write(f"{harmless(line)}\n")
    sys.stdout.flush()


def harmless(line: str) -> str:
    """Return `line` with everything escaped that is no visible character, space or tab."""
    return printable(line.expandtabs())


class Console:
    """Writes lines of several threads, whole; in colour on a terminal, unless NO_COLOR is set."""

    def __init__(self, out: TextIO = sys.stdout, environ: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self._has_colour = out.isatty() and not environ.get("NO_COLOR")
        self._lock = threading.Lock()

    def tell(self, name: str, line: str) -> None:
        """Write a line about the process `name`."""
        self._write(f"{self._label(name)} | {harmless(line)}")

    def say(self, line: str = "") -> None:
        """Write a line; what a closed pipe does not take is dropped."""
        self._write(harmless(line))

    def _write(self, line: str) -> None:
        with self._lock:
            try:
                self._out.write(f"{line}\n")
                self._out.flush()
            except OSError:
                # Nobody reads any more; the processes have to be kept and ended all the same.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def _label(self, name: str) -> str:
        label = f"{name:<{_WIDTH}}"
        return f"\x1b[{_COLOURS[name]}m{label}\x1b[0m" if self._has_colour and name in _COLOURS else label
