"""A page of the receivers, of which a project may have thousands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .status import ReceiverStatus

MAX_RECEIVERS = 100


@dataclass(frozen=True, slots=True)
class Row:
    """A receiver, and the mark that a link leads to: the first of those that share an id has it."""

    status: ReceiverStatus
    mark: str


@dataclass(frozen=True, slots=True)
class ReceiverRows:
    """Some of the `count` receivers that were looked for; `first` and `last` count from 1.

    `before` and `after` are where the pages around this one begin, None where there are none.
    """

    rows: tuple[Row, ...]
    first: int
    last: int
    count: int
    before: int | None
    after: int | None


def mark_of(id: str) -> str:
    """What the row of a receiver is found by on its page."""
    return f"receiver-{id}"


def receiver_rows(receivers: Sequence[ReceiverStatus], *, search: str, start: int, id: str) -> ReceiverRows:
    """The page that has the receiver `id`, else the one that `start` (from 0) is on, or the last.

    Of all whose id or name has `search` in it. Where they need several pages, those that failed come first.
    """
    found = [each for each in receivers if search in each.receiver.id or search in str(each.receiver.template)]
    if len(found) > MAX_RECEIVERS:
        found.sort(key=lambda each: not each.statistics.failed)
    start = next((place for place, each in enumerate(found) if each.receiver.id == id), start)
    start = min(start, max(0, len(found) - 1)) // MAX_RECEIVERS * MAX_RECEIVERS
    shown = found[start : start + MAX_RECEIVERS]
    last = start + len(shown)
    return ReceiverRows(
        tuple(_rows(shown)),
        start + bool(shown),
        last,
        len(found),
        start - MAX_RECEIVERS if start else None,
        last if last < len(found) else None,
    )


def _rows(shown: Sequence[ReceiverStatus]) -> Iterator[Row]:
    marked: set[str] = set()
    for each in shown:
        id = each.receiver.id
        yield Row(each, "" if id in marked else mark_of(id))
        marked.add(id)
