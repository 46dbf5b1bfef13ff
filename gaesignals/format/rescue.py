"""What a rescue task carries: messages, and where they were put, so that it can be seen whether they are still there.

Whether a task has to bring its messages is decided from what memcache has now, in one place and without a call.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gaesignals.data import codec
from gaesignals.errors import DecodeError
from gaesignals.values import value

from .entries import Record, is_count, is_id
from .page import MAX_WIDTH, Page

VERSION = 2
TICKET = "?"
"""In front of what stands for a task whose name did not come back; no name of a task begins so."""

# From this try on another `loss` counts as another page. One lost segment must not send a whole backlog again: what is
# handled until then, within an hour or so, was not lost.
TRIES_UNTIL_A_LOSS_COUNTS = 4


@value
class Place:
    """Where a message was put: a lane of its name, and the page's epoch and mark of losses as they were then."""

    lane: int
    epoch: str
    loss: str = ""


@value
class Rescue:
    """The messages of one task, pairs of a name and a record.

    `place` is None where they are in no page, or perhaps in none. One that `is_first` brings messages that were never
    in memcache, being for later or of a transaction. `ticket` stands for the task where its name does not come back.
    `died_ms` and `error` are those of a dead letter.
    """

    messages: tuple[tuple[str, Record], ...]
    place: Place | None = None
    is_first: bool = False
    ticket: str = ""
    died_ms: int = 0
    error: str = ""

    @property
    def marker(self) -> str:
        """What stands for the task where its name did not come back; empty if it has nothing that does."""
        return TICKET + self.ticket if self.ticket else ""

    @property
    def is_dead(self) -> bool:
        return self.died_ms > 0

    def to_bytes(self) -> bytes:
        options: dict[str, Any] = {}
        if self.place is not None:
            options["p"] = [self.place.lane, self.place.epoch, self.place.loss]
        if self.is_first:
            options["f"] = True
        if self.ticket:
            options["t"] = self.ticket
        if self.died_ms:
            options["d"] = [self.died_ms, self.error]
        # A task cannot know its own name.
        messages = [[name, replace(record, safety=None).to_wire()] for name, record in self.messages]
        return codec.seal(VERSION, [messages, options])

    @classmethod
    def from_bytes(cls, value: bytes) -> Rescue:
        """Raises `DecodeError`, and `NewerFormatError` for what a later version wrote."""
        match codec.unseal(value, version=VERSION):
            case [list(messages), dict(options)] if messages:
                return cls(tuple(_message(each) for each in messages), **_options(options))
        raise DecodeError("not a rescue task")


def _message(wire: object) -> tuple[str, Record]:
    match wire:
        case [str(name), record]:
            return name, Record.from_wire(record)
    raise DecodeError("not a message of a rescue task")


def _options(options: dict[Any, Any]) -> dict[str, Any]:
    ticket = options.get("t", "")
    if not isinstance(ticket, str):
        raise DecodeError("a rescue task whose ticket is none")
    known: dict[str, Any] = {"is_first": options.get("f") is True, "ticket": ticket}
    match options.get("p"):
        case None:
            pass
        case [int(lane), str(epoch), str(loss)] if 0 <= lane < MAX_WIDTH and is_id(epoch):
            known["place"] = Place(lane, epoch, loss)
        case _:
            raise DecodeError("a rescue task whose place is none")
    match options.get("d"):
        case None:
            pass
        case [int(died_ms), str(error)] if died_ms and is_count(died_ms):
            known |= {"died_ms": died_ms, "error": error}
        case _:
            raise DecodeError("a rescue task whose death is none")
    return known


class Duty(enum.Enum):
    """What a rescue task has to do. `KEPT`: its message may still be in its page, so the task comes again later."""

    DONE = "done"
    KEPT = "kept"
    SEND = "send"


def duty(place: Place | None, page: Page | None, *, tries: int) -> Duty:
    """Decide for messages put at `place`, from what its page is now; `tries` went before.

    The same page with something in it may still have them, and another try will see. One with nothing in it was emptied
    by deliveries, unless it lost something meanwhile. Any other page never had them.
    """
    if place is None or page is None or page.epoch != place.epoch:
        return Duty.SEND
    is_bare = not (page.is_waiting or page.leases or page.retries)
    if not is_bare:
        is_lost = page.loss != place.loss and tries + 1 >= TRIES_UNTIL_A_LOSS_COUNTS
        return Duty.SEND if is_lost else Duty.KEPT
    return Duty.DONE if page.loss == place.loss else Duty.SEND


def fill(messages: Sequence[tuple[str, Record]], *, max_bytes: int) -> list[Rescue]:
    """Spread messages that are in no page over as few tasks as hold them; one that is too large has one of its own."""
    rescues: list[Rescue] = []
    chunk: list[tuple[str, Record]] = []
    size = 0
    for name, record in messages:
        cost = record.size + len(name.encode()) + 10
        if chunk and size + cost > max_bytes:
            rescues.append(Rescue(tuple(chunk), is_first=True))
            chunk, size = [], 0
        chunk.append((name, record))
        size += cost
    if chunk:
        rescues.append(Rescue(tuple(chunk), is_first=True))
    return rescues
