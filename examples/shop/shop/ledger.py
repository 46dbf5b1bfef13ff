"""What was handled: a counter for each name and the latest messages, in memcache, where both services see them.

Counts are exact however many handlers run at once. The list of the latest is only for show: under contention an entry
may be missing. As with everything in memcache, all of it may be gone at any time.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from google.appengine.api import memcache

from gaesignals import Message

NAMESPACE = "shop"
MAX_LATEST = 20
MAX_NAMES = 10_000
_NAMES = "names"
_LATEST = "latest"
_COUNT = "count:"
_TRIES = 50


class LedgerError(Exception):
    """Memcache did not take what was to be written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message that was handled; `data` is a short text."""

    id: str
    name: str
    data: str
    attempt: int
    handled_at: str

    @classmethod
    def of(cls, message: Message) -> Entry:
        """Make the entry for a message that is handled now."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return cls(message.id, message.name, short_text(message.data), message.attempt, now)


def short_text(data: Any) -> str:
    """Write data for people, at most 200 characters of it."""
    try:
        text = json.dumps(data, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(data)
    return text if len(text) <= 200 else f"{text[:199]}…"


def enter(name: str, entries: Sequence[Entry]) -> None:
    """Count `entries` of `name` and show them as the latest; LedgerError if they could not be counted."""
    count = memcache.incr(_COUNT + name, delta=len(entries), initial_value=0, namespace=NAMESPACE)
    if count is None:
        raise LedgerError(f"memcache did not count {name}")
    # A counter that has just begun belongs to a name that is new, or whose counter was evicted.
    if count == len(entries):
        note(name)
    newest_first = [asdict(entry) for entry in reversed(entries)]
    _change(_LATEST, lambda latest: [*newest_first, *latest][:MAX_LATEST])


def note(name: str) -> None:
    """Remember that `name` was sent to, so that what waits for it can be shown before anything was handled."""
    _change(_NAMES, lambda names: names if name in names else [*names, name][-MAX_NAMES:])


def names() -> list[str]:
    """The names that were sent to or handled, the newest last."""
    found: list[str] = json.loads(memcache.get(_NAMES, namespace=NAMESPACE) or "[]")
    return found


def handled() -> dict[str, Any]:
    """Return `{"counts": {name: number handled}, "latest": [...]}`, the newest first."""
    found = memcache.get_multi([_NAMES, _LATEST], namespace=NAMESPACE)
    names = json.loads(found.get(_NAMES, "[]"))
    counts = memcache.get_multi([_COUNT + name for name in names], namespace=NAMESPACE) if names else {}
    return {
        "counts": {name: int(counts[_COUNT + name]) for name in sorted(names) if _COUNT + name in counts},
        "latest": json.loads(found.get(_LATEST, "[]")),
    }


def _change(key: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """Replace the list under `key` by what `change` makes of it, if others let it."""
    for attempt in range(_TRIES):
        client = memcache.Client()
        text = client.gets(key, namespace=NAMESPACE)
        changed = json.dumps(change(json.loads(text or "[]")))
        if changed == text:
            return
        write = client.add if text is None else client.cas
        if write(key, changed, namespace=NAMESPACE):
            return
        time.sleep(random.uniform(0, 0.002 * (attempt + 1)))
