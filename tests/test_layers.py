"""Imports point one way, Google's packages stay in their adapters, and modules stay readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A folder or a module of the top level may import what stands in a line above its own.
LAYERS = {
    "gaesignals": """
        errors guarded values digits
        data
        format
        request
        stores tasks
        raised ndb
        template message report
        observing cloudlog way
        telemetry
        mailbox
        handler
        signature due limits
        signal receiver threads
        sending
        matching connecting
        receivers idempotency
        delivery
        recording
        middleware testing
        asgi
        pytest_plugin
        integrations
        appyaml
        cli
        __main__
    """,
    "worker": """
        log visible ending context
        config origin
        loading
        queue
        deliveries health safety version pauses labels past
        statistics counting working
        recorder
        fields answer
        access
        travel
        dispatcher
        sibling_tasks
        tasks rescue sending sampling
        cron
        admin
        app
        main preflight
    """,
    "devserver": """
        place
        processes
        options
        appengine
        tasks
        cron
        project
        cloud
        __main__
    """,
}
# Inside a folder a module may import those before it.
FOLDERS = {
    "gaesignals.data": "advice bounds packing unpacking codec shape containers declaring",
    "gaesignals.format": """keys names latest entries inline lease page replacing taking slot letter pauses rescue wake
        counts history fleet""",
    "gaesignals.stores": "store client memory app_engine lines talk wire valkey opening",
    "gaesignals.tasks": "queue queues names memory app_engine census cloud_tasks sender",
    "gaesignals.telemetry": "instruments carried providers spans",
    "gaesignals.mailbox": """emptied known rewrite bundles safety cover parcel waker replacer lanes widening send defer
        box current claim load evicted index hold renew dead retries discard pause repair look contents history
        rescue""",
    "gaesignals.mailbox.dead": "pages counts bury requeue",
    "gaesignals.mailbox.index": "slots listing unlisting fan_out",
    "gaesignals.delivery": """coroutines results opening pace backoff judging verdict deaths round calling runner
        copies work takeover leftovers turns backlog returning fresh deliver""",
    "gaesignals.integrations": "django",
    "gaesignals.appyaml": """errors problem retry_policy schedule sdk gunicorn uvicorn service queues jobs project
        preflight""",
    "gaesignals.cli": """errors entries text waiting terminal address token client context options wording past status
        draining sending pausing payload dead messages regions finding checks checking init local main""",
    "gaesignals.cli.checks": "runtime routes cron queue requirements settings store everything",
    "worker.access": "keys tokens callers doors gate",
    "worker.admin": """commands failure flash status archive inspector openmetrics metrics pictures rows receivers
        problems payload letters messages back_pages pages sending routes""",
    "devserver.appengine": "loopback_http datastore queues services server client",
    "devserver.tasks": "token_bucket check queue messages target dispatcher service emulator",
    "devserver.cron": "calls",
    "devserver.processes": """bridge lifeline console ports outgoing service_option serving child supervisor watcher
        narrator front gunicorn_settings worker""",
    "devserver.project": "team commands checks reloader",
}
# What is imported on first use only, so that whoever has no use for it needs no SDK.
ON_FIRST_USE = {"gaesignals.mailbox.current": "gaesignals.stores.app_engine"}

GOOGLE = {
    "gaesignals": {
        "request",
        "stores.app_engine",
        "tasks.app_engine",
        "tasks.census",
        "tasks.cloud_tasks",
        "appyaml.sdk",
    },
    "worker": {"access.keys", "access.tokens", "access.callers", "main"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def name_in(package: str, path: Path) -> str:
    """The module's name inside `package`: `format.page`."""
    return dotted(path).removeprefix(f"{package}.")


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


def places(package: str) -> dict[str, int]:
    """The line of `LAYERS` in which each folder and module of the top level stands."""
    return {name: number for number, line in enumerate(LAYERS[package].split("\n")) for name in line.split()}


ALL = [path for package in LAYERS for path in modules(package) if path.stem != "__init__"]


@pytest.mark.parametrize("path", ALL, ids=dotted)
def test_a_module_imports_only_from_layers_above_its_own(path: Path) -> None:
    package, own, *_ = dotted(path).split(".")
    order = places(package)
    assert own in order, "say in which layer the new module stands"
    for name in imports(path):
        found = name.split(".")
        if found[0] == package and len(found) > 1 and found[1] in order and found[1] != own:
            assert order[found[1]] < order[own] or ON_FIRST_USE.get(dotted(path), " ") in name, name


@pytest.mark.parametrize("path", [path for path in ALL if dotted(path.parent) in FOLDERS], ids=dotted)
def test_a_module_imports_only_from_those_before_it_in_its_folder(path: Path) -> None:
    folder = dotted(path.parent)
    order = FOLDERS[folder].split()
    assert path.stem in order, "say where the new module stands"
    for name in imports(path):
        if name.startswith(f"{folder}."):
            found = name.removeprefix(f"{folder}.").split(".")[0]
            assert found not in order or order.index(found) < order.index(path.stem), name


@pytest.mark.parametrize(("package", "unknown"), [("gaesignals", {"worker", "devserver"}), ("worker", {"devserver"})])
def test_a_package_does_not_know_those_that_are_built_on_it(package: str, unknown: set[str]) -> None:
    names = {name.split(".")[0].removeprefix("gaesignals_") for path in modules(package) for name in imports(path)}
    assert not names & (unknown | {"examples", "tests"})


@pytest.mark.parametrize("path", [*modules("worker"), *modules("devserver")], ids=dotted)
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


@pytest.mark.parametrize("package", LAYERS)
def test_modules_are_under_three_hundred_lines(package: str) -> None:
    assert not [str(path) for path in modules(package) if len(path.read_text().splitlines()) >= 300]


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name.count(".") == 1])
def test_how_it_works_has_every_folder(folder: str) -> None:
    assert f"`{folder.replace('.', '/')}/`" in (ROOT / "docs" / "how-it-works.md").read_text()


@pytest.mark.parametrize("package", LAYERS)
def test_nothing_reads_the_environment_while_it_is_imported(package: str) -> None:
    for path in modules(package):
        if path.stem in ("main", "__main__"):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
                continue
            names = {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
            assert not names & {"environ", "getenv"}, f"{path}: {ast.unparse(node)}"
