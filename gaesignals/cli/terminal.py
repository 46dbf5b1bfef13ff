"""What a command reads from and writes to: results on standard output, all else on standard error.

Every line is made harmless for a terminal first, whoever wrote what is in it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from .errors import UsageError
from .text import cut, printable, table

_CLEAR_LINE = "\r\x1b[K"
_CLEAR_SCREEN = "\x1b[H\x1b[2J"


class OutputError(Exception):
    """The result cannot be written: a full disk, or a reader that has gone away. Its cause says which."""


class Terminal:
    """The three streams of a process. Whatever writes a result raises `OutputError` if it cannot be written."""

    def __init__(self, *, input: TextIO, output: TextIO, errors: TextIO) -> None:
        self._input = input
        self._output = output
        self._errors = errors
        self._has_progress = False

    @property
    def width(self) -> int | None:
        """How many columns there are; None where no person looks, and nothing may be cut."""
        return shutil.get_terminal_size().columns if self._output.isatty() else None

    def say(self, line: str = "") -> None:
        """Write a line of the result."""
        self._end_progress()
        with _output():
            self._output.write(f"{printable(line)}\n")

    def say_table(self, rows: Sequence[Sequence[str]], *, headings: Sequence[str], whole: str = "") -> None:
        """Write the result as a table; the column under the heading `whole` is never cut."""
        for line in table(rows, headings=headings, width=self.width, whole=whole):
            self.say(line)

    def say_json(self, value: Any) -> None:
        """Write the result for a program."""
        self._end_progress()
        with _output():
            self._output.write(f"{json.dumps(value, indent=2)}\n")

    def remark(self, line: str) -> None:
        """Write a line that is not the result: an error, or advice."""
        self._end_progress()
        self._errors.write(f"{printable(line)}\n")
        self._errors.flush()

    def show_progress(self, line: str) -> None:
        """Say how far the work is; on a terminal in place of what was said before."""
        if not self._errors.isatty():
            self.remark(line)
            return
        self._errors.write(_CLEAR_LINE + cut(printable(line), shutil.get_terminal_size().columns - 1))
        self._errors.flush()
        self._has_progress = True

    def show_wait(self, line: str) -> None:
        """Say on a terminal that something still goes on; a file of lines has no use for it."""
        if self._errors.isatty():
            self.show_progress(line)

    def clear(self) -> None:
        """Begin the result again at the top of a screen; in a pipe, set it off by an empty line."""
        with _output():
            self._output.write(_CLEAR_SCREEN if self._output.isatty() else "\n")

    def confirm(self, question: str, *, is_agreed: bool, otherwise: str) -> bool:
        """Ask a person, unless it `is_agreed` beforehand, and remark `otherwise` if the answer is no.

        UsageError where there is nobody to ask.
        """
        if is_agreed:
            return True
        if not self._input.isatty():
            raise UsageError("this cannot be undone, and there is no terminal to ask on: give --yes")
        self._errors.write(f"{printable(question)} [y/N] ")
        self._errors.flush()
        is_yes = self._input.readline().strip().lower() in ("y", "yes")
        if not is_yes:
            self.remark(otherwise)
        return is_yes

    def flush(self) -> None:
        """Write out what is buffered."""
        self._end_progress()
        with _output():
            self._output.flush()

    def _end_progress(self) -> None:
        if self._has_progress:
            self._errors.write("\n")
            self._errors.flush()
            self._has_progress = False


@contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError from error
