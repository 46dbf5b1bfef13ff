"""Dead letters: messages that failed too often, kept until a person requeues or drops them.

Each name has one page with its newest hundred, or another number, which does not expire; an index of sixteen pages
lists the names. Both live in memcache, which may forget them: a team that must not lose them keeps them in a database
from `Receivers(on_dead=...)`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import eq
from typing import Any

from gaesignals.errors import StoreError
from gaesignals.format.entries import Record, entries_from_bytes
from gaesignals.format.keys import DEAD_NAME_PAGES, bundle_key, dead_key, dead_names_key, dead_names_page_of
from gaesignals.format.letter import DeadLetter, DeadNames, DeadPage
from gaesignals.stores.client import Kind, Seen, decoded
from gaesignals.stores.store import Set

from .box import Mailbox
from .rewrite import Fate, Plan, rewrite

logger = logging.getLogger("gaesignals")

_EMPTY_TTL_SECONDS = 300
_MAX_ATTEMPTS = 30
_DEAD_PAGE = Kind(DeadPage.from_bytes)
_DEAD_INDEX = Kind(DeadNames.from_bytes)


class _ChangingPages:
    """The planner of a change of dead pages and then of the index, which says how many letters each of them has.

    A call is not one moment, so a page and its count are never written in one: somebody might count the page in
    between, and take a name out that has letters. A count is of a page as it was after the index was read that it is
    written to. So whoever changes a page later counts it later, too.

    A page that is as it was to become is not written again: somebody may take a letter out in between and delete its
    body. `missed` are the names for which it is not certain that the change is stored, and in the index.
    """

    def __init__(
        self,
        names: Iterable[str],
        change: Callable[[str, DeadPage], DeadPage],
        bodies: Mapping[str, Sequence[Set]],
    ) -> None:
        self._change = change
        self._bodies = bodies
        self._names = {dead_key(name): name for name in names}
        self._indexes: dict[bytes, list[bytes]] = {}
        for key, name in self._names.items():
            self._indexes.setdefault(dead_names_key(dead_names_page_of(name)), []).append(key)
        self._todo = set(self._names)
        self._unlisted = set(self._names)
        self._index_ids: dict[bytes, object] = {}
        self._counts: dict[bytes, int] = {}
        self._written: dict[bytes, int] = {}
        self._counted: dict[bytes, Collection[bytes]] = {}
        self._garbage: dict[bytes, set[bytes]] = {}
        self._tasks: dict[bytes, set[str]] = {}
        self._given_up: set[bytes] = set()

    @property
    def missed(self) -> frozenset[str]:
        return frozenset(self._names[key] for key in self._unlisted)

    def wanted(self) -> Mapping[bytes, Kind[Any]]:
        kinds: dict[bytes, Kind[Any]] = {}
        for index, pages in self._indexes.items():
            # Without its index there is nothing to do for a page.
            left = [key for key in pages if key in self._unlisted and not self._given_up & {key, index}]
            if left:
                kinds |= {key: _DEAD_PAGE for key in left if key not in self._counts} | {index: _DEAD_INDEX}
        return kinds

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        pages = {key: seen[key].value or DeadPage() for key in self._names if key in seen and seen[key].is_writable}
        yield from (self._changed(key, page, seen[key]) for key, page in pages.items() if key in self._todo)
        counts = {key: len(page.letters) for key, page in pages.items() if key not in self._todo}
        for index in self._indexes:
            if index in seen and seen[index].is_writable:
                yield from self._listing(index, seen[index], counts)

    def _changed(self, key: bytes, before: DeadPage, seen: Seen[DeadPage]) -> Plan:
        name = self._names[key]
        after = self._change(name, before)
        # A body that an attempt before would have let go, and lost, is none if it is kept now.
        bodies = self._garbage.get(key, set()) | before.bodies | {body.key for body in self._bodies.get(name, ())}
        self._garbage[key] = bodies - after.bodies
        self._tasks[key] = (self._tasks.get(key, set()) | before.tasks) - after.tasks
        self._written[key] = len(after.letters)
        ttl_seconds = 0 if after.letters else _EMPTY_TTL_SECONDS
        return Plan(key, seen, after, ttl_seconds, self._bodies.get(name, ()), is_mine=partial(eq, after))

    def _listing(self, index: bytes, seen: Seen[DeadNames], read: Mapping[bytes, int]) -> Iterable[Plan]:
        """List the pages that are done. Where the index has changed they are counted anew, by the next reading."""
        pages = self._indexes[index]
        if index not in self._index_ids or self._index_ids[index] != seen.cas:
            self._index_ids[index] = seen.cas
            for key in pages:
                self._counts.pop(key, None)
            return
        self._counts |= {key: read[key] for key in pages if key in read}
        counted = [key for key in pages if key in self._counts]
        if counted:
            self._counted[index] = counted
            counts = {self._names[key]: self._counts[key] for key in counted}
            yield Plan(index, seen, (seen.value or DeadNames()).with_counts(counts))

    def learn(self, plan: Plan, fate: Fate) -> None:
        if plan.key in self._indexes:
            if fate is Fate.STORED:
                self._unlisted.difference_update(self._counted[plan.key])
        elif fate in (Fate.STORED, Fate.FOUND):
            self._todo.discard(plan.key)
            self._counts[plan.key] = self._written[plan.key]

    def give_up(self, key: bytes, reason: str) -> None:
        self._given_up.add(key)

    def garbage(self) -> set[bytes]:
        """The bodies that no letter refers to any more, and those of new letters that have no place on their page."""
        return {body for key, bodies in self._garbage.items() if key not in self._todo for body in bodies}

    def tasks(self) -> set[str]:
        """The tasks of letters that are gone."""
        return {task for key, tasks in self._tasks.items() if key not in self._todo for task in tasks}


def change(
    mailbox: Mailbox,
    names: Iterable[str],
    change: Callable[[str, DeadPage], DeadPage],
    bodies: Mapping[str, Sequence[Set]] | None = None,
) -> frozenset[str]:
    """Make `change` on the dead pages of `names`; return those for which it is not certain that it is stored.

    `bodies` are written before the pages that refer to them.
    """
    changing = _ChangingPages(names, change, bodies or {})
    rewrite(mailbox, changing, attempts=_MAX_ATTEMPTS)
    mailbox.delete(changing.garbage())
    mailbox.safety.release_tasks(changing.tasks())
    return changing.missed


class DeadLetters:
    """What a person does with the dead letters of a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def names(self) -> dict[str, int]:
        """How many dead letters each name has. Raises `StoreError` if memcache does not answer."""
        keys = map(dead_names_key, range(DEAD_NAME_PAGES))
        pages = self._mailbox.read(keys, DeadNames.from_bytes).values()
        return {name: count for seen in pages for name, count in _value(seen, DeadNames()).counts.items()}

    def list(self, name: str) -> Sequence[DeadLetter]:
        """The dead letters of `name` with their payloads, oldest first. Raises `StoreError` as `names` does.

        A letter whose large payload was evicted comes with an empty one, which does not decode.
        """
        return self.with_payloads(self.peek(name))

    def peek(self, name: str) -> Sequence[DeadLetter]:
        """As `list`, in one call and without the large payloads."""
        key = dead_key(name)
        page: DeadPage = _value(self._mailbox.read([key], DeadPage.from_bytes)[key], DeadPage())
        return page.letters

    def with_payloads(self, letters: Iterable[DeadLetter]) -> Sequence[DeadLetter]:
        """The letters with the payloads that they only refer to."""
        chosen = tuple(letters)
        sizes = {bundle_key(letter.body.key): letter.body.size for letter in chosen if letter.body}
        reads = self._mailbox.gets_sized(sizes)
        payloads = {
            key: record.payload
            for key, read in reads.items()
            for record in decoded(key, read, entries_from_bytes).value or ()
            if isinstance(record, Record)
        }
        return [_with_payload(letter, payloads) for letter in chosen]

    def requeue(self, name: str, ids: Collection[str] | None = None, *, to_current: bool = False) -> int:
        """Send the letters with these message ids again, all if None, to the receivers that failed; return how many.

        With `to_current` to all receivers that the name has when they are delivered: for a receiver that was renamed or
        is gone, and those that were done with a message run once more. They start at attempt 1. They are sent first
        and taken out afterwards, so a failure in between repeats them. A letter whose payload was evicted stays.
        """
        wanted = [letter for letter in self.peek(name) if ids is None or letter.id in ids]
        records = [letter.record for letter in self.with_payloads(wanted)]
        chosen = [letter for letter, record in zip(wanted, records, strict=True) if record.payload]
        if not chosen:
            return 0
        now_ms = self._mailbox.now_ms()
        anew = [
            replace(
                record,
                attempt=1,
                not_before_ms=0,
                error="",
                # Never as before: if it dies again before its letter is taken out, the letters differ.
                due_ms=max(now_ms, record.due_ms + 1),
                unknown_since_ms=0,
                safety="" if record.is_durable else None,
            )
            for record in records
            if record.payload
        ]
        if to_current:
            # Of several letters of one message, any is the message itself.
            anew = list({record.id: replace(record, receivers=()) for record in anew}.values())
        self._mailbox.send_records([(name, record) for record in anew])
        self._take_out(name, chosen)
        return len(chosen)

    def drop(self, name: str, ids: Collection[str] | None = None) -> int:
        """Forget the letters with these message ids, all if None; return how many."""
        chosen = [letter for letter in self.peek(name) if ids is None or letter.id in ids]
        if chosen:
            self._take_out(name, chosen)
        return len(chosen)

    def _take_out(self, name: str, letters: Sequence[DeadLetter]) -> None:
        """Take these very letters out. A message that was requeued may have died again meanwhile: that one stays."""

        def without(_: str, page: DeadPage) -> DeadPage:
            return DeadPage(tuple(old for old in page.letters if old not in letters))

        if change(self._mailbox, [name], without):
            raise StoreError("memcache did not store a change of the dead letters; look at them before repeating it")


def _with_payload(letter: DeadLetter, payloads: Mapping[bytes, bytes]) -> DeadLetter:
    if letter.body is None:
        return letter
    payload = payloads.get(bundle_key(letter.body.key), b"")
    return replace(letter, record=replace(letter.record, payload=payload))


def _value(seen: Seen[Any], default: Any) -> Any:
    if not seen.is_writable:
        raise StoreError(f"the dead letters cannot be read ({seen.state.value}); try again")
    return seen.value or default
