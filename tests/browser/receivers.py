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


@receivers.receiver("again", reliable=True, backoff_seconds=3600)
def fail_for_now(data: object) -> None:
    """Fail, and wait long for the next try."""
    raise RuntimeError(f"the bank does not answer about {data!r}")


@receivers.receiver("user_{user_id}_changed")
def handle_user(data: object, *, user_id: str) -> None:
    """Make room for any number of names."""
