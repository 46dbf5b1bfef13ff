"""Imports point one way, Google's packages stay in their adapters, and modules stay readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gaesignals", "worker", "devserver")

LIBRARY = """
    errors packing codec message lease page keys slot store limits memcache connection lanes bundles sending report
    observing mailbox claims loading indexing leases deadletter pending repair inspection signal handlers receivers
    running outcome round takeover fresh delivery middleware testing fixture
    pytest_plugin cli
""".split()  # noqa: SIM905 - it reads as what it is, an order

GOOGLE = {
    "gaesignals": {"memcache"},
    "worker": {"queue", "keys", "tokens", "auth", "main"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, wherever in it."""
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (prefix, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules("gaesignals"), ids=lambda path: path.stem)
def test_a_module_of_the_library_imports_only_from_those_before_it(path: Path) -> None:
    if path.stem == "__init__":
        return
    assert path.stem in LIBRARY, "say where the new module stands"
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in ("worker", "devserver"), name
        # What is imported on first use only, so that tests need no SDK.
        if parts[0] != "gaesignals" or (path.stem, parts[1]) == ("mailbox", "memcache"):
            continue
        if parts[1] in LIBRARY:
            assert LIBRARY.index(parts[1]) < LIBRARY.index(path.stem), name


@pytest.mark.parametrize("path", modules("worker"), ids=lambda path: path.stem)
def test_the_worker_does_not_know_the_local_cloud(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith(("devserver", "examples"))]


@pytest.mark.parametrize(
    "path", [*modules("worker"), *modules("devserver")], ids=lambda path: f"{path.parent.name}.{path.stem}"
)
def test_imports_inside_the_worker_and_the_local_cloud_are_relative(path: Path) -> None:
    """A wheel ships them under other names."""
    for node in ast.walk(ast.parse(path.read_text())):
        absolute = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        absolute += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not {name.split(".")[0] for name in absolute} & {"worker", "devserver"}


@pytest.mark.parametrize("package", GOOGLE)
def test_google_is_imported_by_adapters_only(package: str) -> None:
    users = {path.stem for path in modules(package) if any(name.split(".")[0] == "google" for name in imports(path))}
    assert users <= GOOGLE[package]


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_are_under_three_hundred_lines(package: str) -> None:
    assert not [str(path) for path in modules(package) if len(path.read_text().splitlines()) >= 300]


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_reads_the_environment_while_it_is_imported(package: str) -> None:
    for path in modules(package):
        if path.stem in ("main", "__main__"):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
                continue
            names = {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
            assert not names & {"environ", "getenv"}, f"{path}: {ast.unparse(node)}"
