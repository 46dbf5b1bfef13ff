"""The shop's signals, declared once: the frontend sends them, the worker's receivers handle them."""

from __future__ import annotations

from gaesignals import Signal

page_viewed = Signal("page_viewed")
order_paid = Signal("order_paid")
password_changed = Signal("user_{user_id}_password_change")
