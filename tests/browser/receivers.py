"""What the worker of the browser's tests delivers to."""

from __future__ import annotations

from gaesignals import Receivers

receivers = Receivers()


@receivers.receiver("fine")
def handle(data: object) -> None:
    """Do nothing, and that well."""


@receivers.receiver("broken", reliable=True, max_attempts=1)
def fail(data: object) -> None:
    """Fail for good, with markup in the error."""
    raise RuntimeError(f"<b>cannot</b> handle {data!r}")


@receivers.receiver("user_{user_id}_changed")
def handle_user(data: object, *, user_id: str) -> None:
    """Make room for any number of names."""
