"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# Runs pytest inside pytest.
pytest_plugins = ["pytester"]

# The same examples on every run and machine, however slow: a failure is the change's, and it stays until it is fixed.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
