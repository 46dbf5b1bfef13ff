"""Orders: what is stored comes with its signals, and what is not stored comes with none."""

from __future__ import annotations

from google.appengine.ext import ndb

from .signals import order_placed, payment_reminder

REMINDER_SECONDS = 60


class Order(ndb.Model):  # type: ignore[misc]  # the SDK ships no types
    """An order that waits for its payment."""

    item = ndb.StringProperty()


@ndb.transactional  # type: ignore[untyped-decorator]
def place(item: str) -> int:
    """Store an order, have it packed at once, and remind of its payment a minute later; return its number."""
    number: int = Order(item=item).put().id()
    order_placed.send({"order": number, "item": item}, transactional=True)
    payment_reminder.send({"order": number}, transactional=True, delay_seconds=REMINDER_SECONDS)
    return number
