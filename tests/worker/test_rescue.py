"""The route of rescue tasks: what a queue is told, and what becomes of the messages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from gaesignals import Message, Receivers, Signal
from gaesignals.data.codec import seal
from gaesignals.format.keys import marker_key
from gaesignals.format.rescue import VERSION, Rescue
from gaesignals.mailbox.current import use_mailbox
from gaesignals.message import current_message
from gaesignals.stores.store import Outcome, Set
from gaesignals.tasks.memory import QueuedTask

from .conftest import Client, MakeClient

LATER, SAFETY = "signals-later", "signals-safety"


@pytest.fixture
def handled() -> list[Message]:
    return []


@pytest.fixture
def client(make_client: MakeClient, handled: list[Message]) -> Client:
    receivers = Receivers()
    receivers.connect("a", lambda data: handled.append(current_message()), id="it")
    return make_client(receivers)


def send(client: Client, *args: object, name: str = "a", **options: object) -> bytes:
    """Send something for later; return the body of its task."""
    with use_mailbox(client.worker.extensions["gaesignals"]):
        Signal(name).send(*args, **options)  # type: ignore[call-overload]  # tests give what they like
    (queued,) = client.tasks.waiting(LATER)
    client.tasks.finish(queued)
    return queued.task.body


def test_a_message_for_later_is_sent_when_its_task_comes(client: Client, handled: list[Message]) -> None:
    body = send(client, 7, delay_seconds=60)
    assert client.rescue(body).json["rescue"] == "done"
    client.task({"names": ["a"]})
    assert [message.data for message in handled] == [7]


def test_its_name_goes_out_with_the_next_fan_out(client: Client) -> None:
    client.rescue(send(client, 7, delay_seconds=60))
    assert client.cron().json["names"] == 1


def test_where_memcache_is_away_the_task_comes_again(client: Client, break_memcache: Callable[[], None]) -> None:
    body = send(client, 7, delay_seconds=60)
    break_memcache()
    assert client.rescue(body, status=503).json["rescue"] == "away"


def test_a_task_that_cannot_be_read_is_refused_and_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert client.rescue(b"no task", status=400).json["rescue"] == "unreadable"
    assert caplog.records[-1].levelno == logging.ERROR


def test_a_task_of_a_later_version_waits_for_its_worker(client: Client) -> None:
    assert client.rescue(seal(VERSION + 1, []), status=503).json["rescue"] == "away"


@pytest.mark.parametrize("queue", [LATER, "signals-safety"])
def test_the_queues_of_messages_may_call(client: Client, queue: str) -> None:
    assert client.rescue(send(client, 7, delay_seconds=60), queue=queue).status_int == 200


class TestATaskOfADurableMessage:
    @pytest.fixture
    def durable(self, client: Client) -> QueuedTask:
        with use_mailbox(client.worker.extensions["gaesignals"]):
            Signal("a", durable=True).send(7)
        (queued,) = client.tasks.waiting(SAFETY)
        return queued

    def test_comes_again_while_its_message_waits(self, client: Client, durable: QueuedTask) -> None:
        answer = client.rescue(durable.task.body, queue=SAFETY, task=durable.name, status=425)
        assert answer.json == {"rescue": "kept", "sent": 0}

    def test_that_is_marked_as_done_by_its_name_is_over(self, client: Client, durable: QueuedTask) -> None:
        mark = Set(marker_key(durable.name), b"", 60)
        assert client.worker.extensions["gaesignals"].write([mark]) == {mark.key: Outcome.STORED}
        answer = client.rescue(durable.task.body, queue=SAFETY, task=durable.name)
        assert answer.json == {"rescue": "done", "sent": 0}

    def test_has_what_its_page_may_have_lost_sent_when_it_was_tried_three_times(
        self, client: Client, durable: QueuedTask
    ) -> None:
        found = Rescue.from_bytes(durable.task.body)
        assert found.place is not None
        body = replace(found, place=replace(found.place, loss="another")).to_bytes()
        answers = [client.rescue(body, queue=SAFETY, tries=tries, expect_errors=True) for tries in range(4)]
        assert [(answer.status_int, answer.json["sent"]) for answer in answers] == [(425, 0)] * 3 + [(200, 1)]


def test_no_other_queue_may_call(client: Client) -> None:
    body = send(client, 7, delay_seconds=60)
    client.rescue(body, queue="signals", status=403)
    headers = {"X-AppEngine-QueueName": LATER}
    client.http.post_json("/tasks/deliver", {"names": ["a"]}, headers=headers, status=403)


def test_the_queues_are_those_of_the_settings(make_client: MakeClient) -> None:
    client = make_client(Receivers(), later_queue="mine")
    client.rescue(b"x", queue=LATER, status=403)
    client.rescue(b"x", queue="mine", status=400)
