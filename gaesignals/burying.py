"""Burying: dead letters are stored before their messages are acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

from .bundles import Bundle, bundle
from .connection import Connection
from .deadletter import MAX_LETTERS, Change, DeadLetter
from .keys import bundle_key
from .store import Outcome, Write

_INLINE_BYTES = 2048
_MAX_FAILURES = 3


def bury(connection: Connection, letters: Mapping[str, Sequence[DeadLetter]]) -> Set[str]:
    """Store the letters of each name, in place of earlier ones for the same message and receivers.

    Returns the names whose letters may not be stored: their messages must not be acknowledged then.
    """
    bodies: dict[str, Bundle] = {}
    compact = {
        name: [_compact(connection, letter, bodies) for letter in group[-MAX_LETTERS:]]
        for name, group in letters.items()
    }
    unwritten = _write_bodies(connection, bodies.values())
    whole = {
        name
        for name, group in compact.items()
        if not any(letter.body and bundle_key(letter.body.key) in unwritten for letter in group)
    }
    stored: frozenset[str] = frozenset(whole)
    if whole:
        stored -= Change(connection, lambda name, page: page.with_letters(compact[name])).run(whole)
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
