"""What a person does with messages that are to be retried: run them now, drop them, or make dead letters of them.

Such messages are in bundles that their page refers to. A bundle is written anew, with what becomes of the messages, and
one compare-and-set puts it in the place of the old one: a process that dies before has changed nothing, and one that
dies after it leaves nothing but a value that nobody refers to. A message that somebody has claimed meanwhile is left
alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from gaesignals.errors import StoreError
from gaesignals.format.entries import Record, Ref, entries_from_bytes
from gaesignals.format.keys import bundle_key
from gaesignals.format.letter import BURIED, KEPT_LETTERS, DeadLetter, DeadPage
from gaesignals.format.page import Page
from gaesignals.stores.client import Connection, Kind, Seen, State, decoded

from .box import Mailbox
from .bundles import bundle
from .dead.bury import bury
from .dead.pages import change
from .index.listing import list_names
from .index.unlisting import settle
from .lanes import read_pages
from .rewrite import PAGE, Fate, Plan, plan_page, rewrite

logger = logging.getLogger("gaesignals")

MAX_SEARCHED_BYTES: Final = 64_000_000
"""About what is read of the bundles to find messages by their ids, those that are due first at the beginning."""
_READ_BYTES: Final = 8_000_000
_MAX_ATTEMPTS: Final = 30
_UNKNOWN: Final = "the store failed, and it is not known whether the messages were changed; look before repeating it"

_Records: TypeAlias = tuple[Record, ...]
_Change: TypeAlias = Callable[[Record], Record | None]


def hasten(mailbox: Mailbox, name: str, ids: Collection[str]) -> frozenset[str]:
    """Have the retries of messages with these `ids` due now; return the ids of those that were there.

    Nothing else of them changes: neither attempts nor receivers. Raises `StoreError` where memcache fails.
    """

    def hastened(record: Record) -> Record:
        return replace(record, not_before_ms=min(record.not_before_ms, mailbox.now_ms()))

    changed = _apply(mailbox, _find(mailbox, name, ids), ids, hastened)
    changed.check()
    if changed.done:
        list_names(mailbox, {name: mailbox.now_ms()})
    return changed.ids()


def drop(mailbox: Mailbox, name: str, ids: Collection[str]) -> frozenset[str]:
    """Throw the retries of messages with these `ids` away, for good; return the ids of those that were there.

    What other receivers are to do with the messages, or have done, stays. Raises `StoreError` where memcache fails.
    """
    return _take_out(mailbox, name, _find(mailbox, name, ids), ids).ids()


def kill(mailbox: Mailbox, name: str, ids: Collection[str], *, most: int = KEPT_LETTERS) -> list[DeadLetter]:
    """Make dead letters of the retries of messages with these `ids`, of the `most` that a name keeps; return them.

    Each is stored before it is taken out of what is to be retried, so a failure in between leaves it in both. Raises
    `StoreError` where memcache fails.
    """
    found = _find(mailbox, name, ids)
    # One that was pushed out by the others would be gone.
    records = [record for record in found.records() if record.id in ids][:most]
    letters = [_letter(record, mailbox.now_ms()) for record in records]
    if letters and bury(mailbox, {name: letters}, most=most):
        raise StoreError("the store did not take the dead letters: the messages are to be retried as before")
    taken = _take_out(mailbox, name, found, {letter.id for letter in letters})
    done = {(record.id, record.receivers) for record in taken.done}
    _revive(mailbox, name, [letter for letter in letters if (letter.id, letter.receivers) not in done])
    return [letter for letter in letters if (letter.id, letter.receivers) in done]


@dataclass(frozen=True, slots=True)
class _Retries:
    """The pages of a name, and those of their bundles that have wanted messages."""

    pages: Mapping[bytes, Seen[Page]]
    bundles: Mapping[Ref, _Records]

    def records(self) -> Iterator[Record]:
        return (record for records in self.bundles.values() for record in records)


def _find(mailbox: Mailbox, name: str, ids: Collection[str]) -> _Retries:
    pages = read_pages(mailbox, [name])
    if any(not seen.is_writable for seen in pages.values()):
        raise StoreError("the store did not answer for the messages; nothing is changed")
    refs = [ref for seen in pages.values() if seen.value for ref in seen.value.retries]
    refs.sort(key=lambda ref: ref.not_before_ms)
    found: dict[Ref, _Records] = {}
    for group in _groups(refs):
        bundles = _read(mailbox, group)
        found |= {ref: records for ref, records in bundles.items() if any(record.id in ids for record in records)}
    return _Retries({address.key: seen for address, seen in pages.items()}, found)


def _groups(refs: Iterable[Ref]) -> Iterator[list[Ref]]:
    """The references in groups that can be read together, as far as they are within what is searched."""
    group: list[Ref] = []
    size = total = 0
    for ref in refs:
        total += ref.size
        if group and (size + ref.size > _READ_BYTES or total > MAX_SEARCHED_BYTES):
            yield group
            group, size = [], 0
            if total > MAX_SEARCHED_BYTES:
                return
        group.append(ref)
        size += ref.size
    if group:
        yield group


def _read(connection: Connection, refs: Sequence[Ref]) -> dict[Ref, _Records]:
    reads = connection.gets_sized({bundle_key(ref.key): ref.size for ref in refs})
    seen = {ref: decoded(bundle_key(ref.key), reads[bundle_key(ref.key)], entries_from_bytes) for ref in refs}
    if any(each.state is State.FAILED for each in seen.values()):
        raise StoreError("the store did not answer for the messages; nothing is changed")
    return {
        ref: tuple(record for record in each.value[: ref.count] if isinstance(record, Record))
        for ref, each in seen.items()
        if each.value
    }


def _apply(mailbox: Mailbox, found: _Retries, ids: Collection[str], change: _Change) -> _Replacing:
    replacing = _Replacing(mailbox, found, ids, change)
    rewrite(mailbox, replacing, attempts=_MAX_ATTEMPTS, seen=found.pages)
    mailbox.delete(replacing.garbage)
    return replacing


def _take_out(mailbox: Mailbox, name: str, found: _Retries, ids: Collection[str]) -> _Replacing:
    """Take messages out of what is to be retried, the pages first and then the tasks of durable ones."""
    replacing = _apply(mailbox, found, ids, lambda record: None)
    mailbox.safety.release(replacing.done)
    replacing.check()
    try:
        settle(mailbox, [name])
    except StoreError:
        logger.exception("a name could not be settled in the index; the worker does it later")
    return replacing


class _Replacing:
    """The planner that puts changed bundles in the place of those that were found.

    `done` are the records, as they were, of which it is certain that they are changed; `garbage` are the keys of the
    bundles that had them. A bundle that is not on its page any more was claimed, and is left alone.
    """

    def __init__(self, connection: Connection, found: _Retries, ids: Collection[str], change: _Change) -> None:
        self._connection = connection
        self._bundles = found.bundles
        self._ids = ids
        self._change = change
        self._todo = dict.fromkeys(found.pages, PAGE)
        self._replaced: dict[bytes, list[Ref]] = {}
        self._unsure: set[bytes] = set()
        self.done: list[Record] = []
        self.garbage: list[bytes] = []
        self._failed: set[bytes] = set()

    def ids(self) -> frozenset[str]:
        return frozenset(record.id for record in self.done)

    def check(self) -> None:
        """Raise `StoreError` if it is not certain what came of every message."""
        if self._failed:
            raise StoreError(_UNKNOWN)

    def wanted(self) -> Mapping[bytes, Kind[Page]]:
        return self._todo

    def plan(self, seen: Mapping[bytes, Seen[Any]]) -> Iterable[Plan]:
        for key, each in seen.items():
            page: Page | None = each.value
            refs = [ref for ref in page.retries if ref in self._bundles] if page else []
            if page and refs:
                yield self._with_changed(key, each, page, refs)
            elif each.state is State.NEWER or (each.is_writable and key in self._unsure):
                self.give_up(key, "")
            elif each.is_writable:
                del self._todo[key]

    def _with_changed(self, key: bytes, seen: Seen[Page], page: Page, refs: Sequence[Ref]) -> Plan:
        """The plan of the page with bundles anew, and without those of which nothing is left."""
        changed = [self._changed(self._bundles[ref]) for ref in refs]
        made = [bundle(self._connection.new_id(), records) for records in changed if records]
        new = {each.ref for each in made}
        kept = tuple(ref for ref in page.retries if ref not in refs)
        self._replaced[key] = list(refs)
        return plan_page(
            self._connection,
            key,
            seen,
            replace(page, retries=(*kept, *(each.ref for each in made))),
            [each.write(self._connection.now_ms()) for each in made],
            lambda stored: not new.isdisjoint(stored.retries),
        )

    def _changed(self, records: _Records) -> list[Record]:
        changed = (self._change(record) if record.id in self._ids else record for record in records)
        return [record for record in changed if record is not None]

    def learn(self, plan: Plan, fate: Fate) -> None:
        if fate is Fate.UNSURE:
            self._unsure.add(plan.key)
        if fate not in (Fate.STORED, Fate.FOUND):
            return
        for ref in self._replaced[plan.key]:
            self.done += [record for record in self._bundles[ref] if record.id in self._ids]
            self.garbage.append(bundle_key(ref.key))
        del self._todo[plan.key]

    def give_up(self, key: bytes, reason: str) -> None:
        self._failed.add(key)
        del self._todo[key]


def _letter(record: Record, died_ms: int) -> DeadLetter:
    """The letter of a message that was to be run once more: that attempt is not one of those that failed."""
    failed = max(1, record.attempt - 1)
    dead = replace(record, attempt=failed, not_before_ms=0, unknown_since_ms=0)
    return DeadLetter(dead, died_ms, f"{record.error}\n{BURIED}".strip())


def _revive(mailbox: Mailbox, name: str, letters: Sequence[DeadLetter]) -> None:
    """Take letters out of messages that somebody claimed before they were taken out of what is to be retried."""
    if not letters:
        return

    def without(_: str, page: DeadPage) -> DeadPage:
        return DeadPage(tuple(old for old in page.letters if not any(_is_same(old, each) for each in letters)))

    if change(mailbox, [name], without):
        logger.error("letters of messages that are being run could not be taken back")


def _is_same(old: DeadLetter, letter: DeadLetter) -> bool:
    return old.is_same(letter) and old.died_ms == letter.died_ms
