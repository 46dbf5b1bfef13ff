"""The built packages, and an environment that has the wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from .installed import IS_FRESH, Installed, build, install


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(built[1], tmp_path_factory.mktemp("installed"), is_fresh=IS_FRESH)
