"""One process of the local cloud: started, listened to, ended."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """What a process runs, and where; `name` is what people call it."""

    name: str
    arguments: Sequence[str]
    environ: Mapping[str, str] = field(repr=False)
    directory: Path


class Child:
    """A process that was started from `command`; its end and each line it prints are told from threads.

    Make it in a thread that lives as long as the process. Its standard input is a pipe that nothing is written to: the
    child ends when that does, see `lifeline`.
    """

    def __init__(self, command: Command, *, tell: Callable[[str, str], None], ended: Callable[[Child], None]) -> None:
        self.name = command.name
        self._process = subprocess.Popen(
            command.arguments,
            env=dict(command.environ),
            cwd=command.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Before it has imported anything: Ctrl-C reaches the whole group, and the supervisor alone acts on it.
            preexec_fn=_ignore_ctrl_c,
        )
        self._reader = threading.Thread(target=self._read, args=(tell,), name=f"read {self.name}", daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, args=(ended,), name=f"wait for {self.name}", daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def outcome(self) -> str:
        """How it ended, for people."""
        code = self._process.poll()
        if code is None:
            return "it runs"
        return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def hang_up(self) -> None:
        """Tell it to load itself again, as gunicorn does."""
        self._process.send_signal(signal.SIGHUP)

    def end(self, *, within_seconds: float) -> bool:
        """Wait for its end; after that time, kill it and what it started. Whether it ended by itself."""
        try:
            self._process.wait(within_seconds)
            return True
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            # Whatever it has started loses its lifeline now, and its output ends when that is gone.
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._reader.join(within_seconds)

    def _read(self, tell: Callable[[str, str], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                tell(self.name, line.rstrip("\n"))

    def _wait(self, ended: Callable[[Child], None]) -> None:
        self._process.wait()
        ended(self)


def _ignore_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
