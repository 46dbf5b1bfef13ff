"""Where the local cloud lies: in a checkout, as `devserver` beside `worker`, or installed, as `gaesignals_devserver`.

Both names are this package's own; modules run by name are named after the one it has.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = __name__.partition(".")[0]
# What has to be importable in every process; an installed package is so already. None if it is installed.
CHECKOUT = Path(__file__).resolve().parents[1] if PACKAGE == "devserver" else None
# How a person starts the local cloud.
PROGRAM = f"python -m {PACKAGE}" if CHECKOUT else "gaesignals local"


def module(name: str) -> str:
    """The full name of a module of this package."""
    return f"{PACKAGE}.{name}"
