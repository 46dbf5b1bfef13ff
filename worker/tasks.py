"""Delivering names: the work of a task, and of a manual drain that waits for it.

The answer to a task is 2xx only if nothing is lost by forgetting the task:

- What was claimed is done, acknowledged or back in its mailbox, which is what `deliver` promises.
- What is left is with a new task, or the index says when it is due. If memcache does not answer, or the queue takes
  no new task, the answer is 503: then this very task comes again. That slows the whole queue down, which is right as
  long as one of the two services it lives on is in trouble.
- A body that cannot be read is answered 400. It carries no message, the index has its names, and repeating it is
  bounded by the queue's retry limits. A newer version's task that reached an older worker gets through when the
  rollout is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import BadRequest, ServiceUnavailable, UnsupportedMediaType

from gaesignals.delivery.deliver import deliver
from gaesignals.delivery.opening import ALONE, JOINING, Opening
from gaesignals.limits import LEASE_SECONDS
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.index.unlisting import Settled
from gaesignals.receivers import Receivers
from gaesignals.report import DeliveryReport

from .access.doors import Door, door
from .context import outside_flask
from .deliveries import Deliveries, Source, report_counts
from .dispatcher import Dispatcher
from .fields import checked_count, checked_names, json_fields
from .log import escaped_names
from .pauses import KnownPauses
from .queue import DELIVER_PATH, MAX_NAMES_A_TASK, MAX_SIBLINGS, Task
from .sibling_tasks import Siblings
from .travel import Travel

logger = logging.getLogger("gaesignals.worker")

# Failures are all logged where they happen; a report that keeps them all would grow with the backlog.
_MAX_ERRORS = 20
# Rounds in a row that find something and win none of it: others are at it.
_MAX_VAIN_ROUNDS = 3
_MAX_PROMISED = 10_000


@dataclass(frozen=True, slots=True)
class Shift:
    """What one call of `Deliverer.run` came to.

    `handed_over` went to a new task when time was up; `refused` is what the queue did not take, and due in the index.
    `paused` are the names that were not delivered, or not to their end, because somebody paused them.
    """

    report: DeliveryReport
    handed_over: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    has_sibling: bool = False
    paused: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        return {
            **report_counts(self.report),
            "handed_over": len(self.handed_over),
            "refused": len(self.refused),
            "siblings": int(self.has_sibling),
            "paused": len(self.paused),
        }


class Deliverer:
    """Delivers names until they are empty or time is up, then settles them in the index.

    `should_stop` ends it early, as when the instance is shut down. `lease_seconds` is that of `deliver`. `pauses` knows
    the names that are not to be delivered; each round reads them with its pages, so a name that is paused meanwhile
    gets to the end of one at most. `deliveries` is told of each run. Holds no state of its own between runs.
    """

    def __init__(
        self,
        *,
        receivers: Receivers,
        mailbox: Mailbox,
        index: Index,
        dispatcher: Dispatcher,
        should_stop: Callable[[], bool],
        lease_seconds: float = LEASE_SECONDS,
        pauses: KnownPauses,
        deliveries: Deliveries | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receivers = receivers
        self._mailbox = mailbox
        self._index = index
        self._dispatcher = dispatcher
        self._should_stop = should_stop
        self._lease_seconds = lease_seconds
        self._pauses = pauses
        self._deliveries = deliveries or Deliveries()
        self._clock = clock
        self._wakes = _Wakes(mailbox)

    def run(
        self,
        names: Sequence[str],
        *,
        seconds: float,
        siblings: int | None = None,
        waited_seconds: float = 0.0,
        source: Source = Source.TASK,
        by: str = "",
    ) -> Shift:
        """Deliver `names` for about `seconds`; a handler that is running then is not interrupted.

        A claim that leaves something behind brings in one sibling task, which may bring in `siblings - 1` more: so the
        tasks at work on a backlog become more one by one, and never more than that. Without `siblings` these are the
        usual number, and nobody else is supposed to be at work: the first claim is larger then. What time does not
        suffice for goes to new tasks, which bring in a sibling only if this one has not. A task that `waited_seconds`
        for its place, and long, brings in none. Raises `StoreError` if memcache fails; what is left is then due in the
        index sooner or later. Raises `ServiceUnavailable` if it should stop before that.
        `by` is the person who asked for it.
        """
        if self._should_stop():
            # Another instance takes it when it is repeated; nothing was claimed here.
            raise ServiceUnavailable("this instance is shutting down")
        started, started_at = self._clock(), self._mailbox.clock()
        helpers = Siblings(self._dispatcher, siblings, waited_seconds=waited_seconds)
        opening = ALONE if siblings is None else JOINING
        report, is_time_up = self._rounds(names, started + seconds, helpers, opening)
        rest = report.more if is_time_up else ()
        refused = helpers.hand_over(rest, report.unbegun)
        handed_over = set(rest).difference(refused) | helpers.passed_on
        # A name handed over stays in the index as it is, due again in case the new task gets lost.
        settled = self._index.settle([name for name in names if name not in handed_over])
        self._wakes.wake(settled, since=started_at)
        self._deliveries.add(source, names=names, report=report, seconds=self._clock() - started, by=by)
        paused = tuple(name for name in names if name in self._pauses.known)
        return Shift(report, tuple(sorted(handed_over)), refused, helpers.is_used, paused)

    def _rounds(
        self, names: Sequence[str], deadline: float, helpers: Siblings, opening: Opening
    ) -> tuple[DeliveryReport, bool]:
        """Deliver until nothing is found, and say whether time was up before that."""
        total = DeliveryReport()
        vain = 0
        seconds = deadline - self._clock()
        while seconds > 0 and not self._should_stop():
            report = outside_flask(
                deliver,
                self._receivers,
                names=[name for name in names if name not in helpers.passed_on],
                lease_seconds=self._lease_seconds,
                max_seconds=seconds,
                mailbox=self._mailbox,
                on_backlog=helpers.bring_in,
                should_stop=self._should_stop,
                paused=self._pauses.learn,
                on_expired=helpers.pass_on,
                # Who goes on with what others left takes a share of it, not all.
                opening=JOINING if total.has_progressed else opening,
            )
            total = replace(total + report, errors=(total.errors + report.errors)[:_MAX_ERRORS])
            vain = 0 if report.has_progressed else vain + 1
            if vain and (not report.more or vain == _MAX_VAIN_ROUNDS):
                return total, False
            seconds = deadline - self._clock()
        return total, True


class _Wakes:
    """The tasks for names whose senders want them handled at once, when the next thing can be done for them."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._promised: dict[str, float] = {}

    def wake(self, settled: Settled, *, since: float) -> None:
        """Add a task for each that something can be done for later, unless this process has added one for that time.

        Or now, where that is so only `since` then: what could be done earlier was left alone, and would be again.
        """
        now = self._mailbox.clock()
        if len(self._promised) > _MAX_PROMISED:
            self._promised = {name: at for name, at in self._promised.items() if at > now}
        due = {
            name: max(at, now)
            for name, at in settled.remaining.items()
            if name in settled.waking and at > since and not now < self._promised.get(name, 0) <= at
        }
        if due:
            self._mailbox.waker.wake({name: int(at * 1000) for name, at in due.items()})
            self._promised |= due


