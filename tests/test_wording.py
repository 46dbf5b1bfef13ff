"""What people read says "the store", which may be a server: memcache is App Engine's alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A name that has it in the middle, of a metric, a field or a setting, stays as it is.
MEMCACHE = re.compile(r"(?<![\w.`])memcache(?![\w.`])", re.IGNORECASE)
# These speak of App Engine's memcache and of nothing else.
OF_APP_ENGINE = {
    "gaesignals/stores/app_engine.py",
    "gaesignals/stores/opening.py",
    "gaesignals/cli/checks/runtime.py",
}

SOURCES = sorted(path for package in ("gaesignals", "worker") for path in (ROOT / package).rglob("*.py"))
TEMPLATES = sorted((ROOT / "worker" / "templates").glob("*.html"))
# What the worker and the command line say and show.
PAGES = [ROOT / "docs" / name for name in ("operations.md", "observability.md")]


def texts(path: Path) -> Iterator[str]:
    """Those that a module may tell somebody: of several words, and no docstring."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return (str(node.value) for node in strings if id(node) not in docstrings and re.search(r"\s", str(node.value)))


def test_no_text_of_a_module_calls_the_store_memcache() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), text)
        for path in SOURCES
        if path.relative_to(ROOT).as_posix() not in OF_APP_ENGINE
        for text in texts(path)
        if MEMCACHE.search(text)
    }
    assert not found


@pytest.mark.parametrize("path", [*TEMPLATES, *PAGES], ids=lambda path: path.name)
def test_no_page_calls_the_store_memcache(path: Path) -> None:
    text = re.sub(r"\{#.*?#\}", "", path.read_text(), flags=re.DOTALL)
    assert not [line for line in text.splitlines() if MEMCACHE.search(line)]
