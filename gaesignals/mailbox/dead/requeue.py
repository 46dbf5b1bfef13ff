"""Requeuing: what a person does with dead letters, who reads them, sends them again or drops them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from gaesignals.errors import LeftAloneError, StoreError
from gaesignals.format.entries import Record, entries_from_bytes
from gaesignals.format.keys import bundle_key, dead_key, dead_names_key, dead_names_page_of
from gaesignals.format.letter import DeadLetter, DeadNames, DeadPage
from gaesignals.mailbox.box import Mailbox
from gaesignals.stores.client import decoded

from .counts import DeadCounts, count_dead
from .pages import DEAD_INDEX, DEAD_PAGE, change, readable


class DeadLetters:
    """What a person does with the dead letters of a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def names(self) -> dict[str, int]:
        """How many dead letters each name has.

        Raises `StoreError` if memcache does not answer, `LeftAloneError` if only a later version can tell of some.
        """
        counts = self.counts()
        if counts.hidden:
            raise LeftAloneError("a later version of gaesignals has stored which names have dead letters")
        return dict(counts.by_name)

    def counts(self) -> DeadCounts:
        """As `names`, as far as this version can tell."""
        return count_dead(self._mailbox)

    def list(self, name: str) -> Sequence[DeadLetter]:
        """The dead letters of `name` with their payloads, oldest first. Raises `StoreError` as `names` does.

        A letter whose large payload was evicted comes with an empty one, which does not decode.
        """
        return self.with_payloads(self.peek(name))

    def peek(self, name: str) -> Sequence[DeadLetter]:
        """As `list`, in one call and without the large payloads."""
        key = dead_key(name)
        page: DeadPage = readable(self._mailbox.read([key], DeadPage.from_bytes)[key], DeadPage())
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
        is gone, and those that were done with a message run once more. The messages start at attempt 1. They are sent
        first, and their letters taken out afterwards, so a failure in between repeats them. A letter whose payload was
        evicted stays. Raises `LeftAloneError`, and sends nothing, where only a later version can take letters out.
        """
        wanted = [letter for letter in self._changeable(name) if ids is None or letter.id in ids]
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
        chosen = [letter for letter in self._changeable(name) if ids is None or letter.id in ids]
        if chosen:
            self._take_out(name, chosen)
        return len(chosen)

    def _changeable(self, name: str) -> Sequence[DeadLetter]:
        """As `peek`, where the index can be changed with the letters."""
        key, index = dead_key(name), dead_names_key(dead_names_page_of(name))
        seen = self._mailbox.look({key: DEAD_PAGE, index: DEAD_INDEX})
        readable(seen[index], DeadNames())
        page: DeadPage = readable(seen[key], DeadPage())
        return page.letters

    def _take_out(self, name: str, letters: Sequence[DeadLetter]) -> None:
        """Take these very letters out. A message that was requeued may have died again meanwhile: that one stays."""

        def without(_: str, page: DeadPage) -> DeadPage:
            return DeadPage(tuple(old for old in page.letters if old not in letters))

        if change(self._mailbox, [name], without):
            raise StoreError("the store did not take a change of the dead letters; look at them before repeating it")


def _with_payload(letter: DeadLetter, payloads: Mapping[bytes, bytes]) -> DeadLetter:
    if letter.body is None:
        return letter
    payload = payloads.get(bundle_key(letter.body.key), b"")
    return replace(letter, record=replace(letter.record, payload=payload))
