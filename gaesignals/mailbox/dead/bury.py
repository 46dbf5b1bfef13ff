"""Burying: dead letters go to the dead page of their name, those of durable messages with a task to put them back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gaesignals.format.entries import Record
from gaesignals.format.inline import Inline
from gaesignals.format.keys import bundle_key
from gaesignals.format.letter import KEPT_LETTERS, DeadLetter, DeadPage
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.bundles import INLINE_BYTES, TTL_SECONDS, Bundle, bundle
from gaesignals.stores.store import Add, Outcome, Set
from gaesignals.tasks.queue import TaskError

from .pages import change

logger = logging.getLogger("gaesignals")


def bury(mailbox: Mailbox, letters: Mapping[str, Sequence[DeadLetter]], *, most: int = KEPT_LETTERS) -> frozenset[str]:
    """Store the letters of each name, in place of earlier ones for the same message and receivers.

    A name keeps its newest `most`; how many others go is logged. Those of durable messages have a task each, which puts
    them back should memcache forget them. Returns the names whose letters may not be stored: their messages must not be
    acknowledged then.
    """
    newest, uncovered = _covered(mailbox, {name: group[-most:] for name, group in letters.items()})
    compact = {name: _compact(mailbox, group) for name, group in newest.items()}
    gone: dict[str, int] = {}
    on_page: dict[str, frozenset[str]] = {}

    def with_letters(name: str, page: DeadPage) -> DeadPage:
        added = compact[name][0]
        after = page.with_letters(added, most=most)
        same = sum(any(old.is_same(new) for new in added) for old in page.letters)
        on_page[name] = frozenset(after.tasks)
        gone[name] = len(page.letters) - same + len(letters[name]) - len(after.letters)
        return after

    missed = change(mailbox, compact, with_letters, {name: bodies for name, (_, bodies) in compact.items()})
    for name, group in newest.items():
        # Of those that are not on the page, what did not fit has had its day, and the others are not dead yet.
        kept = frozenset[str]() if name in missed else on_page[name]
        mailbox.safety.release(letter.record for letter in group if letter.record.safety not in kept)
    for name in sorted(compact.keys() - missed):
        if gone[name]:
            fields = {"signals_name": ascii(name), "signals_count": gone[name]}
            logger.warning("dead letters are forgotten to make room for newer ones", extra=fields)
    return missed | uncovered


def _covered(
    mailbox: Mailbox, letters: Mapping[str, Sequence[DeadLetter]]
) -> tuple[dict[str, Sequence[DeadLetter]], frozenset[str]]:
    """The letters with the tasks that put them back, and the names that have none since no task was added for them."""
    durable = [(name, letter) for name, group in letters.items() for letter in group if letter.record.is_durable]
    if not durable:
        return dict(letters), frozenset()
    names = frozenset(name for name, _ in durable)
    try:
        records = mailbox.safety.secure_letters(
            [(name, letter.record, letter.died_ms, letter.error) for name, letter in durable]
        )
    except TaskError:
        logger.exception("dead letters have no tasks, so their messages go back")
        return {name: group for name, group in letters.items() if name not in names}, names
    made = {id(letter): replace(letter, record=record) for (_, letter), record in zip(durable, records, strict=True)}
    return {name: [made.get(id(letter), letter) for letter in group] for name, group in letters.items()}, frozenset()


def restore(mailbox: Mailbox, name: str, letter: DeadLetter, *, most: int = KEPT_LETTERS) -> bool:
    """Put a letter back that memcache has forgotten; False if that is not certain.

    Putting one back is nobody's death, and pushes no other letter out: where there is no room this one goes.
    """
    ((compact,), bodies) = _compact(mailbox, [letter])

    def with_letter(_: str, page: DeadPage) -> DeadPage:
        is_there = any(old.record.safety == letter.record.safety or old.is_same(letter) for old in page.letters)
        return page if is_there or len(page.letters) >= most else page.with_letters([compact], most=most)

    return not change(mailbox, [name], with_letter, {name: bodies})


def keep_body(mailbox: Mailbox, letter: DeadLetter, record: Record) -> bool:
    """Write the body of a letter on its page again, should memcache have forgotten it; False if that is not certain.

    The body expires then: whoever takes the letter out meanwhile has deleted the body before.
    """
    if letter.body is None:
        return True
    key = bundle_key(letter.body.key)
    return mailbox.write([Add(key, Inline.of([record]).to_bytes(), TTL_SECONDS)])[key] is not Outcome.FAILED


def _compact(mailbox: Mailbox, letters: Iterable[DeadLetter]) -> tuple[list[DeadLetter], list[Set]]:
    """The letters, and the bodies that those with a large payload refer to: the same for all letters of a message.

    A body's key is new: whoever has just taken out an earlier letter of the message may be about to delete its body.
    """
    bodies: dict[str, Bundle] = {}
    compact = []
    for letter in letters:
        if letter.record.size > INLINE_BYTES:
            body = bodies.setdefault(letter.id, bundle(f"dead.{mailbox.new_id()}", [letter.record]))
            letter = replace(letter, record=replace(letter.record, payload=b""), body=body.ref)
        compact.append(letter)
    return compact, [replace(body.write(mailbox.now_ms()), ttl_seconds=0) for body in bodies.values()]
