"""A screenful of names out of the thousands that a look reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .inspector import MAX_SORTED
from .status import Names, NameStatus

MAX_ROWS = 12


@dataclass(frozen=True, slots=True)
class Rows:
    """Some of the names, the busiest of those that were read first.

    `first` and `last` count from 1 over all names, of which there are `names_count`. `before` and `after` are the page
    and the place on it where the rows around these begin, None where there are none.
    """

    names: tuple[NameStatus, ...]
    first: int
    last: int
    names_count: int
    before: tuple[int, int] | None
    after: tuple[int, int] | None


def rows(names: Sequence[NameStatus], mailbox: Names, *, start: int, page: int) -> Rows:
    """The rows of `names` from `start` on, counted from 0; the last ones if there are not so many.

    They are of a look at `mailbox`. Over several pages nobody knows which names have receivers, so all are counted.
    """
    start = min(start, max(0, len(names) - 1)) // MAX_ROWS * MAX_ROWS
    shown = tuple(names[start : start + MAX_ROWS])
    offset = (page - 1) * MAX_SORTED + start
    before = (page, start - MAX_ROWS) if start else (page - 1, MAX_SORTED) if page > 1 else None
    has_more = start + MAX_ROWS < len(names)
    after = (page, start + MAX_ROWS) if has_more else (page + 1, 0) if page < mailbox.pages else None
    everything = len(mailbox.names) + len(mailbox.unmatched) + mailbox.omitted
    names_count = len(names) if mailbox.pages == 1 else everything
    return Rows(shown, offset + bool(shown), offset + len(shown), names_count, before, after)
