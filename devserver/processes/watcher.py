"""Looks for changes to the files of a source root.

It compares names, sizes and times of the few files that a service is made of, and leaves out directories that nobody
edits. The libraries that let the operating system tell of changes would watch those too, environments and node_modules
with their thousands of directories, and do not see changes on network and container mounts.
"""

from __future__ import annotations

import os
from pathlib import Path

SUFFIXES = (".py", ".yaml", ".yml", ".html")
_NEVER_EDITED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


class Watcher:
    """Remembers the files under `roots` as they are when it is made, and from one `look` to the next."""

    def __init__(self, *roots: Path) -> None:
        self._roots = roots
        self._seen = self._stamps()

    def look(self) -> set[str]:
        """Return what was changed, added or removed since the last look, relative to its root."""
        before, self._seen = self._seen, self._stamps()
        return {self._relative(path) for path, _ in before.items() ^ self._seen.items()}

    def _relative(self, path: str) -> str:
        return min((os.path.relpath(path, root) for root in self._roots), key=len)

    def _stamps(self) -> dict[str, tuple[int, int]]:
        stamps = {}
        for directory, directories, files in (each for root in self._roots for each in os.walk(root)):
            directories[:] = [name for name in directories if _is_edited(directory, name)]
            for name in files:
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    path = os.path.join(directory, name)
                    try:
                        status = os.stat(path)
                    except OSError:
                        continue  # it went in between, or leads nowhere
                    stamps[path] = (status.st_mtime_ns, status.st_size)
        return stamps


def _is_edited(directory: str, name: str) -> bool:
    if name.startswith(".") or name in _NEVER_EDITED:
        return False
    return not os.path.exists(os.path.join(directory, name, "pyvenv.cfg"))
