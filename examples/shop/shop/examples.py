"""What a visitor can have the shop do with one button."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from gaesignals import send_many

from .ledger import note
from .orders import place
from .signals import order_paid, page_viewed, password_changed

VIEWS = 50
USER = 54274


@dataclass(frozen=True, slots=True)
class Example:
    """A button: its label, what comes of it, and how its signals are sent, which says what was sent."""

    label: str
    outcome: str
    send: Callable[[], str]


def _view_pages() -> str:
    send_many([(page_viewed, {"path": "/shoes"})] * VIEWS)
    note(page_viewed.name)
    return f"{VIEWS} × {page_viewed.name}"


def _pay() -> str:
    return _pay_with({"order": random.randrange(1000, 10_000), "total": "49.90"})


def _decline() -> str:
    return _pay_with({"order": random.randrange(1000, 10_000), "total": "49.90", "declined": True})


def _pay_with(data: dict[str, object]) -> str:
    order_paid.send(data)
    return f"1 × {order_paid.name}, order {data['order']}"


def _change_password() -> str:
    changed = password_changed(user_id=USER)
    changed.send()
    note(changed.name)
    return f"1 × {changed.name}"


def _place() -> str:
    return f"order {place('shoes')}"


EXAMPLES = {
    "views": Example(
        f"View {VIEWS} pages",
        "They wait for cron, which comes every minute, and are counted in one batch.",
        _view_pages,
    ),
    "pay": Example("Pay an order", "It wakes the worker and is handled at once.", _pay),
    "decline": Example(
        "Pay with a declined card",
        "It fails, is retried four times within half a minute, and ends as a dead letter.",
        _decline,
    ),
    "password": Example("Change a password", "A name made for one user; it waits for cron.", _change_password),
    "place": Example(
        "Place an order", "Its signals come with the transaction: packed at once, a reminder in a minute.", _place
    ),
}
