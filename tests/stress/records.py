"""What the processes of a stress run write down: a line a fact, in files that survive the death of their writer."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

DIRECTORY = "STRESS_DIRECTORY"


class Notebook:
    """An append-only file of this process. A line is with the kernel when `write` returns, whatever happens then."""

    def __init__(self, kind: str, directory: str | None = None) -> None:
        path = Path(directory or os.environ[DIRECTORY]) / f"{kind}.{os.getpid()}"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *keys: str) -> None:
        os.write(self._file, "".join(f"{key}\n" for key in keys).encode())


def read(directory: Path, kind: str) -> Counter[str]:
    """How often each key was written down, by any process."""
    return Counter(line for path in directory.glob(f"{kind}.*") for line in path.read_text().splitlines())
