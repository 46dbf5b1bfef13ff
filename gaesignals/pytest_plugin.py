"""The pytest plugin: a fixture `signals`, for tests that ask for it. It changes nothing for others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import SignalsFixture


@pytest.fixture
def signals() -> Iterator[SignalsFixture]:
    """Signals of this test alone: `sent`, `drain`, `advance`, `waiting`, `dead`. Needs no App Engine and no SDK."""
    # Imported on first use, since pytest loads the plugin for every test run in this environment.
    from .testing import SignalsFixture

    with SignalsFixture() as fixture:
        yield fixture
