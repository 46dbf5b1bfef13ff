"""Hot names: who widens them, who keeps them hot, and what makes them narrow again."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from gaesignals import Receivers, Signal, deliver
from gaesignals.data import codec
from gaesignals.format.keys import page_key
from gaesignals.format.lease import Holding, Lease
from gaesignals.format.page import COLD_MS, HOT_MS, MAX_WIDTH, Page
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.current import use_mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.look import look
from gaesignals.stores.store import Set
from gaesignals.testing import Call, ManualClock, MemoryStore

HOT_SECONDS, COLD_SECONDS = HOT_MS / 1000, COLD_MS / 1000
PAGES = {page_key("a", lane) for lane in range(MAX_WIDTH)}


class Name:
    """One name, whose senders are processes of their own and meet whom they are told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.handled: list[object] = []

    def process(self, seed: int = 1) -> Mailbox:
        return Mailbox(self.store, clock=self.clock, random=random.Random(seed), sleep=lambda _: None)

    def widen(self, width: int, *, hot_seconds_ago: float = 0) -> None:
        hot_ms = int((self.clock() - hot_seconds_ago) * 1000)
        self.store.write([Set(page_key("a"), Page("home", width=width, hot_ms=hot_ms).to_bytes())])

    def page(self, lane: int = 0) -> Page | None:
        value = self.store.raw(page_key("a", lane))
        return None if value is None else Page.from_bytes(value)

    @property
    def home(self) -> Page:
        page = self.page()
        assert page is not None
        return page

    def send(self, box: Mailbox, *, losses: int = 0) -> None:
        """Send from a process that somebody comes before so often."""
        left = losses

        def hook(call: Call) -> None:
            nonlocal left
            if left and call.verb == "write":
                left -= 1
                for key in PAGES.intersection(call.keys):
                    self.store.set_raw(key, self.store.raw(key) or Page("other").to_bytes())

        if losses:
            self.store.before = hook
        with use_mailbox(box):
            Signal("a").send("data")
        self.store.before = None

    def before_write_of(self, key: bytes, act: Callable[[], object]) -> None:
        """Do `act` once, before a call that writes `key` takes effect."""

        def hook(call: Call) -> None:
            if call.verb == "write" and key in call.keys:
                self.store.before = None
                act()

        self.store.before = hook

    def deliver(self) -> None:
        deliver([("a", self.handled.append)], mailbox=self.process(9))


@pytest.fixture
def name() -> Name:
    return Name()


