"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# Once a test has used gRPC, its handlers ran in every process that a later test forked: one that the supervisor starts
# printed "epoll_wait error: Bad file descriptor", and hung. Read when gRPC is used first.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# Runs pytest inside pytest.
pytest_plugins = ["pytester"]

# The same examples on every run and machine, however slow: a failure is the change's, and it stays until it is fixed.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
