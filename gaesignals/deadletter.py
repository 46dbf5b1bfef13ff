"""Dead letters: messages that failed too often, kept until a person requeues or drops them.

Each name has one page with its newest hundred, which does not expire; one small index lists the names. Both live in
memcache, which may forget them: a team that must not lose them keeps them in a database from `Receivers(on_dead=...)`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from . import codec
from .connection import Connection, Seen, decoded
from .errors import DecodeError, StoreError
from .keys import DEAD_NAMES, bundle_key, dead_key
from .lease import Ref
from .mailbox import Mailbox
from .message import Record
from .page import entries_from_bytes
from .store import Outcome, Write

logger = logging.getLogger("gaesignals")

VERSION = 1
MAX_LETTERS = 100
MAX_ERROR_CHARACTERS = 1500
_MAX_INDEX_BYTES = 600_000
_EMPTY_TTL_SECONDS = 300
_MAX_ATTEMPTS = 30
_MAX_FAILURES = 3


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that will not be run again by itself.

    `record.receivers` are the ids of the receivers that failed, `attempt` how often they were tried, `error` the last
    failure with its traceback. A large payload is in `body`, and `record` has none until it was read.
    """

    record: Record
    died_ms: int
    error: str
    body: Ref | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def attempt(self) -> int:
        return self.record.attempt

    @property
    def receivers(self) -> tuple[str, ...]:
        return self.record.receivers

    @property
    def sent_at(self) -> datetime:
        return self.record.sent_at

    @property
    def died_at(self) -> datetime:
        return datetime.fromtimestamp(self.died_ms / 1000, timezone.utc)

    @property
    def data(self) -> Any:
        """What was sent. Raises `DecodeError` if it cannot be decoded."""
        return codec.loads(self.record.payload)

    def is_same(self, other: DeadLetter) -> bool:
        return (self.id, self.receivers) == (other.id, other.receivers)

    def to_wire(self) -> list[Any]:
        wire = [self.record.to_wire(), self.died_ms, self.error]
        return [*wire, self.body.to_wire()] if self.body else wire

    @classmethod
    def from_wire(cls, wire: object) -> DeadLetter:
        match wire:
            case [record, int(died_ms), str(error)] if 0 <= died_ms < 2**47:
                return cls(Record.from_wire(record), died_ms, error)
            case [record, int(died_ms), str(error), body] if 0 <= died_ms < 2**47:
                return cls(Record.from_wire(record), died_ms, error, Ref.from_wire(body))
        raise DecodeError("not a dead letter")


@dataclass(frozen=True, slots=True)
class DeadPage:
    letters: tuple[DeadLetter, ...] = ()

    def with_letters(self, letters: Sequence[DeadLetter]) -> DeadPage:
        kept = [old for old in self.letters if not any(old.is_same(new) for new in letters)]
        return DeadPage((*kept, *letters)[-MAX_LETTERS:])

    @property
    def bodies(self) -> set[bytes]:
        return {bundle_key(letter.body.key) for letter in self.letters if letter.body}

    def to_bytes(self) -> bytes:
        return codec.seal(VERSION, [letter.to_wire() for letter in self.letters])

    @classmethod
    def from_bytes(cls, value: bytes) -> DeadPage:
        body = codec.unseal(value, version=VERSION)
        if not isinstance(body, list):
            raise DecodeError("not a page of dead letters")
        return cls(tuple(DeadLetter.from_wire(letter) for letter in body))


@dataclass(frozen=True, slots=True)
class _DeadNames:
    """How many dead letters each name has, the name that changed last at the end."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def with_counts(self, counts: Mapping[str, int]) -> _DeadNames:
        kept = {name: count for name, count in self.counts.items() if name not in counts}
        kept.update((name, count) for name, count in counts.items() if count)
        size = sum(4 * len(name) + 8 for name in kept)
        for name in list(kept):
            if size <= _MAX_INDEX_BYTES:
                break
            size -= 4 * len(name) + 8
            del kept[name]
            logger.error("too many names have dead letters; one is not listed", extra={"signals_name": ascii(name)})
        return _DeadNames(kept)

    def to_bytes(self) -> bytes:
        return codec.seal(VERSION, dict(self.counts))

    @classmethod
    def from_bytes(cls, value: bytes) -> _DeadNames:
        body = codec.unseal(value, version=VERSION)
        if not isinstance(body, dict) or not all(
            isinstance(name, str) and isinstance(count, int) for name, count in body.items()
        ):
            raise DecodeError("not the index of dead names")
        return cls(body)


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
        index = decoded(DEAD_NAMES, reads[DEAD_NAMES], _DeadNames.from_bytes)
        if index.is_writable:
            known = index.value or _DeadNames()
            writes.append(index.replaced_by(DEAD_NAMES, known.with_counts(self._counts)))
        return self._connection.write(writes)


class DeadLetters:
    """What a person does with the dead letters of a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def names(self) -> dict[str, int]:
        """How many dead letters each name has. Raises `StoreError` if memcache does not answer."""
        return dict(_value(self._mailbox.read([DEAD_NAMES], _DeadNames.from_bytes)[DEAD_NAMES], _DeadNames()).counts)

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

    def requeue(self, name: str, ids: Collection[str] | None = None) -> int:
        """Send the letters with these message ids again, all if None, to the receivers that failed; return how many.

        They start at attempt 1. They are sent first and taken out afterwards, so a failure in between repeats them.
        A letter whose payload was evicted stays.
        """
        wanted = [letter for letter in self.peek(name) if ids is None or letter.id in ids]
        records = [letter.record for letter in self.with_payloads(wanted)]
        chosen = [letter for letter, record in zip(wanted, records, strict=True) if record.payload]
        if not chosen:
            return 0
        self._mailbox.send_records(
            [(name, replace(record, attempt=1, not_before_ms=0, error="")) for record in records if record.payload]
        )
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
