"""Copies: durable messages that are there more than once, brought back though memcache had not lost them.

One copy is run: the one that was brought last, whose task is certainly there. The task of an earlier copy may have
ended when it brought the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gaesignals.format.entries import Record
from gaesignals.mailbox.load import Loaded

_Mark = tuple[str, str, tuple[str, ...]]


class Copies:
    """What one round has loaded, with each durable message once."""

    def __init__(self, loads: Iterable[Loaded]) -> None:
        self._known: dict[_Mark, list[Record]] = {}
        for loaded in loads:
            for _, record in loaded.items:
                if record.is_durable:
                    self._known.setdefault(_mark(loaded.claim.name, record), []).append(record)

    def chosen(self, name: str, record: Record) -> Record | None:
        """The record as it is to be run; None where another copy is.

        Attempts count whichever copy they were made with, and weak receivers see what they have not seen.
        """
        copies = self._known.get(_mark(name, record), ()) if self._known and record.is_durable else ()
        if len(copies) < 2:
            return record
        if record is not max(copies, key=lambda copy: copy.brought):
            return None
        return replace(
            record,
            attempt=max(copy.attempt for copy in copies),
            is_resent=all(copy.is_resent for copy in copies),
        )


def _mark(name: str, record: Record) -> _Mark:
    return name, record.id, record.receivers
