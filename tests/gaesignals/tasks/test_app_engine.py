"""Tasks through App Engine's queue service: what the contract leaves open."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map

from gaesignals.tasks.app_engine import AppEngineTasks, on_commit
from gaesignals.tasks.queue import NoTransactionError, Task, TaskError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    from google.appengine.ext import db, ndb, testbed

ROOT = Path(__file__).parents[3]
TASK = Task(queue="signals", path="/tasks/deliver", body=b"{}")


@pytest.fixture
def bed() -> Iterator[testbed.Testbed]:
    bed = testbed.Testbed()
    bed.activate()
    bed.init_memcache_stub()
    bed.init_datastore_v3_stub()
    bed.init_taskqueue_stub(root_path=str(ROOT))
    yield bed
    bed.deactivate()


def waiting(bed: testbed.Testbed) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = bed.get_stub("taskqueue").GetTasks("signals")
    return tasks


class Order(ndb.Model):  # type: ignore[misc]  # the SDK ships no types
    paid = ndb.BooleanProperty()


class Customer(db.Model):  # type: ignore[misc]
    name = db.StringProperty()


@pytest.fixture
def tasks(bed: testbed.Testbed) -> AppEngineTasks:
    return AppEngineTasks(service="worker")


def test_the_host_of_a_task_is_that_of_the_workers_service(
    bed: testbed.Testbed, tasks: AppEngineTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFAULT_VERSION_HOSTNAME", "shop-1.ew.r.appspot.com")
    tasks.add([TASK])
    headers = {name.lower(): value for name, value in waiting(bed)[0]["headers"]}
    assert headers["host"] == "worker.shop-1.ew.r.appspot.com"


@pytest.mark.parametrize("kind", [Order, Customer])
class TestWithATransaction:
    def test_the_commit_adds_the_tasks(self, bed: testbed.Testbed, tasks: AppEngineTasks, kind: Any) -> None:
        def place() -> None:
            kind().put()
            assert tasks.add([TASK] * 5, transactional=True) == [None] * 5
            assert waiting(bed) == []

        run(kind, place)
        assert len(waiting(bed)) == 5

    def test_a_rollback_leaves_none(self, bed: testbed.Testbed, tasks: AppEngineTasks, kind: Any) -> None:
        def place() -> None:
            tasks.add([TASK], transactional=True)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run(kind, place)
        assert waiting(bed) == []

    def test_more_than_five_are_refused(self, bed: testbed.Testbed, tasks: AppEngineTasks, kind: Any) -> None:
        def place() -> None:
            tasks.add([TASK] * 6, transactional=True)

        with pytest.raises(TaskError, match="at most 5"):
            run(kind, place)
        assert waiting(bed) == []

    def test_more_than_five_in_several_calls_are_refused(
        self, bed: testbed.Testbed, tasks: AppEngineTasks, kind: Any
    ) -> None:
        def place() -> None:
            tasks.add([TASK] * 3, transactional=True)
            tasks.add([TASK] * 3, transactional=True)

        with pytest.raises(TaskError, match="DATASTORE_BAD_REQUEST"):
            run(kind, place)
        assert waiting(bed) == []


def run(kind: Any, function: Any) -> None:
    (ndb.transaction if kind is Order else db.run_in_transaction)(function)


def test_what_is_called_on_commit_is_called_by_it(bed: testbed.Testbed) -> None:
    called: list[str] = []

    def place() -> None:
        assert on_commit(lambda: called.append("now"))
        assert called == []

    ndb.transaction(place)
    assert called == ["now"]
    assert not on_commit(lambda: called.append("never"))
    assert called == ["now"]


def test_a_failing_service_says_what_it_said(tasks: AppEngineTasks) -> None:
    with pytest.raises(TaskError, match=r"UNKNOWN_QUEUE.*deploy queue\.yaml"):
        tasks.add([Task(queue="nowhere", path="/x", body=b"")])


def test_of_many_the_one_that_is_wrong_is_named_and_the_others_were_not_added(
    bed: testbed.Testbed, tasks: AppEngineTasks
) -> None:
    with pytest.raises(TaskError, match="INVALID_ETA") as caught:
        tasks.add([TASK, Task(queue="signals", path="/x", body=b"", due=1e11), TASK])
    assert (caught.value.added, caught.value.unsure) == ({}, frozenset())
    assert waiting(bed) == []


def test_where_app_engine_is_not_set_up_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apiproxy_stub_map, "apiproxy", apiproxy_stub_map.APIProxyStubMap())
    with pytest.raises(TaskError, match="wrap_wsgi_app") as caught:
        AppEngineTasks(service="worker").add([TASK])
    assert caught.value.unsure == frozenset()


def test_outside_a_transaction_the_error_says_so(tasks: AppEngineTasks) -> None:
    with pytest.raises(NoTransactionError, match="ndb or db"):
        tasks.add([TASK], transactional=True)


def fresh(program: str) -> str:
    """What a program in a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = "print([name for name in sys.modules if name.split('.')[0] == 'grpc' or 'cloud.tasks' in name])"


def test_neither_a_sender_nor_its_tasks_import_grpc() -> None:
    program = f"import sys, gaesignals, gaesignals.tasks.app_engine, gaesignals.stores.app_engine; {HEAVY}"
    assert fresh(program) == "[]"


def test_a_sender_without_tasks_imports_nothing_of_theirs() -> None:
    program = (
        "import sys, gaesignals; from gaesignals.mailbox.current import current_mailbox; current_mailbox();"
        "print([name for name in sys.modules if 'taskqueue' in name or 'tasks.app_engine' in name])"
    )
    assert fresh(program) == "[]"


@pytest.mark.parametrize("order", [("gaesignals.tasks.app_engine", "taskqueue"), ("taskqueue", "gaesignals")])
def test_the_sdks_own_module_is_imported_before_or_after_with_the_same_messages(order: tuple[str, str]) -> None:
    program = (
        "import importlib\n"
        f"for name in {order!r}:\n"
        "    importlib.import_module('google.appengine.api.taskqueue' if name == 'taskqueue' else name)\n"
        "from gaesignals.tasks.app_engine import pb\n"
        "from google.appengine.api.taskqueue import taskqueue\n"
        "print(taskqueue.taskqueue_service_pb2 is pb)"
    )
    assert fresh(program) == "True"
