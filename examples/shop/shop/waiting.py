"""What waits, as the worker's administration counts it: in memcache, where both services see it."""

from __future__ import annotations

from typing import Any

from gaesignals.mailbox import current_mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.look import look

from .ledger import names
from .signals import receivers

MAX_NAMES = 50


def waiting() -> dict[str, dict[str, Any]]:
    """Return what is known of each signal's name; None where memcache did not answer for it."""
    mailbox = current_mailbox()
    found = look(mailbox, dict.fromkeys([*receivers.literal_names(), *names()[-MAX_NAMES:]]))
    dead = DeadLetters(mailbox).names()
    return {
        name: {
            "waiting": each.waiting if each.is_readable else None,
            "running": each.leased if each.is_readable else None,
            "retrying": each.retrying if each.is_readable else None,
            "dead": dead.get(name, 0),
        }
        for name, each in sorted(found.items())
    }
