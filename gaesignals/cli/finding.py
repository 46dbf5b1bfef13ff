"""Finds the `Receivers` of a source tree by reading it; nothing is imported."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

# What is somebody else's, or no part of what is deployed.
_SKIPPED = frozenset(
    {"node_modules", "site-packages", "tests", "test", "build", "dist", "gaesignals", "gaesignals_worker"}
)
MAX_FILES = 5000


def find_receivers(directory: Path) -> list[str]:
    """Return `module:name` of every module-level `name = Receivers(...)` below `directory`, sorted."""
    found = []
    for path in _modules(directory):
        module = ".".join(path.relative_to(directory).with_suffix("").parts).removesuffix(".__init__")
        found += [f"{module}:{name}" for name in _assigned(path)]
    return sorted(found)


def _modules(directory: Path) -> Iterator[Path]:
    count = 0
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(each for each in directories if each.isidentifier() and each not in _SKIPPED)
        for file in sorted(files):
            if file.endswith(".py") and file.removesuffix(".py").isidentifier():
                count += 1
                if count > MAX_FILES:
                    return
                yield Path(root, file)


def _assigned(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if targets and _makes_receivers(node):
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _makes_receivers(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    if not isinstance(value, ast.Call):
        return False
    called = value.func
    return (called.id if isinstance(called, ast.Name) else getattr(called, "attr", None)) == "Receivers"
