"""What the Cloud Tasks emulator sends to services, and when; a real HTTP service receives it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from devserver.tasks.dispatcher import Attempt
from devserver.tasks.emulator import TasksEmulator

from ..conftest import QUEUE_YAML, Clock, Service, wait_until
from .calls import LOCATION, QUEUE, batch, in_seconds, pass_time, task

Connect = Callable[[TasksEmulator], tasks_v2.CloudTasksClient]


class TestDispatch:
    def test_a_task_reaches_its_service_with_its_body_and_app_engines_headers(
        self, client: tasks_v2.CloudTasksClient, service: Service, clock: Clock
    ) -> None:
        created = client.create_task(
            parent=QUEUE,
            task=task("/tasks/deliver?x=1", body=b'{"names": []}', headers={"Content-Type": "application/json"}),
        )
        wait_until(lambda: service.requests)
        (request,) = service.requests
        assert (request.method, request.path, request.body) == ("POST", "/tasks/deliver?x=1", b'{"names": []}')
        expected = {
            "content-type": "application/json",
            "user-agent": "AppEngine-Google; (+http://code.google.com/appengine)",
            "x-appengine-queuename": "signals",
            "x-appengine-taskname": created.name.rpartition("/")[2],
            "x-appengine-taskretrycount": "0",
            "x-appengine-taskexecutioncount": "0",
            "x-appengine-tasketa": f"{clock():.6f}",
        }
        assert expected.items() <= dict(request.headers).items()
        assert "x-appengine-taskpreviousresponse" not in request.headers

    def test_a_task_cannot_set_the_headers_of_the_service(
        self, client: tasks_v2.CloudTasksClient, service: Service
    ) -> None:
        headers = {"X-AppEngine-QueueName": "fake", "Host": "fake", "User-Agent": "mine", "X-Mine": "kept"}
        client.create_task(parent=QUEUE, task=task(headers=headers))
        wait_until(lambda: service.requests)
        received = service.requests[0].headers
        assert (received["x-appengine-queuename"], received["x-mine"]) == ("signals", "kept")
        assert received["host"] != "fake"
        assert received["user-agent"] == "mine AppEngine-Google; (+http://code.google.com/appengine)"

    def test_a_task_without_a_service_goes_to_the_default_one(
        self, client: tasks_v2.CloudTasksClient, service: Service
    ) -> None:
        client.create_task(parent=QUEUE, task={"app_engine_http_request": {"http_method": "GET"}})
        wait_until(lambda: service.requests)
        assert (service.requests[0].method, service.requests[0].path) == ("GET", "/the-default/")

    def test_the_target_of_a_queue_overrides_that_of_its_tasks(
        self, client: tasks_v2.CloudTasksClient, service: Service
    ) -> None:
        client.create_task(parent=f"{LOCATION}/queues/fixed", task=task("/here", service="elsewhere"))
        wait_until(lambda: service.requests)
        assert service.requests[0].path == "/here"

    def test_an_http_task_goes_to_its_url(self, client: tasks_v2.CloudTasksClient, service: Service) -> None:
        client.create_task(parent=QUEUE, task={"http_request": {"url": f"{service.url}/hook", "body": b"x"}})
        wait_until(lambda: service.requests)
        (request,) = service.requests
        assert (request.method, request.path, request.headers["x-cloudtasks-queuename"]) == ("POST", "/hook", "signals")

    def test_a_task_waits_for_its_time(
        self, client: tasks_v2.CloudTasksClient, emulator: TasksEmulator, service: Service, clock: Clock
    ) -> None:
        client.create_task(parent=QUEUE, task=task("/later", schedule_time=in_seconds(clock, 600)))
        client.create_task(parent=QUEUE, task=task("/now"))
        wait_until(lambda: service.requests)
        pass_time(emulator, clock, 600)
        wait_until(lambda: len(service.requests) == 2)
        assert [request.path for request in service.requests] == ["/now", "/later"]

    def test_no_more_run_at_once_than_the_queue_allows(
        self, client: tasks_v2.CloudTasksClient, emulator: TasksEmulator, service: Service
    ) -> None:
        service.gate.clear()
        batch(client, *[task() for _ in range(5)])
        wait_until(lambda: len(service.requests) == 2)
        emulator.wake()
        assert emulator.queues["signals"].running == 2
        service.gate.set()
        wait_until(lambda: len(service.requests) == 5)

    def test_a_failed_task_runs_again_after_its_backoff_and_says_why(
        self,
        client: tasks_v2.CloudTasksClient,
        emulator: TasksEmulator,
        service: Service,
        clock: Clock,
        attempts: list[Attempt],
    ) -> None:
        service.statuses += [500]
        client.create_task(parent=QUEUE, task=task(name="mine"))
        wait_until(lambda: attempts)
        waiting = client.get_task(name=f"{QUEUE}/tasks/mine")
        assert (waiting.dispatch_count, waiting.response_count) == (1, 1)
        assert waiting.last_attempt.response_status.message == "HTTP status code 500"
        pass_time(emulator, clock, 10)
        wait_until(lambda: len(attempts) == 2)
        headers = service.requests[1].headers
        assert headers["x-appengine-taskretrycount"] == "1"
        assert headers["x-appengine-taskexecutioncount"] == "1"
        assert headers["x-appengine-taskpreviousresponse"] == "500"
        assert headers["x-appengine-taskretryreason"] == "App Error"
        assert [(each.number, each.again_in_seconds, each.answer.is_success) for each in attempts] == [
            (1, 10, False),
            (2, None, True),
        ]

    def test_a_task_is_given_up_after_the_retries_of_its_queue(
        self,
        client: tasks_v2.CloudTasksClient,
        emulator: TasksEmulator,
        service: Service,
        clock: Clock,
        attempts: list[Attempt],
    ) -> None:
        service.statuses += [404, 301, 429, 500]
        client.create_task(parent=QUEUE, task=task(name="mine"))
        for number in (1, 2, 3):
            wait_until(lambda number=number: len(attempts) == number)
            pass_time(emulator, clock, 100)
        assert [each.again_in_seconds for each in attempts] == [10, 20, None]
        with pytest.raises(exceptions.NotFound):
            client.get_task(name=f"{QUEUE}/tasks/mine")

    @pytest.mark.parametrize("target", ["nowhere", "refusing"])
    def test_a_service_that_cannot_be_reached_is_a_failed_attempt(
        self, connect: Connect, clock: Clock, attempts: list[Attempt], target: str
    ) -> None:
        closed = Service()
        closed.close()
        services = {"refusing": closed.url}
        with TasksEmulator(QUEUE_YAML, services.get, clock=clock, report=attempts.append) as emulator:
            client = connect(emulator)
            client.create_task(parent=QUEUE, task=task(name="mine", service=target))
            wait_until(lambda: attempts)
            waiting = client.get_task(name=f"{QUEUE}/tasks/mine")
        assert (waiting.dispatch_count, waiting.response_count) == (1, 0)
        assert attempts[0].answer.status is None
        assert attempts[0].answer.reason
        assert attempts[0].again_in_seconds == 10
