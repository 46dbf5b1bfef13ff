"""Scenes for tests that break things: an application over a store, and what it does when something goes wrong.

A scene remembers what was acknowledged and what was handled. A scenario prepares a scene and returns what a process
does; the tests let that process die, its calls fail or memcache forget at every call of it, found by counting.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from unittest import mock

from gaesignals import DeliveryReport, Message, Receivers, deliver
from gaesignals.data import codec
from gaesignals.errors import SendError
from gaesignals.format import keys, page
from gaesignals.format.entries import Record
from gaesignals.format.keys import page_key
from gaesignals.format.page import Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.dead import DeadLetters
from gaesignals.mailbox.discard import discard
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.index import fan_out as pending
from gaesignals.mailbox.look import MailboxStatus, look
from gaesignals.mailbox.retries import drop as drop_retries
from gaesignals.mailbox.retries import hasten, kill
from gaesignals.stores.store import Set, Store
from gaesignals.testing import ManualClock

LEASE_SECONDS = 60.0
BODY = "x" * 3000
FULL_MESSAGES = 4
MAX_DELIVERIES = 30
NAMES = ("one", "batch", "weak")


class DiedError(BaseException):
    """The process is gone."""


@contextlib.contextmanager
def small_index() -> Iterator[None]:
    """Names share slots and few messages fill a page, so that a small scene has everything in it.

    Nothing is logged: the same tracebacks thousands of times would take longer than all the rest.
    """
    logger = logging.getLogger("gaesignals")
    with (
        mock.patch.object(logger, "disabled", True),
        mock.patch.object(page, "FULL_MESSAGES", FULL_MESSAGES),
        mock.patch.object(keys, "SLOTS", 4),
        mock.patch.object(pending, "SLOTS", 4),
    ):
        yield


@dataclass
class Scene:
    """One run: what was acknowledged, what was handled, and how a process is started.

    Handlers fail for the keys in `failing`, and die for those in `deadly`; `has_died` says that one did. The keys in
    `discardable` may be gone without having been handled.
    """

    store: Store
    clock: ManualClock
    acknowledged: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unmentioned: set[str] = field(default_factory=set)
    handled: Counter[str] = field(default_factory=Counter)
    begun: Counter[str] = field(default_factory=Counter)
    failing: set[str] = field(default_factory=set)
    deadly: set[str] = field(default_factory=set)
    discardable: set[str] = field(default_factory=set)
    reports: list[DeliveryReport] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    has_died: bool = False
    boxes: int = 0

    def box(self, store: Store | None = None) -> Mailbox:
        self.boxes += 1
        return Mailbox(store or self.store, clock=self.clock, random=random.Random(self.boxes), sleep=lambda _: None)

    def send(self, box: Mailbox, *texts: str) -> None:
        """Send data that starts with its key and its name: "one/7"; keep what the send says became of it."""
        records = [Record(box.new_id(), int(self.clock() * 10**6), codec.dumps(text)) for text in texts]
        ids = {record.id: key_of(text) for record, text in zip(records, texts, strict=True)}
        self.ids |= ids
        try:
            box.send_records([(text.split("/")[0], record) for record, text in zip(records, texts, strict=True)])
        except SendError as error:
            self.acknowledged.update(ids.pop(id_) for id_ in error.stored)
            self.unsure.update(ids.pop(id_) for id_ in error.unsure)
            self.refused.update(ids.pop(id_) for id_ in error.failed)
            self.unmentioned.update(ids.values())
            raise
        self.acknowledged.update(ids.values())

    @cached_property
    def receivers(self) -> Receivers:
        receivers = Receivers()
        receivers.connect("one", self._one, reliable=True, max_attempts=3, backoff_seconds=1, id="one")
        receivers.connect("batch", self._batch, reliable=True, batch=5, max_attempts=3, backoff_seconds=1, id="batch")
        receivers.connect("weak", self._one, id="weak")
        return receivers

    def _one(self, data: str) -> None:
        key = key_of(data)
        self.begun[key] += 1
        if key in self.deadly:
            self.has_died = True
            raise DiedError
        if key in self.failing:
            raise RuntimeError(key)
        self.handled[key] += 1

    def _batch(self, messages: list[Message]) -> None:
        for message in messages:
            self._one(message.data)

    def deliver(self, box: Mailbox, *names: str) -> None:
        self.reports.append(deliver(self.receivers, names=names or None, lease_seconds=LEASE_SECONDS, mailbox=box))

    def drain(self, box: Mailbox) -> None:
        """One tick of the worker: fan out, deliver until nothing is left, settle."""
        index = Index(box)
        names = index.fan_out(lambda name: bool(self.receivers.matching(name)), redispatch_seconds=300).names
        for _ in range(MAX_DELIVERIES if names else 0):
            self.deliver(box, *names)
            if self.reports[-1].is_idle:
                index.settle(names)
                return
        assert not names, "the deliveries do not come to an end"

    def recover(self) -> None:
        box = self.box()
        self.failing.clear()
        self.deadly.clear()
        for _ in range(20):
            self.clock.advance(400)
            self.drain(box)
            if all(is_widened_and_empty(status) for status in look(box, Index(box).entries()).values()):
                return

    def dead(self) -> set[str]:
        letters = DeadLetters(self.box())
        return {self.ids[letter.id] for name in NAMES for letter in letters.list(name)}

    def lost(self) -> set[str]:
        """What was acknowledged and neither ran nor is a dead letter, but for what somebody took out on purpose."""
        return self.acknowledged - set(self.handled) - self.dead() - self.discardable

    def check(self) -> None:
        """Nothing reliable is lost, nothing weak ran twice, and the index is empty."""
        lost = {key for key in self.lost() if not key.startswith("weak")}
        assert not lost, f"lost: {lost}"
        if self.discardable:
            assert not any(report.lost for report in self.reports), "what waits refers to what is gone"
        self.check_weak()
        self.check_index()

    def check_index(self) -> None:
        left = look(self.box(), Index(self.box()).entries()).values()
        assert all(map(is_widened_and_empty, left)), f"names stay in the index: {left}"

    def check_weak(self) -> None:
        repeated = [key for key, count in self.begun.items() if key.startswith("weak") and count > 1]
        assert not repeated, f"weak messages ran twice: {repeated}"


def is_widened_and_empty(status: MailboxStatus) -> bool:
    """Whether a listed name is one that stays in the index by design."""
    return status.width > 1 and not (status.waiting or status.leased or status.retrying)


def key_of(text: str) -> str:
    """The key that `text` starts with; what comes after it makes a message large."""
    return text[:40].rstrip("x")


Scenario = Callable[[Scene], Callable[[Mailbox], None]]
"""Prepares a scene and returns what the process does that meets the trouble."""


def send_to_a_quiet_name(scene: Scene) -> Callable[[Mailbox], None]:
    return lambda box: scene.send(box, "one/1")


def send_again(scene: Scene) -> Callable[[Mailbox], None]:
    """With a store that takes ids only the first of them is read for; one of them seals the page."""

    def act(box: Mailbox) -> None:
        for number in range(FULL_MESSAGES + 2):
            scene.send(box, f"one/{number}")

    return act


def send_again_after_others(scene: Scene) -> Callable[[Mailbox], None]:
    """What was known is out of date, each time in another way."""

    def act(box: Mailbox) -> None:
        scene.send(box, "one/1", "batch/1")
        scene.send(scene.box(), "one/of another")
        scene.send(box, "one/2", "batch/2")
        scene.drain(scene.box())
        scene.send(box, "batch/3")
        scene.drain(scene.box())
        scene.clock.advance(11)
        for number in range(4, 7):
            scene.send(box, f"one/{number}", f"batch/{number}")

    return act


def send_to_a_full_page(scene: Scene) -> Callable[[Mailbox], None]:
    for number in range(FULL_MESSAGES):
        scene.send(scene.box(), f"one/{number}")
    return lambda box: scene.send(box, "one/new")


def send_a_body(scene: Scene) -> Callable[[Mailbox], None]:
    scene.send(scene.box(), "one/1")
    return lambda box: scene.send(box, "one/" + "body".ljust(36, "x") + BODY)


def send_many(scene: Scene) -> Callable[[Mailbox], None]:
    scene.send(scene.box(), *(f"one/{number}" for number in range(FULL_MESSAGES)))
    new = [f"{name}/new {number}" for name in ("one", "batch", "weak") for number in range(6)]
    return lambda box: scene.send(box, *new)


def send_on_a_lane(scene: Scene) -> Callable[[Mailbox], None]:
    scene.send(scene.box(), "one/1")
    home = Page.from_bytes(scene.store.gets([page_key("one")])[page_key("one")].value)  # type: ignore[union-attr]
    scene.store.write(
        [Set(page_key("one"), Page(home.epoch, home.messages, width=4, hot_ms=scene.box().now_ms()).to_bytes())]
    )

    def send(box: Mailbox) -> None:
        box.lanes.keep("one", 3, box.now_ms())
        scene.send(box, "one/lane 3")

    return send


def send_twice_and_deliver_between(scene: Scene) -> Callable[[Mailbox], None]:
    def act(box: Mailbox) -> None:
        scene.send(box, "one/1", "batch/1")
        scene.deliver(box)
        scene.send(box, "one/2")

    return act


def fill(scene: Scene) -> None:
    """Sealed segments, bodies inside them and at hand, bundles, several names."""
    box = scene.box()
    for number in range(6):
        scene.send(box, f"one/{number}")
        scene.send(box, f"weak/{number}")
    scene.send(box, "one/" + "body".ljust(36, "x") + BODY)
    scene.send(box, *(f"batch/{number}" for number in range(7)))


def deliver_all(scene: Scene) -> Callable[[Mailbox], None]:
    fill(scene)
    return lambda box: scene.deliver(box)


def deliver_weak(scene: Scene) -> Callable[[Mailbox], None]:
    fill(scene)
    return lambda box: scene.deliver(box, "weak")


def deliver_some(scene: Scene) -> Callable[[Mailbox], None]:
    fill(scene)

    def act(box: Mailbox) -> None:
        scene.reports.append(deliver(scene.receivers, lease_seconds=LEASE_SECONDS, max_messages=3, mailbox=box))

    return act


def retry(scene: Scene) -> Callable[[Mailbox], None]:
    scene.send(scene.box(), "one/1", "one/2", "batch/1", "batch/2")
    scene.failing.update(("one/1", "batch/2"))

    def act(box: Mailbox) -> None:
        for _ in range(2):
            scene.deliver(box)
            scene.clock.advance(10)

    return act


def die_out(scene: Scene) -> Callable[[Mailbox], None]:
    scene.send(scene.box(), "one/1", "one/2", "batch/1", "batch/2", "one/" + "body".ljust(36, "x") + BODY)
    scene.failing.update(("one/1", "batch/2", "one/body"))

    def act(box: Mailbox) -> None:
        for _ in range(4):
            scene.deliver(box)
            scene.clock.advance(10)

    return act


def take_over(scene: Scene) -> Callable[[Mailbox], None]:
    fill(scene)
    scene.failing.update(("one/1", "batch/4"))
    scene.deadly.add("one/3")
    with contextlib.suppress(DiedError):
        scene.deliver(scene.box())
    scene.clock.advance(100)
    scene.deadly.clear()
    return lambda box: scene.deliver(box)


def take_over_at_a_position(scene: Scene) -> Callable[[Mailbox], None]:
    act = take_over(scene)
    scene.deadly.add("one/3")
    with contextlib.suppress(DiedError):
        act(scene.box())
    scene.deadly.clear()
    scene.clock.advance(100)
    return act


def take_over_some(scene: Scene) -> Callable[[Mailbox], None]:
    take_over(scene)

    def act(box: Mailbox) -> None:
        for _ in range(3):
            scene.reports.append(deliver(scene.receivers, lease_seconds=LEASE_SECONDS, max_messages=2, mailbox=box))

    return act


def tick(scene: Scene) -> Callable[[Mailbox], None]:
    fill(scene)
    scene.failing.add("one/5")
    return scene.drain


def requeue(scene: Scene) -> Callable[[Mailbox], None]:
    die_out(scene)(scene.box())
    scene.failing.clear()
    return lambda box: DeadLetters(box).requeue("one") and None


def drop(scene: Scene) -> Callable[[Mailbox], None]:
    """One dead letter, with a body, is dropped; the one beside it stays."""
    die_out(scene)(scene.box())
    scene.discardable = {"one/body"}
    return lambda box: DeadLetters(box).drop("one", [id_of(scene, "one/body")]) and None


def id_of(scene: Scene, key: str) -> str:
    return next(id_ for id_, its_key in scene.ids.items() if its_key == key)


def discard_beside_leases(scene: Scene) -> Callable[[Mailbox], None]:
    """A dead process holds leases, messages wait for their retry, and more is sent: all but the leases may go."""
    scene.send(scene.box(), "one/again", "batch/again")
    scene.failing.update(("one/again", "batch/again"))
    scene.deliver(scene.box())
    take_over(scene)
    new = [f"{name}/new {number}" for name in ("one", "batch") for number in range(FULL_MESSAGES + 2)]
    for text in (*new, "one/" + "new body".ljust(36, "x") + BODY):
        scene.send(scene.box(), text)
    scene.send(scene.box(), *(f"batch/many {number}" for number in range(7)))
    scene.discardable = {key for key in scene.acknowledged if "new" in key or "many" in key or "again" in key}
    return lambda box: discard(box, ["one", "batch"]) and None


def _fail_some(scene: Scene) -> list[str]:
    """Messages of which two are to be retried, beside others that are; the ids of the two."""
    scene.send(scene.box(), *(f"one/{number}" for number in range(6)), "one/" + "body".ljust(36, "x") + BODY)
    scene.failing.update(("one/1", "one/2", "one/4", "one/body"))
    scene.deliver(scene.box())
    scene.send(scene.box(), "one/new")
    return [id_of(scene, key) for key in ("one/2", "one/body")]


def hasten_retries(scene: Scene) -> Callable[[Mailbox], None]:
    ids = _fail_some(scene)
    return lambda box: hasten(box, "one", ids) and None


def drop_retries_of_some(scene: Scene) -> Callable[[Mailbox], None]:
    ids = _fail_some(scene)
    scene.discardable = {"one/2", "one/body"}
    return lambda box: drop_retries(box, "one", ids) and None


def kill_retries(scene: Scene) -> Callable[[Mailbox], None]:
    ids = _fail_some(scene)
    return lambda box: kill(box, "one", ids) and None


SCENARIOS: list[Scenario] = [
    send_to_a_quiet_name,
    send_again,
    send_again_after_others,
    send_to_a_full_page,
    send_a_body,
    send_many,
    send_on_a_lane,
    send_twice_and_deliver_between,
    deliver_all,
    deliver_weak,
    deliver_some,
    retry,
    die_out,
    take_over,
    take_over_at_a_position,
    take_over_some,
    tick,
    requeue,
    drop,
    discard_beside_leases,
    hasten_retries,
    drop_retries_of_some,
    kill_retries,
]
