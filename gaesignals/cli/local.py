"""`gaesignals local`: a team's project on this machine, with memcache, Cloud Tasks and cron.

The local cloud is a program of its own, which the library does not import. This finds it, and becomes it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from typing import Any

from .context import Context
from .errors import CommandError, ExitCode

# As a wheel has it, and as a checkout does.
_PACKAGES = ("gaesignals_devserver", "devserver")
# What the extra `local` brings; where one of them is missing, it was not asked for.
_NEEDED = ("flask", "grpc", "gunicorn", "pytz", "yaml", "google.cloud.tasks_v2")


def add(subparsers: Any) -> None:
    """Add the command. Its options are the local cloud's own, which has its own --help."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "local",
        help="run the services of a directory on this machine; --help lists the options",
        add_help=False,
        # Nothing looks like an option, so that everything is passed on as it is.
        prefix_chars="\0",
    )
    parser.set_defaults(run=run, json=False)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)


def run(options: argparse.Namespace, context: Context) -> ExitCode:
    """Become the local cloud; CommandError if it is not installed."""
    context.terminal.flush()
    os.execv(sys.executable, [sys.executable, "-m", _local_cloud(), *options.arguments])


def _local_cloud() -> str:
    missing = [name for name in _NEEDED if not _is_there(name)]
    package = next((name for name in _PACKAGES if _is_there(f"{name}.tasks.emulator")), None)
    if missing or package is None:
        lacks = f" ({', '.join(missing)} missing)" if missing else ""
        raise CommandError(f"the local cloud is not installed{lacks}; run: pip install 'gaesignals[local]'")
    return package


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        # A package that it would be in; or somebody has put none in its place.
        return False
