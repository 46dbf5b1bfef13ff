"""Tasks that carry names, as senders, the fan-out and deliveries write them and the worker reads them.

Such a task is no more than a hint to look. Whatever waits is in the index as well, so a task that is refused, lost,
repeated or late costs time and never a message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .queue import DELIVER_PATH, FILLED_BODY_BYTES, Task

MAX_NAMES_A_TASK: Final = 100
# A task brings in one more where it leaves something behind, that one too, and so on: this far.
MAX_SIBLINGS: Final = 99


@dataclass(frozen=True, slots=True)
class NamesTask:
    """Names for one task to deliver. `siblings` says how many more tasks it may bring in, None the usual number.

    `queue` is the queue that it goes to; empty for the one that the settings name. One that `is_handed_over` is
    delivered in whatever queue it arrives.
    """

    names: tuple[str, ...]
    siblings: int | None = None
    queue: str = ""
    is_handed_over: bool = False

    def body(self) -> bytes:
        fields: dict[str, object] = {"names": self.names}
        if self.siblings is not None:
            fields["siblings"] = self.siblings
        if self.is_handed_over:
            fields["handed_over"] = True
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    def task(self, *, queue: str, due: float | None = None) -> Task:
        """The task as it is added; `queue` is the one that the settings name."""
        return Task(queue=self.queue or queue, path=DELIVER_PATH, body=self.body(), due=due)


def tasks_for(
    names: Sequence[str],
    *,
    siblings: int | None = None,
    queue: str = "",
    is_handed_over: bool = False,
    max_bytes: int = FILLED_BODY_BYTES,
) -> list[NamesTask]:
    """Spread `names` over as few tasks as their number and their bytes allow."""
    return [NamesTask(chunk, siblings, queue, is_handed_over) for chunk in _chunks(names, max_bytes)]


def _chunks(names: Sequence[str], max_bytes: int) -> Iterator[tuple[str, ...]]:
    chunk: list[str] = []
    size = empty = len(NamesTask((), MAX_SIBLINGS, is_handed_over=True).body())
    for name in names:
        cost = len(json.dumps(name, ensure_ascii=False).encode()) + 1
        if chunk and (len(chunk) == MAX_NAMES_A_TASK or size + cost > max_bytes):
            yield tuple(chunk)
            chunk, size = [], empty
        chunk.append(name)
        size += cost
    if chunk:
        yield tuple(chunk)
