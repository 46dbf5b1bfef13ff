"""The messages that one send has for one name, and how far they have come."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import replace

from gaesignals.format.entries import Entry, Record
from gaesignals.format.inline import NOTHING, Inline
from gaesignals.format.keys import page_key, slot_key, slot_of
from gaesignals.format.page import Page
from gaesignals.format.replacing import without_replaced
from gaesignals.format.rescue import Place
from gaesignals.format.slot import Slot
from gaesignals.format.wake import promise

from .bundles import Bundle
from .cover import Cover


class Stage(enum.Enum):
    PAGE = "the page is still to be written"
    LANE = "the messages are in a lane, which the home page may not have any more"
    SLOT = "the messages are in the page, the name may not be in the index"
    DONE = "stored and indexed"
    FAILED = "not stored"
    UNSURE = "perhaps stored"


OPEN = (Stage.PAGE, Stage.LANE, Stage.SLOT)


class Parcel:
    """The messages of one send for one name, and how far they have come.

    `records` are the messages as they are stored, durable ones with the names of their tasks, which `cover` adds: None
    where none is durable. `gather_ms` is how long a task that wakes the worker waits for more, None if none wakes it;
    it is to come at `task_ms`. Of messages of which only the newest counts, they take the place of what `latest` says,
    as long as they `may_replace`: until their page is planned for the first time. `outdated` are the messages that the
    last plan takes the place of, `replaced` those whose place a write that was stored has taken.

    `lane` is the one wanted, `target` the one last written to: the home page where the name is narrower than `lane`.
    `next_lane` is the one wanted if that write is lost. `width`, `hot_ms` and `is_hot` are the home page's as it was
    read for it, at `planned_ms`. `page` is the one to write to, under `key`; `new_epoch` is that of a new one, at every
    attempt. `packed` are the records that `entries` were made of. It `is_written` while a write of its page is on its
    way, or what became of it has still to be found out; it `is_refused` where the queue took no task for its durable
    messages.

    What has not happened yet stands in the class.
    """

    stage: Stage = Stage.PAGE
    entries: Inline = NOTHING
    bundles: tuple[Bundle, ...] = ()
    width: int = 1
    hot_ms: int = 0
    is_hot: bool = False
    planned_ms: int = 0
    next_lane: int | None = None
    target: int = 0
    losses: int = 0
    is_touching: bool = False
    is_written: bool = False
    page: Page | None = None
    new_epoch: str = ""
    packed: Sequence[Record] = ()
    task_ms: int | None = None
    is_refused: bool = False
    outdated: tuple[Entry, ...] = ()
    replaced: tuple[Entry, ...] = ()
    reason: str = ""

    def __init__(self, name: str, records: Sequence[Record], lane: int, *, may_replace: bool = False) -> None:
        self.name = name
        self.records = records
        self.lane = lane
        self.may_replace = may_replace
        self.home_key = self.key = page_key(name)
        self.slot_key = slot_key(slot_of(name))
        is_durable = False
        latest = gather_ms = None
        for record in records:
            is_durable = is_durable or record.safety is not None
            if record.is_latest and latest is None:
                latest = record.latest
            if record.wake_ms is not None and (gather_ms is None or record.wake_ms < gather_ms):
                gather_ms = record.wake_ms
        self.cover = Cover(name, records) if is_durable else None
        self.latest, self.gather_ms = latest, gather_ms

    @property
    def is_plain(self) -> bool:
        """Whether its messages are not durable, and each of them counts."""
        return self.cover is None and self.latest is None

    @property
    def counts_losses(self) -> bool:
        """Whether a loss counts for doubling the width: one at a wide name that has cooled only heats it again."""
        return self.is_hot or self.width == 1

    @property
    def place(self) -> Place | None:
        """Where the messages are put, as long as the page is the one that was read, or is added."""
        return None if self.page is None else Place(self.target, self.page.epoch, self.page.loss)

    def aim(self, home: Page | None, now_ms: int) -> None:
        """Choose the page to write to, by the home page as it was read."""
        self.planned_ms = now_ms
        self.width, self.hot_ms = (home.width, home.hot_ms) if home else (1, 0)
        self.is_hot = home is not None and home.is_hot(now_ms)
        self.target = self.lane if self.is_hot and self.lane < self.width else 0
        self.key = page_key(self.name, self.target) if self.target else self.home_key

    def has_to_list(self, page: Page, slot: Slot) -> bool:
        """Whether the name has to be listed in the call that writes `page`.

        What waits was listed by the sender of the first of it. But a reading is not one moment: the slot may have been
        read before the name was taken out, and the page after somebody had begun anew and not come as far as the slot.
        """
        if not slot.is_keeping(self.name, self.planned_ms):
            return True
        if self.width > 1:
            return False  # its home page keeps it in the index
        return not (page.is_waiting and slot.is_listed_since(self.name, page.listed_ms, self.planned_ms))

    def replacing(self, page: Page) -> Page:
        """The page without what the messages take the place of, in the first plan alone.

        Whatever is planned again may be older than what has come to the page since, and goes beside it.
        """
        self.outdated = ()
        if self.latest is not None and self.may_replace:
            page, self.outdated = without_replaced(page, self.latest)
        self.may_replace = False
        return page

    def promising(self, page: Page, filled: Page) -> Page:
        """`filled`, made of `page`, with what it promises of wake tasks if the messages want to be handled at once."""
        if self.gather_ms is None:
            return filled
        made = promise(
            page.wake_ms,
            is_second=page.is_wake_second,
            is_waiting=page.is_waiting,
            gather_ms=self.gather_ms,
            now_ms=self.planned_ms,
        )
        self.task_ms = made.task_ms
        return replace(filled, wake_ms=made.wake_ms, is_wake_second=made.is_second)

    def end(self, stage: Stage, reason: str = "") -> None:
        self.stage = stage
        self.reason = reason