def blueprint(
    deliverer: Deliverer, dispatcher: Dispatcher, travel: Travel, *, seconds: float, clock: Callable[[], float]
) -> Blueprint:
    tasks = Blueprint("tasks", __name__)

    @tasks.post(DELIVER_PATH)
    @door(Door.TASKS)
    def deliver_names() -> tuple[Response, int]:
        """Deliver the names of a task."""
        task = _read_task()
        names = task.names if task.is_handed_over else pass_on(task)
        if not names:
            return jsonify(Shift(DeliveryReport()).counts()), 200
        waited_seconds = _waited_seconds(now=clock())
        shift = deliverer.run(names, seconds=seconds, siblings=task.siblings, waited_seconds=waited_seconds)
        logger.info("task done", extra={**shift.counts(), "signals_names": escaped_names(names)})
        return jsonify(shift.counts()), 503 if shift.refused else 200

    def pass_on(task: Task) -> tuple[str, ...]:
        """Pass on the names that belong into another task; return those to deliver here."""
        misplaced = travel.misplaced(task.names, arrived_in=request.headers.get("X-AppEngine-QueueName", ""))
        if not misplaced:
            return task.names
        # What the queue refuses is delivered here.
        passed = set(misplaced).difference(dispatcher.pass_on(misplaced, siblings=task.siblings))
        logger.info("names went to tasks of other queues", extra={"signals_names": escaped_names(sorted(passed))})
        return tuple(name for name in task.names if name not in passed)

    return tasks


def _read_task() -> Task:
    try:
        fields = json_fields(request, allowed=("names", "siblings", "handed_over"))
        names = checked_names(fields.get("names"), at_most=MAX_NAMES_A_TASK)
        siblings = fields.get("siblings")
        if "siblings" in fields:
            siblings = checked_count("siblings", siblings, at_most=MAX_SIBLINGS)
        is_handed_over = fields.get("handed_over", False)
        if not isinstance(is_handed_over, bool):
            raise BadRequest("handed_over has to be true or false")
        return Task(names, siblings, is_handed_over=is_handed_over)
    except (BadRequest, UnsupportedMediaType) as error:
        logger.error("a task that cannot be read", extra={"detail": error.description})
        raise


def _waited_seconds(*, now: float) -> float:
    """How long after its time the task of this request began, by what Cloud Tasks says of it; 0 if it does not."""
    try:
        return max(0.0, now - float(request.headers.get("X-AppEngine-TaskETA", now)))
    except ValueError:
        return 0.0
