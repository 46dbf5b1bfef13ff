"""What has to be right for the local cloud to start; what is not is a ConfigError of one line."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..cron.config import CronJob, load_cron
from ..errors import ConfigError
from ..processes.child import Command
from ..tasks.config import load_queues
from . import preflight
from .commands import Services

Loaded = TypeVar("Loaded")


def check_files(services: Services) -> list[CronJob]:
    """Read cron.yaml and queue.yaml; return the jobs."""
    root = services.options.root
    queues = _load(root / "queue.yaml", load_queues)
    queue = services.team.queue
    if queue not in queues:
        raise ConfigError(f"queue.yaml has no queue {queue!r}, which the worker uses; SIGNALS_QUEUE names it")
    return _load(root / "cron.yaml", load_cron)


def _load(path: Path, read: Callable[[str], Loaded]) -> Loaded:
    try:
        return read(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path.name} in {path.parent}; `gaesignals check` says what has to be in it"
        ) from None
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


class AppCheck:
    """Imports an app in a process of its own; `close` it.

    `command` is a preflight's, `origin` what names the app: an option of the command line, or a line of a file.
    """

    def __init__(self, command: Command, *, origin: str) -> None:
        self._name = command.name
        self._origin = origin
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # see close
        self._process = subprocess.Popen(
            command.arguments,
            env=dict(command.environ),
            cwd=command.directory,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def is_done(self) -> bool:
        """Whether the import has ended."""
        return self._process.poll() is not None

    def raise_problem(self) -> None:
        """Raise ConfigError if the import failed."""
        code = self._process.wait()
        if code == 0:
            return
        self._output.seek(0)
        lines = [line.strip() for line in self._output if line.strip()]
        for line in reversed(lines):
            if line.startswith(preflight.VERDICT):
                raise ConfigError(f"{line.removeprefix(preflight.VERDICT)} ({self._origin})")
        last = lines[-1] if lines else "it said nothing"
        raise ConfigError(f"{self._name} ends the process that imports it, with {code}: {last} ({self._origin})")

    def close(self) -> None:
        """End the import if it has not ended."""
        self._process.kill()
        self._process.wait()
        self._output.close()
