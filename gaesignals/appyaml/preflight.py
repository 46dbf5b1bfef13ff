"""Looks at an application in a process of its own, which says in one line of JSON what it found.

What an application's modules do when they are imported stays in that process. Run by itself, `python -m
gaesignals.appyaml.preflight MODULE:NAME` imports an app as gunicorn will, and says what is wrong if that fails.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaesignals.errors import SignalsError

# Marks the line among all that modules may print while they are imported.
VERDICT = "preflight: "


class Preflight:
    """A process that runs `arguments`, with `asked` on its standard input; `close` it.

    Its output goes to a file and to no pipe: a process that the modules leave behind would hold a pipe open.
    """

    def __init__(
        self, arguments: Sequence[str], *, environ: Mapping[str, str], directory: Path, asked: str = ""
    ) -> None:
        self._output = _file()
        with _file() as standard_input:
            standard_input.write(asked)
            standard_input.seek(0)
            self._process = subprocess.Popen(
                arguments,
                env=dict(environ),
                cwd=directory,
                stdin=standard_input,
                stdout=self._output,
                stderr=subprocess.STDOUT,
            )

    @property
    def is_done(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def verdict(self, *, within_seconds: float | None = None) -> dict[str, Any] | str:
        """Wait for the verdict; in place of it, how the process ended if it said none.

        subprocess.TimeoutExpired after `within_seconds`.
        """
        code = self._process.wait(within_seconds)
        self._output.seek(0)
        lines = [line.strip() for line in self._output if line.strip()]
        for line in reversed(lines):
            if line.startswith(VERDICT):
                verdict: dict[str, Any] = json.loads(line.removeprefix(VERDICT))
                return verdict
        return f"exit code {code}: {lines[-1] if lines else 'it said nothing'}"

    def close(self) -> None:
        """End the process if it has not ended."""
        self._process.kill()
        self._process.wait()
        self._output.close()


def _file() -> Any:
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


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


def main() -> None:
    """Look at one app, and end, whatever threads its modules have started."""
    # Whoever started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    problem = problem_with(sys.argv[1])
    sys.stdout.write(f"\n{VERDICT}{json.dumps({'problems': [problem] if problem else []})}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
