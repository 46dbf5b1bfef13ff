"""What an entry says of a message of which only the newest counts, so that a newer one can take its place."""

from __future__ import annotations

from typing import Any

from gaesignals.errors import DecodeError
from gaesignals.values import value


@value
class Latest:
    """When it was sent, from which namespace of App Engine, and the task that brings it back if it is durable."""

    sent_us: int
    namespace: str = ""
    safety: str = ""

    def replaces(self, other: Latest) -> bool:
        """Whether it is newer and of the same namespace.

        Where clocks differ, one that is behind replaces less: older messages are handled besides.
        """
        return other.namespace == self.namespace and other.sent_us <= self.sent_us

    def to_wire(self) -> list[Any]:
        return [self.sent_us, self.namespace, self.safety]

    @classmethod
    def from_wire(cls, wire: object) -> Latest:
        match wire:
            case [int(sent_us), str(namespace), str(safety)] if sent_us >= 0:
                return cls(sent_us, namespace, safety)
        raise DecodeError("not the latest of a name")
