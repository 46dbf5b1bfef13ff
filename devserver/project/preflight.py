"""Imports an app as gunicorn will, and says in one line what is wrong if that fails.

It is a process of its own, `python -m devserver.preflight MODULE:NAME`: what an app does when imported stays there.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from gaesignals.errors import SignalsError

from ..processes.lifeline import ignore_interrupts

# Marks the line among all that an app may print while it is imported.
VERDICT = "preflight: "


def problem_with(path: str) -> str | None:
    """Import `path`, a `package.module:attribute`; return what is wrong with it, None if nothing is.

    A factory, `package.module:make()`, is looked for and not called.
    """
    module_name, _, attribute = path.partition("(")[0].partition(":")
    try:
        module = importlib.import_module(module_name)
    except SignalsError as error:
        return str(error)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            return f"there is no module {module_name}"
        return f"{module_name} cannot be imported: {error}{_place(error)}"
    except Exception as error:  # noqa: BLE001  # whatever an app's own code raises is what is to be reported
        return f"{module_name} cannot be imported: {type(error).__name__}: {error}{_place(error)}"
    return None if hasattr(module, attribute) else f"the module {module_name} has no {attribute}"


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one app."""
    ignore_interrupts()
    (path,) = sys.argv[1:] if arguments is None else arguments
    problem = problem_with(path)
    if problem is None:
        return 0
    print(f"{VERDICT}{' '.join(problem.split())}", flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
