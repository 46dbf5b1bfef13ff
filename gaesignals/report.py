"""What a delivery came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: of a receiver with a message, or, without these two, of the store with a name.

    `exception` is None where no exception was raised, and from the hundred and first failure of a delivery on.
    """

    name: str
    message_id: str | None
    receiver: str | None
    error: str
    exception: BaseException | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """Counts of messages, each as one however many receivers it has.

    `delivered`: every receiver that was run is done with it. `failed`: a handler raised or marked it; a weak receiver's
    message is then gone, a reliable one's is also counted as `retried` or `dead`. `retried`: to be run again, because a
    receiver failed or asked for it. `dead`: became a dead letter. `lost`: the store forgot it, or it could not be read.
    `remaining`: still waiting when this delivery ended, as far as it knows. `overtaken`: somebody else took over the
    lease while it was held here, so it counts for them. `expired`: too old for a receiver that was due to run it.
    `errors` has a record for each failure, `more` the names where something is left that could be done at once, and
    `unbegun` those of them of which nothing was run.
    """

    delivered: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    lost: int = 0
    remaining: int = 0
    overtaken: int = 0
    expired: int = 0
    errors: tuple[Failure, ...] = ()
    more: tuple[str, ...] = ()
    unbegun: tuple[str, ...] = ()

    @property
    def has_progressed(self) -> bool:
        """Whether something became of a message."""
        return any((self.delivered, self.failed, self.retried, self.dead, self.lost, self.overtaken, self.expired))

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return not self.has_progressed and not self.errors

    def __add__(self, other: DeliveryReport) -> DeliveryReport:
        """Both in turn: counts add up, what remains is what the later one says."""
        begun = set(self.more).difference(self.unbegun)
        return DeliveryReport(
            delivered=self.delivered + other.delivered,
            failed=self.failed + other.failed,
            retried=self.retried + other.retried,
            dead=self.dead + other.dead,
            lost=self.lost + other.lost,
            remaining=other.remaining,
            overtaken=self.overtaken + other.overtaken,
            expired=self.expired + other.expired,
            errors=self.errors + other.errors,
            more=other.more,
            unbegun=tuple(name for name in other.unbegun if name not in begun),
        )
