"""Only the newest counts: which waiting messages a newer one takes the place of."""

from __future__ import annotations

from collections.abc import Sequence

from gaesignals.values import replace

from .entries import Entry, Record
from .inline import joined
from .latest import Latest
from .page import Page


def newest(outgoing: Sequence[tuple[str, Record]]) -> Sequence[tuple[str, Record]]:
    """What is left of the messages of one send: of those of a name of which only the newest counts, the last."""
    last = {name: record.id for name, record in outgoing if record.is_latest}
    if not last:
        return outgoing
    return [(name, record) for name, record in outgoing if not record.is_latest or last[name] == record.id]


def without_replaced(page: Page, latest: Latest) -> tuple[Page, tuple[Entry, ...]]:
    """The page without the inline messages that `latest` takes the place of, and those.

    What is being handled, is to be retried or is sealed stays, so that no change is missed. A full page stays as it is:
    whoever read it may be about to seal it, and a sealed segment has one possible content. So does one whose messages
    cannot be read.
    """
    if page.is_full:
        return page, ()
    parts, entries = page.messages.split(), page.messages.decoded()
    if len(parts) != len(entries):
        return page, ()
    replaced = tuple(entry for entry in entries if entry.latest is not None and latest.replaces(entry.latest))
    kept = [part for part, entry in zip(parts, entries, strict=True) if entry not in replaced]
    return replace(page, messages=joined(kept)), replaced
