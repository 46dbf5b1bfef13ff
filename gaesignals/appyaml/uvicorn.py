"""What a command line starts uvicorn with: the app that it serves."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def app_of(command: str) -> str | None:
    """The `module:app` that `command` starts uvicorn with; None if it starts something else, or a factory."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if not any(PurePosixPath(word).name == "uvicorn" for word in words) or "--factory" in words:
        return None
    return next((word for word in words if _APP.fullmatch(word)), None)
