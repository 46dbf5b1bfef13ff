"""What a test's signals are kept by: a clock set by hand, and a mailbox and tasks that remember what was sent."""

from __future__ import annotations

import contextlib
import contextvars
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .errors import SendError
from .format.entries import Record
from .format.rescue import Rescue
from .mailbox.box import Mailbox
from .stores.memory import MemoryStore
from .tasks.memory import MemoryTasks
from .tasks.queue import RESCUE_PATH, Task


class MemoryNamespaces:
    """A current namespace for each thread and context, without App Engine."""

    def __init__(self, namespace: str = "") -> None:
        self._current = contextvars.ContextVar("namespace", default=namespace)

    def current(self) -> str:
        """Return the namespace of this context."""
        return self._current.get()

    @contextlib.contextmanager
    def using(self, namespace: str) -> Iterator[None]:
        """Make `namespace` the current one inside the `with` block."""
        token = self._current.set(namespace)
        try:
            yield
        finally:
            self._current.reset(token)


class ManualClock:
    """Seconds since 1970 that pass only by `advance`; call it where `time.time` would be called. Safe in threads."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass. May stand in for `time.sleep`."""
        with self._lock:
            self._now += seconds


class RecordingMailbox(Mailbox):
    """Remembers what was sent. A message that is stored again keeps its id, and was not sent again."""

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        self.memory_tasks = RecordingTasks(clock, self._remember)
        super().__init__(
            store,
            clock=clock,
            random=_LongestWait(),
            sleep=lambda _: None,
            namespaces=MemoryNamespaces(),
            tasks=self.memory_tasks,
        )
        self._sent: dict[str, tuple[str, Record]] = {}
        self._sent_lock = threading.Lock()

    def put(self, outgoing: Sequence[tuple[str, Record]], **how: Any) -> None:
        try:
            super().put(outgoing, **how)
        except SendError as error:
            self._remember([(name, record) for name, record in outgoing if record.id in error.stored])
            raise
        self._remember(outgoing)

    def _remember(self, stored: Sequence[tuple[str, Record]]) -> None:
        with self._sent_lock:
            for name, record in stored:
                self._sent.setdefault(record.id, (name, record))

    def sent_records(self) -> list[tuple[str, Record]]:
        with self._sent_lock:
            return list(self._sent.values())

    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.sent_records()))


class RecordingTasks(MemoryTasks):
    """Tells which messages were left to tasks, those of a transaction when it is committed."""

    def __init__(self, clock: ManualClock, remember: Callable[[Sequence[tuple[str, Record]]], None]) -> None:
        super().__init__(clock=clock, on_commit=_on_commit)
        self._remember = remember

    def on_added(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            if task.path == RESCUE_PATH and (found := Rescue.from_bytes(task.body)).is_first:
                self._remember(found.messages)


def _on_commit(function: Callable[[], None]) -> bool:
    if "google.appengine.api.datastore" not in sys.modules:
        return False
    # Only where the application uses Datastore: nothing here needs the SDK.
    from .tasks.app_engine import on_commit

    return on_commit(function)


class _LongestWait(random.Random):
    """Random but for spans of time, of which it takes the longest."""

    def uniform(self, a: float, b: float) -> float:
        return b
