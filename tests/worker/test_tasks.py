"""Tasks: names are delivered until they are empty or time is up, and nothing is lost whatever fails."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from gaesignals import Receivers, Signal, current_message, send_many
from gaesignals.data.codec import dumps
from gaesignals.errors import StoreError
from gaesignals.format.keys import PAUSED_NAMES, page_key
from gaesignals.format.page import Page
from gaesignals.format.taking import FAILED_LAST, Budget, lease
from gaesignals.mailbox.box import Mailbox
from gaesignals.mailbox.index import Index
from gaesignals.mailbox.pause import Pauses
from gaesignals.stores.store import Set
from gaesignals.testing import Call, ManualClock, MemoryStore
from worker.dispatcher import Dispatcher
from worker.pauses import KnownPauses
from worker.queue import MAX_SIBLINGS, Task
from worker.tasks import Deliverer, Shift

from .conftest import TASK_HEADERS, Client, MakeClient
from .recording_queue import RecordingQueue


@pytest.fixture
def handled() -> list[Any]:
    return []


@pytest.fixture
def receivers(handled: list[Any]) -> Receivers:
    receivers = Receivers()
    receivers.connect("weak", handled.append, id="weak")
    receivers.connect("firm", handled.append, id="firm", reliable=True, max_attempts=2, backoff_seconds=0)
    return receivers


@pytest.fixture
def client(make_client: MakeClient, receivers: Receivers) -> Client:
    return make_client(receivers)


class TestOverHttp:
    @pytest.mark.parametrize("name", ["weak", "firm"])
    def test_a_task_delivers_its_names(self, client: Client, handled: list[Any], name: str) -> None:
        Signal(name).send({"order": 1})
        report = client.task({"names": [name]}).json
        assert handled == [{"order": 1}]
        assert (report["delivered"], report["remaining"], report["handed_over"]) == (1, 0, 0)

    def test_send_then_cron_then_task_is_the_whole_way(self, client: Client, handled: list[Any]) -> None:
        send_many([("weak", 1), ("firm", 2)])
        client.cron()
        assert [answer.status_int for answer in client.run_tasks()] == [200]
        assert sorted(handled) == [1, 2]
        assert client.cron().json["names"] == 0

    @pytest.mark.parametrize(("waited_seconds", "siblings"), [(60, 0), (0, 1), (-60, 1), (None, 1)])
    def test_a_task_that_waited_long_for_its_place_brings_in_no_other(
        self, client: Client, waited_seconds: float | None, siblings: int
    ) -> None:
        send_many([("weak", number) for number in range(40)])
        eta = "nonsense" if waited_seconds is None else str(time.time() - waited_seconds)
        headers = {**TASK_HEADERS, "X-AppEngine-TaskETA": eta}
        assert (
            client.http.post_json("/tasks/deliver", {"names": ["weak"]}, headers=headers).json["siblings"] == siblings
        )

    def test_a_name_that_was_emptied_leaves_the_index(self, client: Client) -> None:
        Signal("weak").send()
        client.task({"names": ["weak"]})
        assert client.http.get("/admin/status").json["names"][0]["due_at"] is None

    def test_a_task_whose_names_are_empty_is_done(self, client: Client) -> None:
        assert client.task({"names": ["weak", "firm"]}).json["delivered"] == 0

    def test_a_name_without_a_receiver_is_left_in_the_index(self, client: Client) -> None:
        Signal("somebody_elses").send()
        client.task({"names": ["somebody_elses", "never_sent"]}, status=200)
        assert [each["name"] for each in client.http.get("/admin/status").json["unmatched"]] == ["somebody_elses"]

    def test_a_handler_that_fails_does_not_fail_the_task(self, make_client: MakeClient) -> None:
        receivers = Receivers()

        @receivers.receiver("firm", reliable=True, backoff_seconds=3600)
        def explode(data: object) -> None:
            raise RuntimeError("secret of the payload")

        client = make_client(receivers)
        Signal("firm").send()
        answer = client.task({"names": ["firm"]}, status=200)
        assert (answer.json["failed"], answer.json["retried"]) == (1, 1)
        assert "secret" not in answer.text

    def test_a_handler_sends_to_the_mailbox_that_it_is_called_from(
        self, make_client: MakeClient, handled: list[Any]
    ) -> None:
        store = MemoryStore()
        receivers = Receivers()
        receivers.connect("first", lambda data: Signal("second").send(data), id="first")
        receivers.connect("second", handled.append, id="second")
        Mailbox(store).send([("first", dumps(5))])
        client = make_client(receivers, store=store)
        client.task({"names": ["first"]})
        client.task({"names": ["second"]})
        assert handled == [5]

    def test_memcache_that_fails_makes_the_task_come_again(
        self, client: Client, break_memcache: Callable[[], None]
    ) -> None:
        break_memcache()
        client.task({"names": ["weak"]}, status=503)

    def test_a_task_that_arrives_after_the_stop_comes_again_untouched(self, client: Client, handled: list[Any]) -> None:
        Signal("weak").send()
        client.worker.stopping.set()
        client.task({"names": ["weak"]}, status=503)
        assert handled == []
        assert client.queue.tasks == []


class TestBadBodies:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"", "the body is not JSON"),
            (b"{", "the body is not JSON (line 1, column 2)"),
            (b"\xff\xfe", "the body is not JSON"),
            (b"[" * 100_000, "the body is not JSON"),
            (b'{"names": [' + b"9" * 5000 + b"]}", "not"),
            (b'{"names": NaN}', "the body is not JSON"),
            (b"null", "has to be a JSON object, not null"),
            (b"[]", "has to be a JSON object, not a list"),
            (b'"a"', "has to be a JSON object, not a string"),
            (b"true", "has to be a JSON object, not true or false"),
            (b"1.5", "has to be a JSON object, not a number"),
            (b"{}", "names has to be a list of strings, not null"),
            (b'{"names": "weak"}', "names has to be a list of strings, not a string"),
            (b'{"names": {"weak": 1}}', "names has to be a list of strings, not an object"),
            (b'{"names": []}', "names is empty"),
            (b'{"names": ["weak", 7]}', "it has a number in it"),
            (b'{"names": [null]}', "it has null in it"),
            (b'{"names": [["weak"]]}', "it has a list in it"),
            (b'{"names": [""]}', "bad signal name"),
            (b'{"names": ["a\\u0000b"]}', "bad signal name"),
            (b'{"names": ["a\\nb"]}', "bad signal name"),
            (b'{"names": ["\\ud800"]}', "bad signal name"),
            (json.dumps({"names": ["x" * 201]}).encode(), "bad signal name"),
            (json.dumps({"names": [f"n{number}" for number in range(101)]}).encode(), "send at most 100"),
            (json.dumps({"names": [f"n{number}" for number in range(10_000)]}).encode(), "names has 10000 entries"),
            (b'{"names": ["weak"], "name": 1}', "unknown field 'name'; there is names, siblings"),
            (b'{"names": ["weak"], "siblings": -1}', "siblings has to be a number from 0 to 99"),
            (b'{"names": ["weak"], "siblings": 100}', "siblings has to be a number"),
            (b'{"names": ["weak"], "siblings": true}', "siblings has to be a number"),
            (b'{"names": ["weak"], "siblings": "1"}', "siblings has to be a number"),
            (b'{"names": ["weak"], "siblings": 1.0}', "siblings has to be a number"),
        ],
    )
    def test_get_a_clear_error_and_a_line_in_the_log(
        self, client: Client, handled: list[Any], caplog: pytest.LogCaptureFixture, body: bytes, error: str
    ) -> None:
        Signal("weak").send()
        answer = client.raw_task(body, status=400)
        assert error in answer.json["error"]
        assert handled == []
        assert (caplog.records[-1].levelno, caplog.records[-1].getMessage()) == (
            logging.ERROR,
            "a task that cannot be read",
        )
        assert caplog.records[-1].__dict__["detail"].isprintable()

    @pytest.mark.parametrize(
        "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
    )
    def test_of_another_type_are_refused(self, client: Client, content_type: str) -> None:
        answer = client.raw_task(b'{"names": ["weak"]}', content_type, status=415)
        assert "application/json" in answer.json["error"]

    def test_that_are_too_large_are_refused(self, client: Client) -> None:
        assert client.raw_task(b"x" * (2**20 + 1), status=413).json == {"error": "The request is too large."}

    def test_never_come_back_in_the_answer(self, client: Client) -> None:
        assert "password" not in client.raw_task(b'{"names": [password]}', status=400).text

    def test_of_other_methods_are_refused(self, client: Client) -> None:
        answer = client.http.get("/tasks/deliver", headers={"X-AppEngine-QueueName": "signals"}, status=405)
        assert answer.headers["Allow"] == "OPTIONS, POST"

    def test_with_a_name_twice_count_it_once(self, client: Client, handled: list[Any]) -> None:
        Signal("weak").send(1)
        client.task({"names": ["weak", "weak"]})
        assert handled == [1]


class World:
    """A deliverer on a mailbox in memory, with a clock that handlers move forward."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        # Names take turns by lot; the lot of this seed is that the quick one of two comes first.
        self.mailbox = Mailbox(self.store, clock=self.clock, random=random.Random(1), sleep=self.clock.advance)
        self.pending = Index(self.mailbox)
        self.queue = RecordingQueue()
        self.receivers = Receivers()
        self.handled: list[Any] = []
        self.is_stopping = False
        self.during: Callable[[], None] = lambda: None
        self.dispatcher = Dispatcher(
            index=self.pending, receivers=self.receivers, queue=self.queue, redispatch_seconds=300
        )
        self.deliverer = Deliverer(
            receivers=self.receivers,
            mailbox=self.mailbox,
            index=self.pending,
            dispatcher=self.dispatcher,
            should_stop=lambda: self.is_stopping,
            pauses=KnownPauses(Pauses(self.mailbox)),
            clock=self.clock,
        )

    def connect(self, name: str, *, seconds: float = 0.0, **options: Any) -> None:
        def handle(data: object) -> None:
            self.handled.append(current_message().id)
            self.clock.advance(seconds)
            self.during()

        self.receivers.connect(name, handle, id=name, **options)

    def send(self, name: str, count: int = 1) -> None:
        for start in range(0, count, 500):
            self.mailbox.send([(name, dumps(number)) for number in range(start, min(count, start + 500))])

    def send_singly(self, name: str, count: int) -> None:
        for number in range(count):
            self.mailbox.send([(name, dumps(number))])

    def run(self, task: Task, *, seconds: float = 120.0) -> Shift:
        return self.deliverer.run(task.names, seconds=seconds, siblings=task.siblings)

    def drain(self, *, seconds: float = 120.0, at_most: int = 10_000) -> list[Shift]:
        """Fan out, and run tasks until there are none."""
        self.dispatcher.fan_out()
        shifts = []
        while self.queue.tasks:
            assert len(shifts) < at_most, "the queue does not become empty"
            shifts.append(self.run(self.queue.tasks.pop(0), seconds=seconds))
        return shifts

    @property
    def due(self) -> dict[str, float]:
        """The index, as seconds from now."""
        return {name: at - self.clock() for name, at in self.pending.entries().items()}


