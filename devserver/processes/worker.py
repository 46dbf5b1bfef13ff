"""The worker's app, from the package that a wheel has it in: `gaesignals_worker`.

In a checkout it lies in a directory `worker`, and modules of a team's own, which come first on the path, may be called
that: so it is loaded from there under the name of the wheel.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from ..place import CHECKOUT

PACKAGE = "gaesignals_worker"


def _load_from(directory: Path) -> None:
    spec = importlib.util.spec_from_file_location(PACKAGE, directory / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACKAGE])


if CHECKOUT is not None:
    _load_from(CHECKOUT / "worker")
app = importlib.import_module(f"{PACKAGE}.main").app
