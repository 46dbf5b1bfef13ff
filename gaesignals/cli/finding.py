"""Finds the `Receivers` of a source tree, and who imports the library, by reading it; nothing is imported."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from gaesignals.appyaml.service import Service

# What is somebody else's, or no part of what is deployed.
_SKIPPED = frozenset(
    {"node_modules", "site-packages", "tests", "test", "build", "dist", "gaesignals", "gaesignals_worker"}
)
MAX_FILES = 5000
# Modules that bring in others which nobody can tell by reading.
_LOADERS = frozenset({"django", "importlib", "pkgutil"})
_TASKS_BACKEND = "gaesignals.integrations.django.SignalsBackend"


def find_receivers(directory: Path) -> list[str]:
    """Return `module:name` of every module-level `name = Receivers(...)` below `directory`, sorted.

    So of `name = task_receivers()`, which makes them of Django's tasks.
    """
    found: list[str] = []
    for path in _modules(directory):
        module = ".".join(path.relative_to(directory).with_suffix("").parts).removesuffix(".__init__")
        found += [f"{module}:{name}" for name in _assigned(path)]
    return sorted(found)


def ways_of_sending(directory: Path) -> Iterator[str]:
    """The keywords with which signals are declared and sent below `directory`, such as `durable`."""
    for path in _modules(directory):
        tree = _tree(path)
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Call) and _name(node.func) in ("Signal", "send", "send_many"):
                yield from (word.arg for word in node.keywords if word.arg and not _is_false(word.value))
            elif isinstance(node, ast.Call) and _name(node.func) == "using":
                yield from ("at" for word in node.keywords if word.arg == "run_after")
            elif isinstance(node, ast.Dict):
                yield from _ways_of_tasks(node)


def _ways_of_tasks(settings: ast.Dict) -> Iterator[str]:
    """What Django's tasks are sent with, if these are the settings of our backend of them."""
    backend = _value(settings, "BACKEND")
    options = _value(settings, "OPTIONS")
    if isinstance(backend, ast.Constant) and backend.value == _TASKS_BACKEND and isinstance(options, ast.Dict):
        for key, value in zip(options.keys, options.values, strict=True):
            if isinstance(key, ast.Constant) and not _is_false(value):
                yield str(key.value)


def _value(settings: ast.Dict, wanted: str) -> ast.expr | None:
    for key, value in zip(settings.keys, settings.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == wanted:
            return value
    return None


def _name(called: ast.expr) -> str | None:
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", None)


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and not value.value


def sends(service: Service) -> bool:
    """Whether a service that is no worker may send: it is Python, and imports the library."""
    return service.is_python and imports_library(service.directory, service.app)


def imports_library(directory: Path, app: str | None) -> bool:
    """Whether `app`, a `module:name`, imports gaesignals, as far as reading its modules tells.

    Where it may bring in others by name, as Django does, or the app is not known, any module of the directory counts.
    """
    if app is None:
        return any(_is_library(name) for path in _modules(directory) for name in _imports(path, directory))
    seen: set[str] = set()
    found = [app.partition(":")[0]]
    while found and len(seen) < MAX_FILES:
        module = found.pop()
        if module in seen:
            continue
        seen.add(module)
        names = [name for path in _files(directory, module) for name in _imports(path, directory)]
        if any(_is_library(name) for name in names):
            return True
        if any(name.partition(".")[0] in _LOADERS for name in names):
            return imports_library(directory, None)
        found += names
    return False


def _is_library(name: str) -> bool:
    return name.partition(".")[0] in ("gaesignals", "gaesignals_worker")


def _files(directory: Path, module: str) -> Iterator[Path]:
    """The files that importing a module runs: its own, and those of the packages that it is in."""
    path = directory
    for part in module.split("."):
        path /= part
        yield from (each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file())


def _imports(path: Path, directory: Path) -> Iterator[str]:
    tree = _tree(path)
    package = path.parent.relative_to(directory).parts
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            # What is imported may be a module, or something in it.
            yield from (f"{base}.{alias.name}" for alias in node.names)


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


def _tree(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _assigned(path: Path) -> Iterator[str]:
    tree = _tree(path)
    for node in tree.body if tree else ():
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if targets and _makes_receivers(node):
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _makes_receivers(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    if not isinstance(value, ast.Call):
        return False
    return _name(value.func) in ("Receivers", "task_receivers")
