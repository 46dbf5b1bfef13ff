"""Dead letters: messages that failed too often, kept until a person requeues or drops them.

Each name has one page with its newest hundred, or another number, which does not expire; one small index lists the
names. Both live in memcache, which may forget them: a team that must not lose them keeps them in a database from
`Receivers(on_dead=...)`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from gaesignals.errors import StoreError
from gaesignals.format.entries import Record, entries_from_bytes
from gaesignals.format.keys import DEAD_NAMES, bundle_key, dead_key
from gaesignals.format.letter import KEPT_LETTERS, DeadLetter, DeadNames, DeadPage
from gaesignals.stores.client import Connection, Seen, decoded
from gaesignals.stores.store import Outcome, Write

from .box import Mailbox
from .bundles import Bundle, bundle

logger = logging.getLogger("gaesignals")

_EMPTY_TTL_SECONDS = 300
_MAX_ATTEMPTS = 30
_MAX_FAILURES = 3


class Change:
    """A change of dead pages and of their index, each pass one read and one write."""

    def __init__(self, connection: Connection, change: Callable[[str, DeadPage], DeadPage]) -> None:
        self._connection = connection
        self._change = change
        self._counts: dict[str, int] = {}
        self._garbage: dict[str, set[bytes]] = {}

    def run(self, names: Iterable[str]) -> frozenset[str]:
        """Make the change; return the names for which it is not certain that it is stored, and in the index."""
        all_names = frozenset(names)
        todo = set(all_names)
        failures = 0
        is_listed = False
        for _ in self._connection.attempts(_MAX_ATTEMPTS):
            outcomes = self._pass(all_names, todo)
            is_listed = outcomes.get(DEAD_NAMES) is Outcome.STORED
            todo -= {name for name in todo if outcomes.get(dead_key(name)) is Outcome.STORED}
            failures += Outcome.FAILED in outcomes.values() or len(outcomes) <= len(todo)
            if (is_listed and not todo) or failures >= _MAX_FAILURES:
                break
        self._connection.delete({key for name in all_names - todo for key in self._garbage[name]})
        return frozenset(todo) if is_listed else all_names

    def _pass(self, names: Collection[str], todo: Collection[str]) -> dict[bytes, Outcome]:
        """Change the pages of `todo`, and count all: where the index was lost to somebody else, so may the counts."""
        reads = self._connection.gets([*map(dead_key, names), DEAD_NAMES])
        writes: list[Write] = []
        for name in names:
            key = dead_key(name)
            seen = decoded(key, reads[key], DeadPage.from_bytes)
            if not seen.is_writable:
                continue
            before = seen.value or DeadPage()
            after = self._change(name, before) if name in todo else before
            self._counts[name] = len(after.letters)
            if name not in todo:
                continue
            # A body that an attempt before would have let go, and lost, is none if it is kept now.
            self._garbage[name] = (self._garbage.get(name, set()) | before.bodies) - after.bodies
            writes.append(seen.replaced_by(key, after, ttl_seconds=0 if after.letters else _EMPTY_TTL_SECONDS))
        index = decoded(DEAD_NAMES, reads[DEAD_NAMES], DeadNames.from_bytes)
        if index.is_writable:
            known = index.value or DeadNames()
            writes.append(index.replaced_by(DEAD_NAMES, known.with_counts(self._counts)))
        return self._connection.write(writes)


class DeadLetters:
    """What a person does with the dead letters of a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def names(self) -> dict[str, int]:
        """How many dead letters each name has. Raises `StoreError` if memcache does not answer."""
        return dict(_value(self._mailbox.read([DEAD_NAMES], DeadNames.from_bytes)[DEAD_NAMES], DeadNames()).counts)

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
            replace(record, attempt=1, not_before_ms=0, error="", due_ms=now_ms, held_ms=0)
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

        if Change(self._mailbox, without).run([name]):
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


_INLINE_BYTES = 2048
_MAX_FAILURES = 3


def bury(connection: Connection, letters: Mapping[str, Sequence[DeadLetter]], *, most: int = KEPT_LETTERS) -> Set[str]:
    """Store the letters of each name, in place of earlier ones for the same message and receivers.

    A name keeps its newest `most`; how many others go is logged. Returns the names whose letters may not be stored:
    their messages must not be acknowledged then.
    """
    bodies: dict[str, Bundle] = {}
    compact = {
        name: [_compact(connection, letter, bodies) for letter in group[-most:]] for name, group in letters.items()
    }
    gone: dict[str, int] = {}

    def with_letters(name: str, page: DeadPage) -> DeadPage:
        after = page.with_letters(compact[name], most=most)
        same = sum(any(old.is_same(new) for new in compact[name]) for old in page.letters)
        gone[name] = len(page.letters) - same + len(letters[name]) - len(after.letters)
        return after

    unwritten = _write_bodies(connection, bodies.values())
    whole = {
        name
        for name, group in compact.items()
        if not any(letter.body and bundle_key(letter.body.key) in unwritten for letter in group)
    }
    stored: frozenset[str] = frozenset(whole)
    if whole:
        stored -= Change(connection, with_letters).run(whole)
    for name in sorted(stored):
        if gone[name]:
            fields = {"signals_name": ascii(name), "signals_count": gone[name]}
            logger.warning("dead letters are forgotten to make room for newer ones", extra=fields)
    return compact.keys() - stored


def _compact(connection: Connection, letter: DeadLetter, bodies: dict[str, Bundle]) -> DeadLetter:
    """A letter with a large payload refers to a body, the same for all letters of its message that are buried at once.

    The key is new: whoever has just taken out an earlier letter of the message may be about to delete its body.
    """
    if letter.record.size <= _INLINE_BYTES:
        return letter
    if letter.id not in bodies:
        bodies[letter.id] = bundle(f"dead.{connection.new_id()}", [letter.record])
    return replace(letter, record=replace(letter.record, payload=b""), body=bodies[letter.id].ref)


def _write_bodies(connection: Connection, bodies: Iterable[Bundle]) -> frozenset[bytes]:
    """Write `bodies`; return the keys of those that memcache did not store."""
    todo = {body.key: replace(body.write(connection.now_ms()), ttl_seconds=0) for body in bodies}
    for _ in connection.attempts(_MAX_FAILURES):
        if not todo:
            break
        outcomes = connection.write(list[Write](todo.values()))
        todo = {key: write for key, write in todo.items() if outcomes[key] is not Outcome.STORED}
    return frozenset(todo)
