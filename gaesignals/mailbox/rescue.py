"""Rescuing: what a task does whose messages memcache may have forgotten, or never had.

The task goes away only when its messages are done or are in memcache with a task of their own. Whatever is not certain
lets it come again.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gaesignals.errors import DecodeError, NewerFormatError, StoreError
from gaesignals.format.keys import dead_key, dead_names_key, dead_names_page_of, marker_key, page_key, slot_key, slot_of
from gaesignals.format.letter import KEPT_LETTERS, DeadLetter, DeadNames, DeadPage
from gaesignals.format.page import Page
from gaesignals.format.rescue import Duty, Place, Rescue, duty
from gaesignals.format.slot import Slot
from gaesignals.stores.client import Seen, State, decoded
from gaesignals.stores.store import Absent, Found, Read

from .box import Mailbox
from .dead.bury import keep_body, restore
from .index.listing import list_names
from .repair import repair

logger = logging.getLogger("gaesignals")


class Answer(enum.Enum):
    """What becomes of a rescue task, as an HTTP status.

    `KEPT` has the queue try the same task again later without slowing down; `AWAY` says that a service is away.
    """

    DONE = 200
    UNREADABLE = 400
    KEPT = 425
    AWAY = 503


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a task came to; `sent` counts the messages that it brought."""

    answer: Answer
    sent: int = 0


def rescue(
    mailbox: Mailbox, body: bytes, *, task: str = "", tries: int = 0, kept_letters: int = KEPT_LETTERS
) -> Rescued:
    """Do what the task with this body is for. `task` is its name, `tries` how often it was tried before.

    One read finds out what memcache has; only messages that are gone are sent. A dead letter goes back to its name's
    page while that has fewer than `kept_letters`.
    """
    try:
        found = Rescue.from_bytes(body)
    except NewerFormatError:
        # A newer worker will read it, when the rollout is over.
        logger.warning("a rescue task of a later version of gaesignals")
        return Rescued(Answer.AWAY)
    except DecodeError as error:
        logger.error("a rescue task that cannot be read", extra={"signals_error": str(error)})
        return Rescued(Answer.UNREADABLE)
    try:
        if found.is_dead:
            return Rescued(_keep_letter(mailbox, found, task, kept_letters))
        decided = _decide(mailbox, found, task, tries)
        return _send(mailbox, found) if decided is None else Rescued(decided)
    except StoreError as error:
        logger.warning(
            "a rescue task could not bring its messages",
            extra={"signals_error": str(error), "signals_count": len(found.messages)},
        )
        return Rescued(Answer.AWAY)


def _send(mailbox: Mailbox, found: Rescue) -> Rescued:
    records = [
        # Durable from here on, with a task of its own; weak receivers have had it unless it was never in memcache.
        (name, replace(record, safety="", is_resent=record.is_resent or not found.is_first, brought=record.brought + 1))
        for name, record in found.messages
    ]
    mailbox.send_rescued(records)
    if not found.is_first:
        mailbox.observer.brought([name for name, _ in records])
        logger.warning("durable messages were brought back", extra={"signals_count": len(records)})
    return Rescued(Answer.DONE, len(records))


def _keep_letter(mailbox: Mailbox, found: Rescue, task: str, kept_letters: int) -> Answer:
    """See that a dead letter is on its page until a person is done with it."""
    ((name, record),) = found.messages
    markers = [marker_key(each) for each in (task, found.marker) if each]
    index = dead_names_key(dead_names_page_of(name))
    reads = mailbox.gets([*markers, dead_key(name), index])
    if any(isinstance(reads[key], Found) for key in markers):
        return Answer.DONE
    seen = decoded(dead_key(name), reads[dead_key(name)], DeadPage.from_bytes)
    if not seen.is_writable or any(reads[key] is Absent.FAILED for key in markers):
        return Answer.AWAY
    page = seen.value or DeadPage()
    mine = next((old for old in page.letters if old.record.safety in (task, found.marker)), None)
    if mine is not None:
        if not _is_listed(name, index, reads[index]) and not restore(mailbox, name, mine, most=kept_letters):
            return Answer.AWAY
        return Answer.KEPT if keep_body(mailbox, mine, record) else Answer.AWAY
    letter = DeadLetter(replace(record, safety=task or found.marker), found.died_ms, found.error)
    if len(page.letters) >= kept_letters or any(old.is_same(letter) for old in page.letters):
        return Answer.DONE
    return Answer.KEPT if restore(mailbox, name, letter, most=kept_letters) else Answer.AWAY


def _is_listed(name: str, key: bytes, read: Read) -> bool:
    """Whether a name is among those with dead letters, as far as can be told: memcache may forget that page alone."""
    listed: Seen[DeadNames] = decoded(key, read, DeadNames.from_bytes)
    return not listed.is_writable or name in (listed.value or DeadNames()).counts


def _decide(mailbox: Mailbox, found: Rescue, task: str, tries: int) -> Answer | None:
    """What to answer; None if the messages are to be sent."""
    if found.is_first:
        return None
    markers = [marker_key(each) for each in (task, found.marker) if each]
    wanted = [*markers, *_keys_of(found)]
    reads = mailbox.gets(wanted)
    if any(isinstance(reads[key], Found) for key in markers):
        return Answer.DONE
    if any(reads[key] is Absent.FAILED for key in wanted):
        return Answer.AWAY
    if found.place is None:
        return None
    name = found.messages[0][0]
    seen = decoded(page_key(name, found.place.lane), reads[page_key(name, found.place.lane)], Page.from_bytes)
    if seen.state is State.NEWER:
        return Answer.AWAY
    return _answer(mailbox, name, found.place, seen, reads, tries)


def _keys_of(found: Rescue) -> list[bytes]:
    if found.place is None:
        return []
    name = found.messages[0][0]
    return [page_key(name, found.place.lane), slot_key(slot_of(name))]


def _answer(
    mailbox: Mailbox, name: str, place: Place, seen: Seen[Page], reads: Mapping[bytes, Read], tries: int
) -> Answer | None:
    decided = duty(place, seen.value, tries=tries)
    if decided is Duty.SEND:
        return None
    if decided is Duty.DONE:
        return Answer.DONE
    key = slot_key(slot_of(name))
    slot = decoded(key, reads[key], Slot.from_bytes).value or Slot()
    if place.lane:
        repair(mailbox, [name])
    if name not in slot.due_ms:
        list_names(mailbox, {name: mailbox.now_ms()})
    return Answer.KEPT
