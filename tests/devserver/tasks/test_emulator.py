"""The calls of the Cloud Tasks emulator, made by Google's own client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from devserver.processes.outgoing import Answer
from devserver.tasks.dispatcher import Attempt
from devserver.tasks.emulator import TasksEmulator, attempt_line
from gaesignals.appyaml.errors import ConfigError

from ..conftest import QUEUE_YAML, Clock, Service, wait_until
from .calls import LOCATION, QUEUE, batch, in_seconds, later, pass_time, task

Connect = Callable[[TasksEmulator], tasks_v2.CloudTasksClient]


class TestCreate:
    def test_the_service_names_a_task_that_has_no_name(self, client: tasks_v2.CloudTasksClient, clock: Clock) -> None:
        created = client.create_task(parent=QUEUE, task=task(body=b"secret", **later(clock)))
        assert created.name.startswith(f"{QUEUE}/tasks/")
        assert created.create_time.timestamp() == clock()
        assert created.app_engine_http_request.body == b""

    def test_the_full_view_has_the_body(self, client: tasks_v2.CloudTasksClient, clock: Clock) -> None:
        created = client.create_task({"parent": QUEUE, "task": task(body=b"text", **later(clock)), "response_view": 2})
        assert created.app_engine_http_request.body == b"text"

    def test_a_name_is_used_once_also_when_its_task_is_done(
        self, client: tasks_v2.CloudTasksClient, attempts: list[Attempt]
    ) -> None:
        client.create_task(parent=QUEUE, task=task(name="mine"))
        wait_until(lambda: attempts)
        with pytest.raises(exceptions.AlreadyExists):
            client.create_task(parent=QUEUE, task=task(name="mine"))

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (task(body=b"x" * 102_401), "Task size too large"),
            (task(name="no spaces"), "must be formatted"),
            ({**task(), "name": "mine"}, "must be formatted"),
            ({**task(), "name": f"{LOCATION}/queues/other/tasks/mine"}, "must be the same"),
            ({}, "must have one of"),
            (task("relative"), "must start with '/'"),
            (task("/a b"), "no space"),
            (task("/straße"), "printable ASCII"),
            (task(headers={"no name": "x"}), "'no name' is not the name of an HTTP header"),
            (task(headers={"X-Lines": "a\r\nX-More: b"}), "a character it cannot have"),
            (task(headers={"X-Euro": "€"}), "a character it cannot have"),
            (task("/" + "a" * 3000), "at most 2083"),
            ({"app_engine_http_request": {"http_method": "GET", "body": b"x"}}, "body is allowed only"),
            ({"http_request": {"url": "ftp://host/"}}, "must start with 'http://'"),
            ({"http_request": {"url": "http://[half"}}, "must start with 'http://'"),
            ({"http_request": {"url": "http://h:99999/"}}, "must start with 'http://'"),
            (task(dispatch_deadline={"seconds": 14}), r"between \[15s, 86415s\]"),
            ({"http_request": {"url": "http://h/"}, "dispatch_deadline": {"seconds": 1801}}, r"\[15s, 1800s\]"),
        ],
    )
    def test_what_the_service_would_refuse_is_an_invalid_argument(
        self, client: tasks_v2.CloudTasksClient, bad: Any, message: str
    ) -> None:
        with pytest.raises(exceptions.InvalidArgument, match=message):
            client.create_task(parent=QUEUE, task=bad)

    def test_a_time_over_30_days_ahead_is_an_invalid_argument(
        self, client: tasks_v2.CloudTasksClient, clock: Clock
    ) -> None:
        client.create_task(parent=QUEUE, task=task(schedule_time=in_seconds(clock, 30 * 86400)))
        with pytest.raises(exceptions.InvalidArgument, match="30 days"):
            client.create_task(parent=QUEUE, task=task(schedule_time=in_seconds(clock, 30 * 86400 + 1)))

    @pytest.mark.parametrize("parent", ["signals", "projects/p/queues/signals", f"{LOCATION}/queues/a_b"])
    def test_what_is_no_queue_name_is_an_invalid_argument(self, client: tasks_v2.CloudTasksClient, parent: str) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="must be formatted"):
            client.create_task(parent=parent, task=task())

    def test_a_queue_that_is_not_there_is_not_found(self, client: tasks_v2.CloudTasksClient) -> None:
        with pytest.raises(exceptions.NotFound, match=r"queues/other. Those of queue.yaml are: fixed, signals"):
            client.create_task(parent=f"{LOCATION}/queues/other", task=task())


class TestBatches:
    def test_a_batch_is_done_when_the_call_returns(self, client: tasks_v2.CloudTasksClient, service: Service) -> None:
        operation = batch(client, *[task(f"/{number}") for number in range(100)])
        assert operation.done()
        assert len(operation.result().tasks) == 100
        assert operation.metadata.state == operation.metadata.State.SUCCEEDED
        wait_until(lambda: len(service.requests) == 100)
        assert client.get_operation({"name": operation.operation.name}).done

    def test_tasks_that_fail_are_left_out_and_reported_by_the_index_of_their_request(
        self, client: tasks_v2.CloudTasksClient, clock: Clock
    ) -> None:
        operation = batch(client, task(name="a", **later(clock)), task(name="a"), task("bad"), task(name="b"))
        assert [each.name[-1] for each in operation.result().tasks] == ["a", "b"]
        assert operation.metadata.state == operation.metadata.State.PARTIALLY_SUCCEEDED
        assert {index: status.code for index, status in operation.metadata.failed_requests.items()} == {1: 6, 2: 3}

    def test_a_batch_of_which_nothing_succeeds_is_an_error(self, client: tasks_v2.CloudTasksClient) -> None:
        operation = batch(client, task("bad"), task("worse"))
        assert set(operation.metadata.failed_requests) == {0, 1}
        with pytest.raises(exceptions.GoogleAPICallError, match="None of the requests succeeded"):
            operation.result()

    def test_a_batch_with_a_request_id_is_carried_out_once(
        self, client: tasks_v2.CloudTasksClient, clock: Clock
    ) -> None:
        first, second = (batch(client, task(**later(clock)), request_id="mine") for _ in range(2))
        assert first.operation.name == second.operation.name
        assert len(list(client.list_tasks(parent=QUEUE))) == 1

    @pytest.mark.parametrize("count", [0, 101])
    def test_a_batch_has_1_to_100_tasks(self, client: tasks_v2.CloudTasksClient, count: int) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="1 to 100"):
            batch(client, *[task() for _ in range(count)])

    def test_a_batch_is_for_one_queue(self, client: tasks_v2.CloudTasksClient) -> None:
        requests = [{"parent": f"{LOCATION}/queues/fixed", "task": task()}]
        with pytest.raises(exceptions.InvalidArgument, match="parent"):
            client.batch_create_tasks({"parent": QUEUE, "requests": requests})

    def test_tasks_are_deleted_in_batches(self, client: tasks_v2.CloudTasksClient, clock: Clock) -> None:
        batch(client, task(name="a", **later(clock)), task(name="b", **later(clock)))
        names = [f"{QUEUE}/tasks/a", f"{QUEUE}/tasks/gone", f"{LOCATION}/queues/fixed/tasks/b"]
        operation = client.batch_delete_tasks({"parent": QUEUE, "names": names})
        assert operation.done()
        assert {index: status.code for index, status in operation.metadata.failed_requests.items()} == {1: 5, 2: 3}
        assert [each.name for each in client.list_tasks(parent=QUEUE)] == [f"{QUEUE}/tasks/b"]

    @pytest.mark.parametrize("count", [0, 1001])
    def test_a_batch_has_1_to_1000_names(self, client: tasks_v2.CloudTasksClient, count: int) -> None:
        with pytest.raises(exceptions.InvalidArgument, match="1 to 1000"):
            client.batch_delete_tasks({"parent": QUEUE, "names": [f"{QUEUE}/tasks/a"] * count})


class TestTasks:
    def test_a_list_comes_in_pages(self, client: tasks_v2.CloudTasksClient, clock: Clock) -> None:
        batch(client, *[task(name=f"t{number}", **later(clock)) for number in range(5)])
        pager = client.list_tasks({"parent": QUEUE, "page_size": 2})
        pages = [[each.name[-2:] for each in page.tasks] for page in pager.pages]
        assert pages == [["t0", "t1"], ["t2", "t3"], ["t4"]]

    @pytest.mark.parametrize("more", [{"page_token": "\u00e9"}, {"page_token": "a"}, {"page_size": -1}])
    def test_a_page_that_was_not_offered_is_an_invalid_argument(
        self, client: tasks_v2.CloudTasksClient, more: dict[str, Any]
    ) -> None:
        with pytest.raises(exceptions.InvalidArgument):
            client.list_tasks({"parent": QUEUE, **more})

    def test_a_deleted_task_never_runs(
        self,
        client: tasks_v2.CloudTasksClient,
        emulator: TasksEmulator,
        service: Service,
        clock: Clock,
        attempts: list[Attempt],
    ) -> None:
        batch(client, task("/a", name="a", **later(clock)), task("/b", name="b", **later(clock)))
        client.delete_task(name=f"{QUEUE}/tasks/a")
        pass_time(emulator, clock, 3600)
        wait_until(lambda: attempts)
        assert [request.path for request in service.requests] == ["/b"]
        with pytest.raises(exceptions.NotFound):
            client.delete_task(name=f"{QUEUE}/tasks/a")

    def test_a_task_can_be_run_before_its_time(
        self, client: tasks_v2.CloudTasksClient, service: Service, clock: Clock
    ) -> None:
        client.create_task(parent=QUEUE, task=task(name="a", **later(clock)))
        client.run_task(name=f"{QUEUE}/tasks/a")
        wait_until(lambda: service.requests)
        with pytest.raises(exceptions.NotFound):
            client.run_task(name=f"{QUEUE}/tasks/other")


class TestQueues:
    def test_queues_are_those_of_the_file(self, client: tasks_v2.CloudTasksClient) -> None:
        names = [queue.name for queue in client.list_queues(parent=LOCATION)]
        assert names == [f"{LOCATION}/queues/fixed", QUEUE]
        with pytest.raises(exceptions.InvalidArgument):
            client.list_queues(parent="nowhere")

    def test_a_queue_shows_its_settings(self, client: tasks_v2.CloudTasksClient) -> None:
        queue = client.get_queue(name=QUEUE)
        limits, retry = queue.rate_limits, queue.retry_config
        assert (limits.max_dispatches_per_second, limits.max_burst_size, limits.max_concurrent_dispatches) == (
            100,
            100,
            2,
        )
        assert (retry.max_attempts, retry.min_backoff.total_seconds(), retry.max_doublings) == (3, 10, 4)
        fixed = client.get_queue(name=f"{LOCATION}/queues/fixed")
        assert (fixed.retry_config.max_attempts, fixed.app_engine_routing_override.service) == (-1, "worker")

    def test_a_paused_queue_dispatches_when_it_is_resumed(
        self, client: tasks_v2.CloudTasksClient, service: Service
    ) -> None:
        assert client.pause_queue(name=QUEUE).state == tasks_v2.Queue.State.PAUSED
        client.create_task(parent=QUEUE, task=task(name="a"))
        assert client.get_task(name=f"{QUEUE}/tasks/a").dispatch_count == 0
        assert client.resume_queue(name=QUEUE).state == tasks_v2.Queue.State.RUNNING
        wait_until(lambda: service.requests)

    def test_a_purged_queue_is_empty(self, client: tasks_v2.CloudTasksClient, clock: Clock) -> None:
        batch(client, *[task(**later(clock)) for _ in range(3)])
        assert client.purge_queue(name=QUEUE).purge_time.timestamp() == clock()
        assert list(client.list_tasks(parent=QUEUE)) == []

    def test_calls_that_change_queues_are_not_there(self, client: tasks_v2.CloudTasksClient) -> None:
        with pytest.raises(exceptions.MethodNotImplemented):
            client.create_queue(parent=LOCATION, queue={"name": f"{LOCATION}/queues/new"})


class TestEmulator:
    def test_a_port_in_use_is_an_error(self, emulator: TasksEmulator) -> None:
        with pytest.raises(OSError, match=f"port {emulator.port} is taken"):
            TasksEmulator(QUEUE_YAML, {}.get, port=emulator.port)

    def test_a_file_that_makes_no_sense_is_an_error(self) -> None:
        with pytest.raises(ConfigError):
            TasksEmulator("queue:\n- name: q\n", {}.get)

    @pytest.mark.parametrize(
        ("answer", "again", "line"),
        [
            (Answer(200), None, "signals task 7 -> worker/x 200 in 12 ms"),
            (Answer(500), 10.0, "signals task 7 -> worker/x 500 in 12 ms; attempt 2, again in 10.0 s"),
            (Answer(None, "no answer"), None, "signals task 7 -> worker/x no answer in 12 ms; attempt 2 was the last"),
        ],
    )
    def test_an_attempt_is_one_line(self, answer: Answer, again: float | None, line: str) -> None:
        assert attempt_line(Attempt("signals", "7", 2, "worker/x", answer, 0.012, again)) == line


class TestProcess:
    def test_serves_until_it_is_terminated(self, service: Service, tmp_path: Path, connect: Connect) -> None:
        (tmp_path / "queue.yaml").write_text(QUEUE_YAML)
        command = [sys.executable, "-W", "ignore", "-m", "devserver.tasks.emulator", "--port", "0"]
        command += ["--queues", str(tmp_path / "queue.yaml"), "--service", f"worker={service.url}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process, process.stdout:
            address = process.stdout.readline().split()[-1]
            connect(type("Address", (), {"address": address})()).create_task(parent=QUEUE, task=task())  # type: ignore[arg-type]
            assert "signals task" in process.stdout.readline()
            process.terminate()
            assert process.wait() == 0
        assert service.requests

    @pytest.mark.parametrize("text", [None, "queue:\n- name: q\n"])
    def test_a_missing_or_broken_file_is_one_clear_line(self, tmp_path: Path, text: str | None) -> None:
        path = tmp_path / "queue.yaml"
        if text is not None:
            path.write_text(text)
        command = [sys.executable, "-W", "ignore", "-m", "devserver.tasks.emulator", "--queues", str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert "queue.yaml" in ended.stderr
