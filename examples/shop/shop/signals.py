"""The shop's signals, declared once, and what the worker does with them.

The frontend imports the signals it sends; `SIGNALS_RECEIVERS` in worker.yaml names `receivers`.
"""

from __future__ import annotations

from typing import Any

from gaesignals import Message, Receivers, Signal, current_message

from .ledger import Entry, enter

page_viewed = Signal("page_viewed")
order_paid = Signal("order_paid", wake=True)
order_placed = Signal("order_placed", wake=True)
payment_reminder = Signal("payment_reminder", wake=True)
password_changed = Signal("user_{user_id}_password_change")

receivers = Receivers()


class PaymentDeclinedError(Exception):
    """What an order with `{"declined": true}` comes to, so that retries and dead letters can be watched."""


@receivers.receiver(page_viewed, batch=100)
def count_views(messages: list[Message]) -> None:
    """Count page views, up to a hundred at once: one that is lost does no harm."""
    enter(page_viewed.name, [Entry.of(message) for message in messages])


@receivers.receiver(order_paid, reliable=True, max_attempts=5, backoff_seconds=2)
def ship_order(data: Any) -> None:
    """Ship an order: none may be lost, so it is tried five times in half a minute and then kept as a dead letter."""
    if isinstance(data, dict) and data.get("declined"):
        raise PaymentDeclinedError("the bank declined the payment")
    enter(order_paid.name, [Entry.of(current_message())])


@receivers.receiver(password_changed, reliable=True)
def mail_user(data: Any, *, user_id: str) -> None:
    """Tell a user: the signal's name is made at run time, and says who it is for."""
    enter(password_changed(user_id=user_id).name, [Entry.of(current_message())])


@receivers.receiver(order_placed, reliable=True)
def pack_order(data: Any) -> None:
    """Pack an order, at once after it was stored."""
    enter(order_placed.name, [Entry.of(current_message())])


@receivers.receiver(payment_reminder, reliable=True)
def remind(data: Any) -> None:
    """Remind of a payment, a minute after the order."""
    enter(payment_reminder.name, [Entry.of(current_message())])
