"""The worker's app, under the name that its package has in a wheel: `gaesignals_worker`.

Here it lies in a directory `worker`, and modules of a team's own, which come first on the path, may be called that.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGE = "gaesignals_worker"
_DIRECTORY = Path(__file__).resolve().parent.parent / "worker"


def _name_package() -> None:
    spec = importlib.util.spec_from_file_location(
        PACKAGE, _DIRECTORY / "__init__.py", submodule_search_locations=[str(_DIRECTORY)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACKAGE])


_name_package()
app = importlib.import_module(f"{PACKAGE}.main").app
