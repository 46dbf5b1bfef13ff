"""App Engine's queue service and Datastore of the local cloud, called as production code calls them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map
from google.appengine.runtime import apiproxy_errors

from devserver.appengine.client import connected
from devserver.appengine.server import ApiServer
from devserver.appengine.services import AppEngine
from devserver.tasks.emulator import TasksEmulator

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    from google.appengine.api import taskqueue
    from google.appengine.api.taskqueue import taskqueue_service_bytes_pb2 as pb
    from google.appengine.ext import db, ndb

QUEUES = """
queue:
- name: default
  rate: 0/s
- name: mail
  rate: 0/s
"""


class PlacedOrder(ndb.Model):  # type: ignore[misc]  # the SDK ships no types
    number = ndb.IntegerProperty()


class PlacingCustomer(db.Model):  # type: ignore[misc]
    name = db.StringProperty()


@pytest.fixture
def emulator() -> Iterator[TasksEmulator]:
    with TasksEmulator(QUEUES, {}.get) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def server(emulator: TasksEmulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setenv("APPLICATION_ID", "dev~localdev")
    monkeypatch.setenv("DEFAULT_VERSION_HOSTNAME", "localhost:8080")
    with ApiServer(app_engine=AppEngine(tasks_address=emulator.address)) as server, connected(server.port):
        yield server


def waiting(emulator: TasksEmulator, queue: str = "default") -> list[Any]:
    tasks = emulator.queues[queue]
    return [task for name in tasks.names_after("", limit=1000) if (task := tasks.get(name)) is not None]


def requests(emulator: TasksEmulator, queue: str = "default") -> list[Any]:
    return [task.message.app_engine_http_request for task in waiting(emulator, queue)]


class TestTasks:
    def test_a_task_goes_to_its_queue_with_all_that_was_said(self, emulator: TasksEmulator) -> None:
        added = taskqueue.add(
            url="/work", queue_name="mail", payload=b"\0\xff", method="PUT", target="worker", headers={"X-A": "b"}
        )
        ((request),) = requests(emulator, "mail")
        assert (request.relative_uri, request.body, request.headers["X-A"]) == ("/work", b"\0\xff", "b")
        assert request.app_engine_routing.service == "worker"
        assert waiting(emulator, "mail")[0].task_id == added.name

    def test_the_default_service_is_meant_where_no_other_is(self, emulator: TasksEmulator) -> None:
        taskqueue.add(url="/work", target=taskqueue.DEFAULT_APP_VERSION)
        assert requests(emulator)[0].app_engine_routing.service == ""

    def test_every_one_of_a_hundred_has_its_name(self, emulator: TasksEmulator) -> None:
        added = taskqueue.Queue().add([taskqueue.Task(url=f"/{number}") for number in range(100)])
        assert {task.name: task.url for task in added} == {
            task.task_id: task.message.app_engine_http_request.relative_uri for task in waiting(emulator)
        }

    def test_a_task_waits_until_its_time(self, emulator: TasksEmulator) -> None:
        before = time.time()
        taskqueue.add(url="/work", countdown=600)
        assert 600 <= waiting(emulator)[0].due_at - before < 660

    def test_a_name_that_was_chosen_is_kept_and_cannot_be_used_again(self, emulator: TasksEmulator) -> None:
        taskqueue.add(url="/work", name="mine")
        assert waiting(emulator)[0].task_id == "mine"
        with pytest.raises(taskqueue.TaskAlreadyExistsError):
            taskqueue.add(url="/work", name="mine")

    def test_of_many_only_those_with_a_used_name_are_refused(self, emulator: TasksEmulator) -> None:
        taskqueue.add(url="/work", name="mine")
        tasks = [taskqueue.Task(url="/other"), taskqueue.Task(url="/work", name="mine")]
        with pytest.raises(taskqueue.TaskAlreadyExistsError):
            taskqueue.Queue().add(tasks)
        assert sorted(task.task_id for task in waiting(emulator)) == sorted(["mine", tasks[0].name])

    def test_a_deleted_task_is_gone(self, emulator: TasksEmulator) -> None:
        tasks = [taskqueue.add(url="/work") for _ in range(3)]
        taskqueue.Queue().delete_tasks(tasks[:2])
        assert [task.task_id for task in waiting(emulator)] == [tasks[2].name]
        assert not taskqueue.Queue().delete_tasks_by_name(tasks[0].name).was_deleted

    def test_a_queue_can_be_purged(self, emulator: TasksEmulator) -> None:
        taskqueue.add(url="/work")
        taskqueue.Queue().purge()
        assert waiting(emulator) == []

    def test_a_queue_that_queue_yaml_lacks_is_unknown(self) -> None:
        with pytest.raises(taskqueue.UnknownQueueError):
            taskqueue.add(url="/work", queue_name="nowhere")

    def test_one_task_that_is_wrong_keeps_the_others_out(self, emulator: TasksEmulator) -> None:
        request, response = pb.TaskQueueBulkAddRequest(), pb.TaskQueueBulkAddResponse()
        for eta in (0, int((time.time() + 31 * 86400) * 1e6)):
            request.add_request.add(queue_name=b"default", task_name=b"", eta_usec=eta, url=b"/")
        apiproxy_stub_map.MakeSyncCall("taskqueue", "BulkAdd", request, response)
        results = [result.result for result in response.taskresult]
        assert results == [pb.TaskQueueServiceError.SKIPPED, pb.TaskQueueServiceError.INVALID_ETA]
        assert waiting(emulator) == []

    def test_more_than_a_hundred_are_refused(self) -> None:
        request = pb.TaskQueueBulkAddRequest()
        for _ in range(101):
            request.add_request.add(queue_name=b"default", task_name=b"", eta_usec=0, url=b"/")
        with pytest.raises(apiproxy_errors.ApplicationError):
            apiproxy_stub_map.MakeSyncCall("taskqueue", "BulkAdd", request, pb.TaskQueueBulkAddResponse())

    def test_an_emulator_that_is_away_is_a_transient_error(self, emulator: TasksEmulator) -> None:
        emulator.close()
        with pytest.raises(taskqueue.TransientError):
            taskqueue.add(url="/work")


class TestTransactions:
    def test_entities_are_kept_between_requests(self) -> None:
        key = PlacedOrder(number=7).put()
        assert key.get(use_cache=False, use_memcache=False).number == 7
        assert [order.number for order in PlacedOrder.query().fetch()] == [7]
        assert db.get(PlacingCustomer(name="Ada").put()).name == "Ada"

    @pytest.mark.parametrize("in_transaction", [ndb.transaction, db.run_in_transaction])
    def test_the_commit_adds_the_tasks(self, emulator: TasksEmulator, in_transaction: Any) -> None:
        def place() -> None:
            PlacedOrder(number=1).put()
            taskqueue.add(url="/work", transactional=True)
            assert waiting(emulator) == []

        in_transaction(place)
        assert [request.relative_uri for request in requests(emulator)] == ["/work"]

    def test_tasks_without_data_are_added_as_well(self, emulator: TasksEmulator) -> None:
        ndb.transaction(lambda: [taskqueue.add(url="/work", transactional=True) for _ in range(5)])
        assert len(waiting(emulator)) == 5

    def test_one_more_than_five_is_what_datastore_refuses(self, emulator: TasksEmulator) -> None:
        with pytest.raises(taskqueue.DatastoreError):
            ndb.transaction(lambda: [taskqueue.add(url="/work", transactional=True) for _ in range(6)])
        assert waiting(emulator) == []

    def test_a_rollback_leaves_none(self, emulator: TasksEmulator) -> None:
        def place() -> None:
            taskqueue.add(url="/work", transactional=True)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            ndb.transaction(place)
        assert waiting(emulator) == []

    def test_a_transaction_that_lost_adds_its_tasks_once_when_it_wins(self, emulator: TasksEmulator) -> None:
        key = PlacedOrder(number=0).put()
        rivals = iter([True])

        def place() -> None:
            order = key.get()
            taskqueue.add(url="/work", transactional=True)
            if next(rivals, False):
                ndb.transaction(
                    lambda: PlacedOrder(key=key, number=5).put(), propagation=ndb.TransactionOptions.INDEPENDENT
                )
            order.number += 1
            order.put()

        ndb.transaction(place)
        assert key.get(use_cache=False, use_memcache=False).number == 6
        assert len(waiting(emulator)) == 1


def test_without_an_emulator_there_is_no_queue_service() -> None:
    with ApiServer() as server, connected(server.port), pytest.raises(apiproxy_errors.Error, match="no service"):
        taskqueue.add(url="/work")
