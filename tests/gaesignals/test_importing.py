"""What `import gaesignals` costs a service that only sends: the modules that it loads, which take time and memory."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Its own, and those of its dependencies that every message needs: CBOR, and the API of OpenTelemetry.
PACKAGES = {"gaesignals", "cbor2", "opentelemetry", "typing_extensions"}
# What is loaded by whoever uses it: the SDK and its tasks, other stores, the worker, Django's tasks, tests.
LATER = {
    "gaesignals.cli",
    "gaesignals.integrations",
    "gaesignals.pytest_plugin",
    "gaesignals.stores.app_engine",
    "gaesignals.stores.memory",
    "gaesignals.stores.valkey",
    "gaesignals.tasks.app_engine",
    "gaesignals.tasks.cloud_tasks",
    "gaesignals.testing",
    "opentelemetry.sdk",
    "worker",
}


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The modules that importing the package adds to those of a Python that has just started."""
    program = (
        "import sys, json\n"
        "before = set(sys.modules)\n"
        "import gaesignals\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_importing_it_loads_no_package_that_not_every_message_needs(loaded: set[str]) -> None:
    packages = {name.partition(".")[0] for name in loaded}
    assert packages - sys.stdlib_module_names - PACKAGES == set()


def test_importing_it_loads_nothing_of_what_only_some_use(loaded: set[str]) -> None:
    assert loaded & LATER == set()


def test_the_modules_that_are_not_to_be_loaded_are_all_there_is_of_that_name() -> None:
    program = f"import importlib.util; assert all(map(importlib.util.find_spec, {sorted(LATER)!r}))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
