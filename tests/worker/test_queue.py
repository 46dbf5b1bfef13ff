"""Tasks and the queue, over real gRPC with Google's own client."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud import tasks_v2
from werkzeug.serving import make_server

from devserver.tasks.emulator import TasksEmulator
from worker.config import Settings, SettingsError
from worker.queue import MAX_BODY_BYTES, CloudTasksQueue, QueueState, Task, tasks_for

from .faulty_tasks import FaultyTasks, Refusal, serving

ROOT = Path(__file__).parents[2]
DENIED: Refusal = (grpc.StatusCode.PERMISSION_DENIED, "lacks cloudtasks.tasks.create")
UNKNOWN: Refusal = (grpc.StatusCode.UNIMPLEMENTED, "what is a batch?")
QUOTA: Refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "quota")
TOO_LARGE: Refusal = (grpc.StatusCode.INVALID_ARGUMENT, "too large")


@pytest.fixture
def service() -> FaultyTasks:
    return FaultyTasks()


@pytest.fixture
def queue(service: FaultyTasks) -> Iterator[CloudTasksQueue]:
    with serving(service) as address:
        settings = Settings(project="shop-1", location="europe-west1", queue="q", tasks_emulator_host=address)
        queue = CloudTasksQueue(settings)
        yield queue
        queue.close()


def some(count: int) -> list[Task]:
    return [Task((f"name {number}",)) for number in range(count)]


def names_of(request: Any) -> list[str]:
    names: list[str] = json.loads(request.task.app_engine_http_request.body)["names"]
    return names


class TestTasks:
    def test_the_body_is_json_with_the_names_as_they_are(self) -> None:
        assert Task(("a", "grüße", 'say "hi"\\')).body() == '{"names":["a","grüße","say \\"hi\\"\\\\"]}'.encode()

    def test_siblings_travel_only_where_they_were_limited(self) -> None:
        assert json.loads(Task(("a",), siblings=0).body()) == {"names": ["a"], "siblings": 0}
        assert json.loads(Task(("a",)).body()) == {"names": ["a"]}

    def test_a_hundred_names_go_in_a_task(self) -> None:
        names = [str(number) for number in range(250)]
        assert [len(task.names) for task in tasks_for(names)] == [100, 100, 50]
        assert [name for task in tasks_for(names) for name in task.names] == names

    def test_no_names_make_no_task(self) -> None:
        assert tasks_for([]) == []

    @pytest.mark.parametrize("letter", ["x", '"', "\\", "é", "字", "𝄞", "\u2028"])
    def test_the_longest_names_stay_under_the_limit_of_cloud_tasks(self, letter: str) -> None:
        name = letter * (200 // len(letter.encode()))
        (task,) = tasks_for([name] * 100)
        assert len(task.body()) < MAX_BODY_BYTES

    def test_names_are_split_by_bytes_too(self) -> None:
        tasks = tasks_for(["字" * 60] * 100, siblings=99, max_bytes=2_000)
        assert all(len(task.body()) <= 2_000 for task in tasks)
        assert sum(len(task.names) for task in tasks) == 100
        assert len(tasks) < 12

    def test_a_name_over_the_limit_still_has_its_task(self) -> None:
        assert [task.names for task in tasks_for(["a" * 50, "b"], max_bytes=30)] == [("a" * 50,), ("b",)]


def test_a_batch_is_one_call(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    assert queue.create(some(100)) == [True] * 100
    assert len(service.batches) == 1
    assert service.singles == []


def test_more_than_a_hundred_tasks_take_another_call(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    assert queue.create(some(201)) == [True] * 201
    assert [len(batch.requests) for batch in service.batches] == [100, 100]
    assert len(service.singles) == 1


def test_tasks_go_to_the_queue_that_they_name_and_the_others_to_that_of_the_settings(
    queue: CloudTasksQueue, service: FaultyTasks
) -> None:
    service.refuse_task = lambda index: QUOTA if index == 1 else None
    tasks = [Task(("a",)), Task(("b",), queue="mail"), Task(("c",)), Task(("d",), queue="mail")]
    assert queue.create(tasks) == [True, True, False, False]
    parents = [batch.parent.rpartition("/")[2] for batch in service.batches]
    assert parents == ["q", "mail"]


def test_no_tasks_take_no_call(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    assert queue.create([]) == []
    assert service.batches == []


def test_a_task_is_an_app_engine_request_to_the_worker(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    queue.create([Task(("a", "b"), siblings=3), Task(("c",))])
    (batch,) = service.batches
    first = batch.requests[0]
    http = first.task.app_engine_http_request
    assert batch.parent == first.parent == "projects/shop-1/locations/europe-west1/queues/q"
    assert http.http_method is tasks_v2.HttpMethod.POST
    assert http.relative_uri == "/tasks/deliver"
    assert http.app_engine_routing.service == "worker"
    assert http.headers["Content-Type"] == "application/json"
    assert json.loads(http.body) == {"names": ["a", "b"], "siblings": 3}
    assert first.task.name == ""


def test_calls_have_the_timeout_that_cloud_tasks_accepts(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    queue.create(some(2))
    queue.create(some(1))
    assert all(0 < timeout <= 20.5 for timeout in service.timeouts)


def test_each_batch_has_a_request_id_of_its_own(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    queue.create(some(150))
    queue.create(some(2))
    assert len({batch.request_id for batch in service.batches} - {""}) == len(service.batches) == 3


def test_a_batch_that_got_no_answer_is_repeated_under_the_same_request_id(
    queue: CloudTasksQueue, service: FaultyTasks
) -> None:
    service.refuse_call = lambda method: (grpc.StatusCode.UNAVAILABLE, "") if len(service.batches) == 1 else None
    assert queue.create(some(3)) == [True] * 3
    first, second = service.batches
    assert first.request_id == second.request_id


def test_a_partial_failure_says_which_were_accepted(
    queue: CloudTasksQueue, service: FaultyTasks, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_task = lambda index: QUOTA if index in (1, 3) else None
    assert queue.create(some(5)) == [True, False, True, False, True]
    (record,) = caplog.records
    assert (record.levelno, record.__dict__["tasks"], record.__dict__["detail"]) == (logging.ERROR, 2, "quota")


@pytest.mark.parametrize("refusal", [DENIED, UNKNOWN])
def test_single_tasks_are_created_where_batches_are_refused(
    queue: CloudTasksQueue, service: FaultyTasks, refusal: Refusal
) -> None:
    service.refuse_call = lambda method: refusal if method == "BatchCreateTasks" else None
    assert queue.create(some(3)) == [True] * 3
    assert [names_of(single) for single in service.singles] == [["name 0"], ["name 1"], ["name 2"]]


def test_an_operation_that_failed_for_want_of_permission_falls_back_as_well(
    queue: CloudTasksQueue, service: FaultyTasks
) -> None:
    service.refuse_operation = DENIED
    assert queue.create(some(3)) == [True] * 3
    assert len(service.singles) == 3


def test_the_fallback_is_said_once_with_the_missing_permission(
    queue: CloudTasksQueue, service: FaultyTasks, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_call = lambda method: DENIED if method == "BatchCreateTasks" else None
    for _ in range(3):
        queue.create(some(2))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cloudtasks.tasks.create" in record.__dict__["remedy"]


def test_batches_are_used_again_as_soon_as_they_are_allowed(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    service.refuse_call = lambda method: DENIED if method == "BatchCreateTasks" else None
    queue.create(some(2))
    service.refuse_call = lambda method: None
    assert queue.create(some(2)) == [True, True]
    assert len(service.singles) == 2


def test_without_any_permission_nothing_is_accepted_and_the_calls_stop(
    queue: CloudTasksQueue, service: FaultyTasks, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_call = lambda method: DENIED
    assert queue.create(some(250)) == [False] * 250
    assert (len(service.batches), len(service.singles)) == (1, 1)
    assert caplog.records[-1].__dict__["tasks"] == 100
    assert "cloudtasks.tasks.create" in caplog.records[-1].__dict__["remedy"]


def test_a_missing_queue_is_told_what_to_deploy(
    queue: CloudTasksQueue, service: FaultyTasks, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_call = lambda method: (grpc.StatusCode.NOT_FOUND, "no such queue")
    assert queue.create(some(2)) == [False, False]
    assert "deploy queue.yaml" in caplog.records[-1].__dict__["remedy"]


def test_one_bad_task_among_single_ones_does_not_stop_the_others(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    service.refuse_call = lambda method: UNKNOWN if method == "BatchCreateTasks" else None
    service.refuse_task = lambda index: TOO_LARGE if index == 1 else None
    assert queue.create(some(3)) == [True, False, True]


def test_what_comes_after_a_failing_single_task_is_refused_without_a_call(
    queue: CloudTasksQueue, service: FaultyTasks
) -> None:
    service.refuse_call = lambda method: UNKNOWN if method == "BatchCreateTasks" else None
    service.refuse_task = lambda index: QUOTA if index == 1 else None
    assert queue.create(some(4)) == [True, False, False, False]
    assert len(service.singles) == 2


def test_an_operation_that_failed_as_a_whole_accepted_nothing(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    service.refuse_operation = (grpc.StatusCode.INTERNAL, "oh")
    assert queue.create(some(2)) == [False, False]


def test_one_client_serves_all_threads(queue: CloudTasksQueue, service: FaultyTasks) -> None:
    answers: list[list[bool]] = []
    threads = [threading.Thread(target=lambda: answers.append(queue.create(some(2)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[True, True]] * 8


def test_no_connection_is_made_before_the_first_task_so_that_a_fork_has_its_own() -> None:
    queue = CloudTasksQueue(Settings(project="shop-1", location="l", tasks_emulator_host="127.0.0.1:1"))
    assert queue._tasks._client_of is None


def test_a_process_forked_after_the_first_task_connects_anew(
    queue: CloudTasksQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.create(some(1))
    before = queue._tasks._client()
    assert queue._tasks._client() is before
    monkeypatch.setattr("gaesignals.tasks.cloud_tasks.os.getpid", lambda: -1)
    assert queue._tasks._client() is not before
    before.transport.close()


def test_a_queue_needs_a_project_and_a_location() -> None:
    with pytest.raises(SettingsError, match="GOOGLE_CLOUD_PROJECT and SIGNALS_LOCATION"):
        CloudTasksQueue(Settings(project="shop-1"))


def test_without_credentials_tasks_are_refused_and_not_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json")
    queue = CloudTasksQueue(Settings(project="shop-1", location="europe-west1"))
    assert queue.create(some(2)) == [False, False]
    assert "CredentialsError" in caplog.records[-1].__dict__["detail"]


class TestAgainstTheEmulator:
    """The emulator checks what Cloud Tasks checks, and then calls the worker."""

    def test_every_task_reaches_the_worker(self) -> None:
        received: list[tuple[str, dict[str, str], bytes]] = []

        def worker(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            received.append((f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}", environ, body))
            start_response("200 OK", [])
            return [b""]

        server = make_server("127.0.0.1", 0, worker, threaded=True)
        threading.Thread(target=server.serve_forever).start()
        try:
            with TasksEmulator(
                (ROOT / "queue.yaml").read_text(), {"worker": f"http://127.0.0.1:{server.port}"}.get
            ) as emulator:
                queue = CloudTasksQueue(
                    Settings(project="localdev", location="local", tasks_emulator_host=emulator.address)
                )
                tasks = [*some(150), *tasks_for(["字" * 66] * 100)]
                assert queue.create(tasks) == [True] * 151
                for _ in range(600):
                    if len(received) == 151:
                        break
                    time.sleep(0.05)
                queue.close()
        finally:
            server.shutdown()
            server.server_close()
        assert sorted(body for _, _, body in received) == sorted(task.body() for task in tasks)
        request_line, headers, _ = received[0]
        assert request_line == "POST /tasks/deliver"
        assert headers["HTTP_X_APPENGINE_QUEUENAME"] == "signals"
        assert headers["CONTENT_TYPE"] == "application/json"

    def test_a_queue_that_does_not_exist_accepts_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        with TasksEmulator((ROOT / "queue.yaml").read_text(), {}.get) as emulator:
            queue = CloudTasksQueue(
                Settings(project="localdev", location="local", queue="other", tasks_emulator_host=emulator.address)
            )
            assert queue.create(some(2)) == [False, False]
            queue.close()
        assert "deploy queue.yaml" in caplog.records[-1].__dict__["remedy"]


class TestTheState:
    @pytest.mark.parametrize(
        ("state", "known"),
        [
            (tasks_v2.Queue.State.RUNNING, QueueState.RUNNING),
            (tasks_v2.Queue.State.PAUSED, QueueState.PAUSED),
            (tasks_v2.Queue.State.DISABLED, QueueState.DISABLED),
            (tasks_v2.Queue.State.STATE_UNSPECIFIED, QueueState.UNKNOWN),
            pytest.param(
                99, QueueState.UNKNOWN, marks=pytest.mark.filterwarnings("ignore:Unrecognized State:UserWarning")
            ),
        ],
    )
    def test_is_that_of_the_service(
        self, queue: CloudTasksQueue, service: FaultyTasks, state: Any, known: QueueState
    ) -> None:
        service.queue_state = state
        assert queue.state() is known
        assert round(service.timeouts[-1], 1) <= 2  # some milliseconds more arrive at the server

    @pytest.mark.parametrize("refusal", [DENIED, QUOTA, (grpc.StatusCode.UNAVAILABLE, "down"), UNKNOWN])
    def test_is_unknown_where_it_is_not_told_and_the_log_says_so_once(
        self, queue: CloudTasksQueue, service: FaultyTasks, refusal: Refusal, caplog: pytest.LogCaptureFixture
    ) -> None:
        service.refuse_call = lambda method: refusal
        assert [queue.state() for _ in range(3)] == [QueueState.UNKNOWN] * 3
        (record,) = [each for each in caplog.records if each.message == "the state of the queue is not known"]
        assert ("cloudtasks.queues.get" in record.remedy) is (refusal is DENIED)  # type: ignore[attr-defined]
        assert len(service.timeouts) == 3

    def test_of_the_emulator_is_told(self) -> None:
        with TasksEmulator((ROOT / "queue.yaml").read_text(), {}.get) as emulator:
            settings = Settings(project="shop-1", location="local", tasks_emulator_host=emulator.address)
            queue = CloudTasksQueue(settings)
            assert queue.state() is QueueState.RUNNING
            queue.close()
