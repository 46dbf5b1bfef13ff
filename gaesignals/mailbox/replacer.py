"""Forgetting messages that newer ones have replaced: what the old ones had besides their place in a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gaesignals.format.entries import Entry, refs_of
from gaesignals.format.keys import bundle_key
from gaesignals.stores.client import Connection

from .safety import Safety


class Replacer:
    """Deletes bodies, and the tasks of durable messages, a call each where there are any. Safe in threads.

    `tell` is called with the names of the messages, one for each.
    """

    def __init__(self, connection: Connection, safety: Safety, tell: Callable[[Sequence[str]], None]) -> None:
        self._connection = connection
        self._safety = safety
        self._tell = tell

    def forget(self, replaced: Sequence[tuple[str, Entry]]) -> None:
        """Forget messages, pairs of a name and an entry, that are in no page any more.

        Where that fails nothing is lost: bodies expire, and a task finds out that its page is done with.
        """
        if not replaced:
            return
        entries = [entry for _, entry in replaced]
        self._connection.delete([bundle_key(ref.key) for ref in refs_of(entries)])
        self._safety.release_tasks(entry.latest.safety for entry in entries if entry.latest and entry.latest.safety)
        self._tell([name for name, _ in replaced])