@pytest.fixture
def world() -> World:
    return World()


RELIABLE = [False, True]


class TestTime:
    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_that_is_up_hands_the_rest_to_a_new_task(self, world: World, reliable: bool) -> None:
        world.connect("slow", seconds=10, reliable=reliable)
        world.send("slow", 20)
        shift = world.run(Task(("slow",), siblings=0), seconds=55)
        assert (shift.report.delivered, shift.handed_over) == (6, ("slow",))
        assert world.queue.tasks == [Task(("slow",), siblings=0)]

    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_after_time_a_chain_of_tasks_delivers_everything_once(self, world: World, reliable: bool) -> None:
        world.connect("slow", seconds=10, reliable=reliable)
        world.send("slow", 100)
        shifts = world.drain(seconds=100)
        assert len(shifts) <= 20, "each may bring in two, and some of those find nothing"
        assert len(world.handled) == len(set(world.handled)) == 100
        assert world.due == {}

    def test_that_is_up_with_nothing_left_hands_over_nothing(self, world: World) -> None:
        world.connect("slow", seconds=200)
        world.send("slow")
        assert world.run(Task(("slow",))).handed_over == ()
        assert world.queue.tasks == []
        assert world.due == {}

    def test_a_name_handed_over_is_due_again_only_if_its_task_is_lost(self, world: World) -> None:
        world.connect("slow", seconds=10)
        world.send("slow", 20)
        world.run(Task(("slow",)), seconds=55)
        assert 290 < world.due["slow"] <= 300
        assert world.dispatcher.fan_out().tasks == 0

    def test_a_name_emptied_meanwhile_is_not_handed_over_with_the_others(self, world: World) -> None:
        world.connect("quick", reliable=True)
        world.connect("slow", seconds=10)
        world.send("quick")
        world.send("slow", 20)
        shift = world.run(Task(("quick", "slow"), siblings=0), seconds=55)
        assert shift.handed_over == ("slow",)
        assert set(world.due) == {"slow"}

    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_when_the_instance_stops_the_rest_is_handed_over_at_once(self, world: World, reliable: bool) -> None:
        world.connect("slow", reliable=reliable)
        world.send("slow", 20)

        def stop() -> None:
            world.is_stopping = len(world.handled) == 3

        world.during = stop
        shift = world.run(Task(("slow",)))
        assert (shift.report.delivered, shift.handed_over) == (3, ("slow",))
        world.is_stopping = False
        world.during = lambda: None
        world.drain()
        assert len(world.handled) == len(set(world.handled)) == 20

    def test_the_rest_is_due_at_once_if_the_queue_refuses_it(self, world: World) -> None:
        world.connect("slow", seconds=10)
        world.send("slow", 20)
        world.queue.refuse = lambda task: True
        shift = world.run(Task(("slow",)), seconds=55)
        assert (shift.handed_over, shift.refused) == ((), ("slow",))
        assert world.due == {"slow": 0.0}

    def test_a_hand_over_is_made_even_if_the_index_cannot_be_written(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.connect("slow", seconds=10)
        world.send("slow", 2)

        def fail(*args: object, **options: object) -> None:
            raise StoreError("the index is gone")

        monkeypatch.setattr(world.pending, "postpone", fail)
        world.run(Task(("slow",)), seconds=5)
        assert [task.names for task in world.queue.tasks] == [("slow",)]


class TestAnswersToHandOvers:
    def test_a_task_whose_rest_is_handed_over_is_done(self, make_client: MakeClient) -> None:
        client = make_client(self.stopping_receivers())
        self.prepare(client)
        answer = client.task({"names": ["weak"]}, status=200)
        assert (answer.json["delivered"], answer.json["handed_over"], answer.json["refused"]) == (1, 1, 0)
        assert [task.names for task in client.queue.tasks] == [("weak",)]

    def test_a_task_whose_rest_is_refused_comes_again(self, make_client: MakeClient) -> None:
        client = make_client(self.stopping_receivers())
        self.prepare(client)
        client.queue.refuse = lambda task: True
        answer = client.task({"names": ["weak"]}, status=503)
        assert (answer.json["delivered"], answer.json["handed_over"], answer.json["refused"]) == (1, 0, 1)
        client.worker.stopping.clear()
        assert client.task({"names": ["weak"]}, status="*").json["delivered"] == 1

    def stopping_receivers(self) -> Receivers:
        receivers = Receivers()
        receivers.connect("weak", lambda stop: stop and self.client.worker.stopping.set(), id="weak")
        return receivers

    def prepare(self, client: Client) -> None:
        self.client = client
        for _ in range(5):
            Signal("weak").send(True)


class TestALeaseThatRanOut:
    def test_has_a_task_of_its_own_where_other_names_would_wait_for_it(self, world: World) -> None:
        world.connect("held", reliable=True)
        world.connect("quick", reliable=True)
        world.send("held")
        page = world.mailbox.read([page_key("held")], Page.from_bytes)[page_key("held")].value
        assert page is not None
        made = lease(
            page, "l", now_ms=0, expires_ms=world.mailbox.now_ms() - 60_000, budget=Budget(1000), kinds=FAILED_LAST
        )
        assert made is not None
        world.mailbox.write([Set(page_key("held"), made[0].to_bytes())])
        world.send("quick")
        shift = world.run(Task(("held", "quick")))
        assert (shift.report.delivered, shift.handed_over) == (1, ("held",))
        assert [task.names for task in world.queue.tasks] == [("held",)]
        assert world.run(Task(("held",))).report.delivered == 1


class TestSiblings:
    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_a_claim_that_leaves_something_brings_in_one_before_the_first_handler(
        self, world: World, reliable: bool
    ) -> None:
        world.connect("busy", reliable=reliable)
        world.send_singly("busy", 1200)
        seen: list[int] = []
        world.during = lambda: seen.append(len(world.queue.tasks))
        shift = world.run(Task(("busy",)))
        assert shift.has_sibling
        assert seen[0] == 1
        assert world.queue.created == 1
        assert world.queue.tasks == [Task(("busy",), siblings=MAX_SIBLINGS // 2)]

    def test_a_claim_that_leaves_nothing_brings_in_none(self, world: World) -> None:
        world.connect("quiet")
        world.send_singly("quiet", 16)
        assert not world.run(Task(("quiet",))).has_sibling
        assert world.queue.created == 0

    def test_a_task_brings_in_one_however_often_it_claims(self, world: World) -> None:
        world.connect("busy")
        world.send_singly("busy", 2200)
        assert world.run(Task(("busy",))).report.delivered == 2200
        assert world.queue.created == 1

    def test_a_task_brings_in_one_though_as_much_again_comes_while_it_is_at_work(self, world: World) -> None:
        def send_again() -> None:
            if len(world.handled) == 40:
                world.send_singly("busy", 40)

        world.connect("busy")
        world.send_singly("busy", 40)
        world.during = send_again
        assert world.run(Task(("busy",))).report.delivered == 80
        assert world.queue.created == 1

    def test_the_last_of_a_chain_brings_in_none(self, world: World) -> None:
        world.connect("busy")
        world.send_singly("busy", 1200)
        assert not world.run(Task(("busy",), siblings=0)).has_sibling
        assert world.queue.created == 0

    def test_one_that_the_queue_refuses_is_not_asked_for_again(self, world: World) -> None:
        world.connect("busy")
        world.send_singly("busy", 2200)
        world.queue.refuse = lambda task: True
        shift = world.run(Task(("busy",)))
        assert (shift.has_sibling, shift.report.delivered) == (False, 2200)
        assert world.queue.asked == 1

    def test_a_task_handed_over_keeps_the_right_that_was_not_used(self, world: World) -> None:
        world.connect("slow", seconds=10)
        world.send("slow", 5)
        world.deliverer.run(["slow"], seconds=5, siblings=5, waited_seconds=3)
        assert world.queue.tasks == [Task(("slow",), siblings=5)], "it waited for its place, so it asks for nobody"

    def test_the_first_task_keeps_half_of_the_right_for_who_goes_on(self, world: World) -> None:
        world.connect("slow", seconds=10)
        world.send("slow", 40)
        world.run(Task(("slow",)), seconds=5)
        assert [task.siblings for task in world.queue.tasks] == [49, 49]
        world.run(world.queue.tasks.pop(0), seconds=5)
        assert [task.siblings for task in world.queue.tasks] == [49, 48, 0], "which has all of what is left"

    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_names_that_had_no_turn_go_on_by_fours(self, world: World, reliable: bool) -> None:
        names = [f"slow_{number}" for number in range(7)]
        for name in names:
            world.connect(name, seconds=10, reliable=reliable)
            world.send(name, 2)
        shift = world.run(Task(tuple(names)), seconds=10)
        assert shift.report.delivered == 1
        first, *parts = [task.names for task in world.queue.tasks]
        assert [len(part) for part in parts] == [4, 2]
        assert sorted([*first, *(name for part in parts for name in part)]) == names
        world.drain(seconds=10)
        assert len(world.handled) == len(set(world.handled)) == 14

    def test_a_sibling_looks_again_where_others_hold_what_they_may_hand_back(self, world: World) -> None:
        world.connect("slow", reliable=True)
        world.send("slow")
        page = world.mailbox.read([page_key("slow")], Page.from_bytes)[page_key("slow")].value
        assert page is not None
        now = world.mailbox.now_ms()
        made = lease(page, "theirs", now_ms=now, expires_ms=now + 300_000, budget=Budget(10**6), kinds=FAILED_LAST)
        assert made is not None
        world.mailbox.write([Set(page_key("slow"), made[0].to_bytes())])
        handed_back_at = len(world.store.calls) + 3

        def hand_back(call: Call) -> None:
            if len(world.store.calls) >= handed_back_at:
                world.store.before = None
                world.store.set_raw(page_key("slow"), page.to_bytes())

        world.store.before = hand_back
        assert world.run(Task(("slow",), siblings=0)).report.delivered == 1

    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_a_backlog_drains_with_few_tasks(self, world: World, reliable: bool) -> None:
        world.connect("busy", reliable=reliable)
        world.send_singly("busy", 2500)
        shifts = world.drain()
        assert len(world.handled) == len(set(world.handled)) == 2500
        assert len(shifts) <= 3
        assert world.due == {}

    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_a_backlog_that_takes_hours_does_not_fill_the_queue_with_tasks(self, world: World, reliable: bool) -> None:
        world.connect("busy", seconds=4, reliable=reliable)
        world.send("busy", 3000)
        longest = 0
        for _ in range(2000):
            world.dispatcher.fan_out()
            if not world.queue.tasks:
                break
            longest = max(longest, len(world.queue.tasks))
            world.run(world.queue.tasks.pop(0))
        assert len(world.handled) == len(set(world.handled)) == 3000
        assert world.due == {}
        assert longest <= MAX_SIBLINGS + 5

    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_many_tasks_at_once_leave_few_idle_ones(self, world: World, reliable: bool) -> None:
        """Handlers run further tasks in their midst, as the queue does up to twelve at a time."""
        world.connect("busy", seconds=0.01, reliable=reliable)
        world.send_singly("busy", 8000)
        shifts: list[Shift] = []
        depth = 0

        def run_another() -> None:
            nonlocal depth
            if depth < 11 and world.queue.tasks:
                depth += 1
                shifts.append(world.run(world.queue.tasks.pop(0)))
                depth -= 1

        world.during = run_another
        shifts += world.drain()
        assert len(world.handled) == len(set(world.handled)) == 8000
        assert sum(shift.report.delivered == 0 for shift in shifts) <= 2


class TestPauses:
    @pytest.mark.parametrize(("reliable", "calls"), [(False, 2), (True, 4)])
    def test_are_read_in_the_calls_that_read_the_pages(self, world: World, reliable: bool, calls: int) -> None:
        names = [f"user_{number}" for number in range(100)]
        for name in names:
            world.connect(name, reliable=reliable)
            world.send(name)
        world.store.calls.clear()
        assert world.run(Task(tuple(names))).report.delivered == 100

        # One more finds nothing.
        assert all(page_key(name) in call.keys for call in world.store.calls[: calls + 1] for name in names)
        reads = [number for number, call in enumerate(world.store.calls) if PAUSED_NAMES in call.keys]
        assert reads == [0, calls]

    @pytest.mark.parametrize("reliable", RELIABLE)
    def test_leave_a_name_alone_between_two_rounds(self, world: World, reliable: bool) -> None:
        world.connect("slow", seconds=1, reliable=reliable)
        world.connect("quick", reliable=reliable)
        world.send_singly("slow", 100)
        world.send("quick")
        pauses = Pauses(world.mailbox)
        world.during = lambda: pauses.pause(["slow"]) and None
        shift = world.run(Task(("slow", "quick")), seconds=1000)

        assert (shift.paused, shift.handed_over) == (("slow",), ())
        assert 1 < shift.report.delivered <= 17
        world.during = lambda: None
        assert world.run(Task(("slow", "quick"))).report.delivered == 0
        assert world.due.keys() == {"slow"}
        pauses.resume(["slow"])
        world.drain()
        assert len(world.handled) == len(set(world.handled)) == 101


class TestSettling:
    def test_a_failed_message_is_due_when_it_is_to_be_retried(self, world: World) -> None:
        def explode(data: object) -> None:
            raise RuntimeError

        world.receivers.connect("firm", explode, reliable=True, backoff_seconds=1000)
        world.send("firm")
        world.run(Task(("firm",)))
        assert 0 <= world.due["firm"] <= 1000

    def test_a_message_that_arrives_while_its_name_is_delivered_is_delivered_too(self, world: World) -> None:
        world.connect("chatty")
        world.send("chatty")

        def send_another() -> None:
            if len(world.handled) < 5:
                world.send("chatty")

        world.during = send_another
        world.run(Task(("chatty",)))
        assert len(world.handled) == 5
        assert set(world.due) == {"chatty"}, "a name that was sent to a moment ago stays for one more look"
        world.clock.advance(60)
        world.run(Task(("chatty",)))
        assert world.due == {}
