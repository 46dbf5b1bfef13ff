"""What this process is at: its deliveries, and how far each has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from gaesignals.format.fleet import MAX_WORKS, WorkInHand
from gaesignals.observing import HandlerCall, Handling, Observer
from gaesignals.receivers import Receivers


@dataclass(slots=True)
class _Delivery:
    """Messages that were claimed, and calls of handlers for one of them, as parts of a message."""

    since_ms: int
    names: int = 0
    name: str = ""
    claimed: int = 0
    done: float = 0.0


_current: ContextVar[_Delivery | None] = ContextVar("gaesignals_worker_delivery", default=None)


class Working(Observer):
    """Watches the deliveries that are going on. Safe in threads.

    A message with several receivers is done by parts; one that is run again is done again, up to what was claimed.
    `between_rounds` is called where a delivery has nothing in hand for a moment.
    """

    def __init__(self, receivers: Receivers, clock: Callable[[], float] = time.time) -> None:
        self._receivers = receivers
        self._clock = clock
        self._lock = threading.Lock()
        self._going_on: list[_Delivery] = []
        self.between_rounds: Callable[[], object] = lambda: None

    def now(self) -> tuple[WorkInHand, ...]:
        """The deliveries that have something in hand, those that began first at the front."""
        with self._lock:
            going_on = [each for each in self._going_on if each.claimed]
        return tuple(
            WorkInHand(each.name, each.names, each.since_ms, min(int(each.done), each.claimed), each.claimed)
            for each in going_on[:MAX_WORKS]
        )

    def delivering(self) -> AbstractContextManager[object]:
        return self._delivering()

    @contextmanager
    def _delivering(self) -> Iterator[None]:
        delivery = _Delivery(int(self._clock() * 1000))
        with self._lock:
            self._going_on.append(delivery)
        token = _current.set(delivery)
        try:
            yield
        finally:
            _current.reset(token)
            with self._lock:
                self._going_on.remove(delivery)

    def claimed(self, counts: Mapping[str, int]) -> None:
        delivery = _current.get()
        if delivery is not None and counts:
            delivery.claimed += sum(counts.values())
            delivery.names = max(delivery.names, len(counts))
            delivery.name = delivery.name or next(iter(counts))

    def round_ended(self) -> None:
        self.between_rounds()

    def handled(self, call: HandlerCall) -> None:
        delivery = _current.get()
        if delivery is not None:
            delivery.name = call.name
            delivery.done += call.count / max(1, len(self._receivers.matching(call.name)))

    def handling(self, handling: Handling) -> AbstractContextManager[object]:
        delivery = _current.get()
        if delivery is not None and handling.messages:
            delivery.name = handling.messages[0].name
        return super().handling(handling)
