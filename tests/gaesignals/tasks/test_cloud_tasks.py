"""Tasks through Cloud Tasks' client: what the contract leaves open. Creating is tested with the worker's queue."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import grpc
import pytest

from devserver.tasks.emulator import TasksEmulator
from gaesignals.tasks.cloud_tasks import CloudTasks
from gaesignals.tasks.queue import NoTransactionError, Task
from tests.worker.faulty_tasks import FaultyTasks, Refusal, serving

DENIED: Refusal = (grpc.StatusCode.PERMISSION_DENIED, "lacks cloudtasks.tasks.delete")
UNKNOWN: Refusal = (grpc.StatusCode.UNIMPLEMENTED, "what is a batch?")
GONE: Refusal = (grpc.StatusCode.NOT_FOUND, "no such task")
QUOTA: Refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "quota")
PARENT = "projects/shop-1/locations/europe-west1/queues/q"


@pytest.fixture
def service() -> FaultyTasks:
    return FaultyTasks()


@pytest.fixture
def tasks(service: FaultyTasks) -> Iterator[CloudTasks]:
    with serving(service) as address:
        tasks = CloudTasks(project="shop-1", location="europe-west1", service="worker", emulator_host=address)
        yield tasks
        tasks.close()


def test_names_are_the_last_parts_of_cloud_tasks_own(tasks: CloudTasks, service: FaultyTasks) -> None:
    assert tasks.delete("q", ["a", "b", "a"])
    assert service.deletions == [[f"{PARENT}/tasks/a", f"{PARENT}/tasks/b"]]


def test_tasks_that_are_gone_already_are_no_failure(tasks: CloudTasks, service: FaultyTasks) -> None:
    service.refuse_task = lambda index: GONE
    assert tasks.delete("q", ["a", "b"])
    assert tasks.delete("q", ["a"])


def test_a_task_that_was_not_deleted_is_said_and_logged(
    tasks: CloudTasks, service: FaultyTasks, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_task = lambda index: QUOTA if index == 1 else GONE
    assert not tasks.delete("q", ["a", "b", "c"])
    assert (caplog.records[-1].levelno, caplog.records[-1].__dict__["tasks"]) == (logging.ERROR, 1)


@pytest.mark.parametrize("refusal", [DENIED, UNKNOWN])
def test_tasks_are_deleted_singly_where_batches_are_refused_which_is_said_once(
    tasks: CloudTasks, service: FaultyTasks, refusal: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_call = lambda method: refusal if method == "BatchDeleteTasks" else None
    assert tasks.delete("q", ["a", "b"])
    assert tasks.delete("q", ["c", "d"])
    assert [name[-1] for (name,) in service.deletions] == ["a", "b", "c", "d"]
    (record,) = caplog.records
    assert "cloudtasks.tasks.delete" in record.__dict__["remedy"]


def test_without_any_permission_nothing_is_deleted(
    tasks: CloudTasks, service: FaultyTasks, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_call = lambda method: DENIED
    assert not tasks.delete("q", ["a", "b"])
    assert not tasks.delete("q", ["a"])
    assert "cloudtasks.tasks.delete" in caplog.records[-1].__dict__["remedy"]


def test_names_whose_number_is_not_that_of_the_tasks_are_nobodys(
    tasks: CloudTasks, service: FaultyTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(queue="q", path="/x", body=b"")
    # This service gives back the tasks as they came, without names.
    assert tasks.add([task, task]) == [None, None]


def test_the_number_of_tasks_in_a_queue_is_what_the_queue_says() -> None:
    queues = "queue:\n- name: q\n  rate: 0/s\n"
    with TasksEmulator(queues, {}.get) as emulator:
        tasks = CloudTasks(project="p", location="l", service="worker", emulator_host=emulator.address)
        assert tasks.count("q") == 0
        tasks.add([Task(queue="q", path="/x", body=b"x")] * 3)
        assert tasks.count("q") == 3
        tasks.close()


def test_a_number_that_a_queue_does_not_say_is_not_known_which_is_said_once(
    tasks: CloudTasks, caplog: pytest.LogCaptureFixture
) -> None:
    assert [tasks.count("q") for _ in range(2)] == [None, None]
    assert [record.message for record in caplog.records] == ["the number of tasks in a queue is not known"]


def test_a_transaction_needs_app_engines_own_service(tasks: CloudTasks) -> None:
    with pytest.raises(NoTransactionError, match="SIGNALS_TASKS=app_engine"):
        tasks.add([Task(queue="q", path="/x", body=b"")], transactional=True)
