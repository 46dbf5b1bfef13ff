"""A queue of its own: which tasks carry a name, and what becomes of a task that arrives in the wrong one."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from webtest import TestResponse

from gaesignals import Receivers, Retry, Signal, send_many
from gaesignals.mailbox.index import Index
from worker.config import Settings
from worker.dispatcher import Dispatcher
from worker.queue import CloudTasksQueue, Task
from worker.travel import Group, Travel

from .conftest import Client, MakeClient
from .faulty_tasks import FaultyTasks, serving


class Handled(list[str]):
    """The names that were delivered, in order."""

    def receivers(self) -> Receivers:
        receivers = Receivers()
        receivers.connect("quick", lambda data: self.append("quick"), id="quick")
        receivers.connect("mail", lambda data: self.append("mail"), id="mail", queue="partner")
        receivers.connect(Signal("mail_{to}"), lambda data, *, to: self.append("mail_" + to), id="to", queue="partner")
        receivers.connect("hour", lambda data: self.append("hour"), id="hour", lease_seconds=3600, reliable=True)
        return receivers


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def client(make_client: MakeClient, handled: Handled) -> Client:
    return make_client(handled.receivers())


def task(client: Client, names: list[str], *, queue: str = "signals", **fields: Any) -> TestResponse:
    headers = {"X-AppEngine-QueueName": queue}
    return client.http.post_json("/tasks/deliver", {"names": names, **fields}, headers=headers)


def created(client: Client) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(each.queue, each.names, each.is_handed_over) for each in client.queue.tasks]


class TestGroups:
    def travel(self) -> Travel:
        return Travel(Handled().receivers(), own="signals", lease_seconds=300)

    def test_names_share_a_task_within_their_queue(self) -> None:
        assert self.travel().groups(["quick", "mail", "mail_7", "other"]) == [
            Group("", ("quick", "other")),
            Group("partner", ("mail", "mail_7")),
        ]

    def test_a_name_with_a_long_lease_has_a_task_of_its_own(self) -> None:
        assert self.travel().groups(["hour", "quick"]) == [Group("", ("quick",)), Group("", ("hour",))]

    def test_the_queues_are_those_of_the_settings_and_of_the_receivers(self) -> None:
        assert self.travel().queues() == {"signals", "partner"}

    def test_of_several_queues_the_first_delivers_and_the_log_says_so_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        receivers = Receivers()
        receivers.connect(Signal("a_{x}"), lambda data, *, x: None, id="one", queue="first")
        receivers.connect(Signal("{x}_b"), lambda data, *, x: None, id="two", queue="second")
        travel = Travel(receivers, own="signals", lease_seconds=300)
        assert [travel.queue_of("a_b") for _ in range(3)] == ["first"] * 3
        (record,) = caplog.records
        assert (record.levelno, record.__dict__["queues"]) == (logging.ERROR, ["first", "second"])


def test_the_fan_out_gives_each_name_to_its_queue(client: Client) -> None:
    send_many([("quick", 1), ("mail", 2), ("mail_7", 3), ("hour", 4)])
    assert client.cron().json["names"] == 4
    assert sorted(created(client)) == [
        ("", ("hour",), False),
        ("", ("quick",), False),
        ("partner", ("mail", "mail_7"), False),
    ]


def test_a_task_of_that_queue_delivers(client: Client, handled: Handled) -> None:
    send_many([("mail", 1)])
    assert task(client, ["mail"], queue="partner").json["delivered"] == 1
    assert (handled, created(client)) == (["mail"], [])


def test_a_task_that_arrives_in_another_queue_is_passed_on_and_says_so(client: Client, handled: Handled) -> None:
    send_many([("mail", 1), ("quick", 2)])
    answer = task(client, ["mail", "quick"], siblings=3)
    assert (answer.json["delivered"], handled) == (1, ["quick"])
    assert created(client) == [("partner", ("mail",), True)]
    assert client.queue.tasks[0].siblings == 3


def test_one_that_was_passed_on_is_delivered_wherever_it_arrives(client: Client, handled: Handled) -> None:
    send_many([("mail", 1)])
    assert task(client, ["mail"], handed_over=True).json["delivered"] == 1
    assert (handled, created(client)) == (["mail"], [])


def test_two_versions_that_disagree_about_a_queue_hand_a_name_over_once(
    make_client: MakeClient, client: Client, handled: Handled
) -> None:
    """While a deploy rolls out a task may reach either, and neither finds it where it wants it."""
    elsewhere = Receivers()
    elsewhere.connect("mail", lambda data: handled.append("before"), id="mail", queue="signals")
    before = make_client(elsewhere)
    send_many([("mail", 1)])
    task(client, ["mail"])
    (passed,) = client.queue.tasks
    assert (passed.queue, handled) == ("partner", [])
    headers = {"X-AppEngine-QueueName": "signals"}
    answer = before.http.post("/tasks/deliver", passed.body(), headers=headers, content_type="application/json")
    assert (answer.json["delivered"], before.queue.tasks, handled) == (1, [], ["before"])


def test_what_the_queue_does_not_take_is_delivered_where_it_is(client: Client, handled: Handled) -> None:
    send_many([("mail", 1)])
    client.queue.refuse = lambda task: True
    assert task(client, ["mail"]).json["delivered"] == 1
    assert handled == ["mail"]


def test_a_name_with_a_long_lease_leaves_a_task_that_has_others(client: Client, handled: Handled) -> None:
    send_many([("hour", 1), ("quick", 2)])
    task(client, ["hour", "quick"])
    assert (handled, created(client)) == (["quick"], [("", ("hour",), True)])
    task(client, ["hour"])
    assert handled == ["quick", "hour"]


def test_what_is_left_over_stays_in_the_queue(make_client: MakeClient) -> None:
    receivers = Receivers()
    receivers.connect("mail", lambda data: None, id="mail", queue="partner")
    client = make_client(receivers)
    send_many([("mail", 1)])
    dispatcher = Dispatcher(
        index=Index(client.worker.extensions["gaesignals"]),
        receivers=receivers,
        queue=client.queue,
        redispatch_seconds=300,
        travel=Travel(receivers, own="signals", lease_seconds=300),
    )
    dispatcher.hand_over([["mail"]], siblings=2)
    dispatcher.bring_in(["mail"], siblings=1)
    assert created(client) == [("partner", ("mail",), False)] * 2


def test_the_door_knows_the_queues_of_the_receivers(client: Client) -> None:
    headers = {"X-AppEngine-QueueName": "stranger"}
    client.http.post_json("/tasks/deliver", {"names": ["mail"]}, headers=headers, status=403)
    client.http.post_json("/tasks/rescue", {}, headers={"X-AppEngine-QueueName": "partner"}, status=403)


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_a_task_says_with_a_flag_that_it_was_passed_on(client: Client, wrong: object) -> None:
    body = {"names": ["mail"], "handed_over": wrong}
    client.http.post_json("/tasks/deliver", body, headers={"X-AppEngine-QueueName": "signals"}, status=400)


def test_a_retry_stays_with_its_queue(make_client: MakeClient) -> None:
    receivers = Receivers()

    def fail(data: object) -> None:
        raise Retry(after_seconds=0)

    receivers.connect("mail", fail, id="mail", queue="partner", reliable=True)
    client = make_client(receivers)
    send_many([("mail", 1)])
    task(client, ["mail"], queue="partner")
    client.cron()
    assert {each.queue for each in client.queue.tasks} <= {"partner"}


def test_a_queue_that_does_not_exist_is_made_up_for_by_the_workers_own_which_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Missing(FaultyTasks):
        def create(self, request: Any, context: grpc.ServicerContext) -> Any:
            if request.parent.endswith("/partner"):
                context.abort(grpc.StatusCode.NOT_FOUND, "Queue does not exist.")
            return super().create(request, context)

    service = Missing()
    with serving(service) as address:
        queue = CloudTasksQueue(Settings(project="p", location="l", queue="q", tasks_emulator_host=address))
        assert [queue.create([Task(("mail",), queue="partner")]) for _ in range(2)] == [[True]] * 2
        queue.close()
    bodies = [single.task.app_engine_http_request.body for single in service.singles]
    assert bodies == [b'{"names":["mail"],"handed_over":true}'] * 2
    assert len([record for record in caplog.records if "receiver's queue" in record.message]) == 1
