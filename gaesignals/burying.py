"""Burying: dead letters are stored before their messages are acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .bundles import Bundle, bundle
from .connection import Connection
from .deadletter import MAX_LETTERS, Change, DeadLetter
from .errors import StoreError
from .store import Outcome, Write

_INLINE_BYTES = 2048
_MAX_FAILURES = 3


def bury(connection: Connection, letters: Mapping[str, Sequence[DeadLetter]]) -> None:
    """Store the letters of each name, in place of earlier ones for the same message and receivers.

    Raises `StoreError` unless all are stored: their messages must not be acknowledged then.
    """
    bodies: dict[str, Bundle] = {}
    compact = {
        name: [_compact(connection, letter, bodies) for letter in group[-MAX_LETTERS:]]
        for name, group in letters.items()
    }
    _write_bodies(connection, bodies.values())
    Change(connection, lambda name, page: page.with_letters(compact[name])).run(compact)


def _compact(connection: Connection, letter: DeadLetter, bodies: dict[str, Bundle]) -> DeadLetter:
    """A letter with a large payload refers to a body, the same for all letters of its message that are buried at once.

    The key is new: whoever has just taken out an earlier letter of the message may be about to delete its body.
    """
    if letter.record.size <= _INLINE_BYTES:
        return letter
    if letter.id not in bodies:
        bodies[letter.id] = bundle(f"dead.{connection.new_id()}", [letter.record])
    return replace(letter, record=replace(letter.record, payload=b""), body=bodies[letter.id].ref)


def _write_bodies(connection: Connection, bodies: Iterable[Bundle]) -> None:
    todo = {body.key: replace(body.write(connection.now_ms()), ttl_seconds=0) for body in bodies}
    for _ in connection.attempts(_MAX_FAILURES):
        if not todo:
            return
        outcomes = connection.write(list[Write](todo.values()))
        todo = {key: write for key, write in todo.items() if outcomes[key] is not Outcome.STORED}
    if todo:
        raise StoreError("memcache did not store the bodies of dead letters; they stay in their mailbox")