@pytest.mark.parametrize(("losses", "width"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_two_losses_in_one_send_double_the_width(name: Name, losses: int, width: int) -> None:
    name.widen(1)
    name.send(name.process(), losses=losses)
    assert name.home.width == width
    assert name.home.is_hot(int(name.clock() * 1000)) == (width > 1)


def test_losses_of_several_sends_do_not_add_up(name: Name) -> None:
    name.widen(1)
    box = name.process()
    for _ in range(5):
        name.send(box, losses=1)
    assert name.home.width == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_name_has_sixty_four_lanes_at_most(name: Name, seed: int) -> None:
    name.widen(MAX_WIDTH)
    name.send(name.process(seed), losses=3)
    assert name.home.width == MAX_WIDTH
    name.deliver()
    assert name.handled == ["data"]


def test_one_loss_at_a_wide_name_that_has_cooled_heats_it_as_wide_as_it_is() -> None:
    """The loser picks any lane; where that is the home page, it has nothing to heat."""
    heated = 0
    for seed in range(12):
        name = Name()
        name.widen(4, hot_seconds_ago=HOT_SECONDS + 1)
        name.send(name.process(seed), losses=2)
        assert name.home.width == 4, "that loss is none of the two that double"
        heated += name.home.is_hot(int(name.clock() * 1000))
    assert heated >= 6


@pytest.mark.parametrize("lane", [0, 2])
def test_who_meets_nobody_keeps_no_name_hot(name: Name, lane: int) -> None:
    name.widen(4)
    hot_ms = name.home.hot_ms
    box = name.process()
    box.lanes.keep("a", lane, hot_ms)
    for _ in range(8):
        name.send(box)
        name.clock.advance(10)
    assert name.home.hot_ms == hot_ms


def test_a_process_stays_on_its_lane_for_a_minute_from_when_the_name_was_hot(name: Name) -> None:
    name.widen(1)
    box = name.process()
    name.send(box, losses=2)
    for _ in range(5):
        name.clock.advance(11)
        name.send(box)
    lane, home = name.page(1), name.home
    assert lane is not None
    assert (lane.waiting_count, home.waiting_count) == (5, 1)
    name.clock.advance(11)
    name.send(box)
    assert name.home.waiting_count == 2
    assert name.home.hot_ms == home.hot_ms


def test_a_lane_that_the_home_page_does_not_have_is_used_through_the_home_page(name: Name) -> None:
    name.widen(2)
    box = name.process()
    box.lanes.keep("a", 3, box.now_ms())
    name.send(box)
    assert name.page(3) is None
    assert (name.home.width, name.home.waiting_count) == (4, 1)


def test_a_name_is_narrow_again_once_it_was_cold_and_empty(name: Name) -> None:
    name.widen(4)
    name.clock.advance(COLD_SECONDS)
    name.deliver()
    assert name.home.width == 4
    name.clock.advance(1)
    name.deliver()
    assert name.home.width == 1
    assert name.store.ttl_seconds(page_key("a")), "as any empty page"


def test_a_name_stays_wide_for_as_long_as_a_lane_holds_something(name: Name) -> None:
    name.widen(4, hot_seconds_ago=COLD_SECONDS + 1)
    at_work = Lease("lease", int((name.clock() + 60) * 1000), Holding(0, 1))
    name.store.write([Set(page_key("a", 2), Page("lane", leases=(at_work,)).to_bytes())])
    name.deliver()
    assert name.home.width == 4


def test_what_a_lane_lost_goes_back_to_the_home_page(name: Name) -> None:
    """The name may have fewer lanes by now."""
    name.widen(4)
    box = name.process()
    box.lanes.keep("a", 3, box.now_ms())
    name.send(box)

    def fail(data: object) -> None:
        name.store.evict([page_key("a", 3)])
        raise RuntimeError

    receivers = Receivers()
    receivers.connect("a", fail, reliable=True, id="it")
    deliver(receivers, mailbox=box)
    assert len(name.home.retries) == 1
    assert name.page(3) is None


def test_who_finds_the_home_page_changed_does_not_narrow_it_by_lanes_that_it_read_before(name: Name) -> None:
    name.widen(4, hot_seconds_ago=COLD_SECONDS + 1)
    home = name.store.raw(page_key("a"))
    elsewhere = Name()
    elsewhere.send(elsewhere.process())

    def come_between() -> None:
        name.store.set_raw(page_key("a"), home or b"")
        name.store.set_raw(page_key("a", 2), elsewhere.store.raw(page_key("a")) or b"")

    name.before_write_of(page_key("a"), come_between)
    name.deliver()
    assert name.home.width == 4
    name.deliver()
    assert name.handled == ["data"]


def test_a_send_that_stalled_until_its_lane_was_gone_brings_back_lane_and_name(name: Name) -> None:
    name.widen(4)
    box, other = name.process(1), name.process(2)
    box.lanes.keep("a", 3, box.now_ms())

    def stall() -> None:
        name.clock.advance(COLD_SECONDS + 1)
        for _ in range(2):
            name.deliver()
        assert name.home.width == 1
        Index(other).settle(["a"])
        assert not Index(other).entries()

    other.send([("a", codec.dumps("first"))])
    name.before_write_of(page_key("a", 3), stall)
    name.send(box)
    assert name.page(3) is not None
    assert name.home.width == 4
    assert name.home.is_hot(int(name.clock() * 1000))
    assert "a" in Index(other).entries()
    assert look(other, ["a"])["a"].waiting == 1


def test_a_write_to_a_lane_whose_answer_was_lost_is_vouched_for(name: Name) -> None:
    name.widen(4, hot_seconds_ago=30)
    box = name.process()
    box.lanes.keep("a", 3, box.now_ms())

    def lose(call: Call) -> list[bytes] | None:
        if call.verb != "write" or page_key("a", 3) not in call.keys:
            return None
        name.store.after = None
        return [page_key("a", 3)]

    name.store.after = lose
    name.send(box)
    assert look(box, ["a"])["a"].waiting == 1
    assert name.home.hot_ms == box.now_ms(), "the home page has the lane for certain"
