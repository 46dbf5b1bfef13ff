"""Imports point one way, Google's packages stay in their adapters, and modules stay readable."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gaesignals", "worker", "devserver")

LIBRARY = """
    errors packing codec message lease page keys slot store limits memcache connection lanes bundles sending report
    observing instruments telemetry cloudlog
    mailbox claims loading indexing pausing leases deadletter burying pending discarding repair inspection
    shape containers declaring template signal handlers idempotency receiver receivers run coroutines running outcome
    round takeover fresh delivery middleware testing fixture pytest_plugin
    cli.errors cli.schedule cli.schedule_parser cli.sdk cli.entries cli.text cli.terminal cli.address cli.token
    cli.client cli.context cli.options cli.wording cli.status cli.draining cli.sending cli.pausing cli.dead
    cli.checks.problem cli.checks.service cli.checks.project cli.checks.runtime cli.checks.routes cli.checks.cron
    cli.checks.queue cli.checks.requirements cli.checks.settings cli.checks.everything
    cli.checking cli.finding cli.init cli.local cli.main __main__
""".split()  # noqa: SIM905 - it reads as what it is, an order

HOW_IT_WORKS = ROOT / "docs" / "how-it-works.md"
CHAPTERS = {"gaesignals": "Where a message goes", "worker": "The worker", "devserver": "The local cloud"}

GOOGLE = {
    "gaesignals": {"memcache", "cli.sdk"},
    "worker": {"queue", "keys", "tokens", "auth", "main"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_in(package: str, path: Path) -> str:
    """The module's name inside `package`: `page`, `cli.table`."""
    return ".".join(path.relative_to(ROOT / package).with_suffix("").parts)


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


@pytest.mark.parametrize("path", modules("gaesignals"), ids=lambda path: name_in("gaesignals", path))
def test_a_module_of_the_library_imports_only_from_those_before_it(path: Path) -> None:
    module = name_in("gaesignals", path)
    if path.stem == "__init__":
        return
    assert module in LIBRARY, "say where the new module stands"
    for name in imports(path):
        package, _, imported = name.partition(".")
        assert package not in ("worker", "gaesignals_worker", "devserver"), name
        # What is imported on first use only, so that tests need no SDK.
        if package != "gaesignals" or (module, imported.partition(".")[0]) == ("mailbox", "memcache"):
            continue
        for known in (imported, imported.rpartition(".")[0]):
            if known in LIBRARY:
                assert LIBRARY.index(known) < LIBRARY.index(module), name


def described(package: str) -> list[str]:
    """The modules in the table of how-it-works.md, in its order."""
    chapter = HOW_IT_WORKS.read_text().partition(f"## {CHAPTERS[package]}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `")]
    return re.findall(r"`(\w+)`", "".join(rows))


@pytest.mark.parametrize("package", CHAPTERS)
def test_how_it_works_has_every_module(package: str) -> None:
    known = {name_in(package, path) for path in modules(package) if path.stem != "__init__"}
    if package == "gaesignals":
        known = {name for name in known if not name.startswith(("cli.", "__main__"))}
    assert sorted(described(package)) == sorted(known)


@pytest.mark.parametrize("module", described("gaesignals"))
def test_how_it_works_has_the_modules_of_the_library_in_an_order_to_read_them_in(module: str) -> None:
    order = described("gaesignals")
    found = {
        name.split(".")[1] for name in imports(ROOT / "gaesignals" / f"{module}.py") if name.startswith("gaesignals.")
    }
    late = {name for name in found if name in order and order.index(name) > order.index(module)}
    assert late <= ({"memcache"} if module == "mailbox" else set())


def test_the_library_does_not_know_its_command_line() -> None:
    commands = ("cli.", "__main__")
    library = [path for path in modules("gaesignals") if not name_in("gaesignals", path).startswith(commands)]
    assert library
    assert not [name for path in library for name in imports(path) if name.startswith("gaesignals.cli")]


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
    users = {
        name_in(package, path)
        for path in modules(package)
        if any(name.split(".")[0] == "google" for name in imports(path))
    }
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
