"""What everybody promises who adds tasks, run on each of them."""

from __future__ import annotations

import base64
import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.appengine.api import apiproxy_stub_map
from google.appengine.runtime import apiproxy_errors

from devserver.appengine.client import connected
from devserver.appengine.server import ApiServer
from devserver.appengine.services import AppEngine
from devserver.tasks.emulator import TasksEmulator
from gaesignals.tasks.app_engine import AppEngineTasks
from gaesignals.tasks.cloud_tasks import CloudTasks
from gaesignals.tasks.memory import MemoryTasks
from gaesignals.tasks.queue import MAX_BODY_BYTES, NoTransactionError, Task, TaskError, Tasks

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    from google.appengine.ext import testbed

QUEUES = """
queue:
- name: signals
  rate: 0/s
- name: another
  rate: 0/s
"""


@dataclass(frozen=True, slots=True)
class World:
    """Who adds tasks, what is in a queue (path, body, content type, due), and a service that fails inside a block."""

    tasks: Tasks
    waiting: Callable[[str], list[tuple[str, bytes, str, float]]]
    failing: Callable[[], contextlib.AbstractContextManager[None]]
    knows_names_of_many: bool = True


@pytest.fixture(params=["memory", "sdk stub", "api server", "cloud tasks"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        if request.param == "memory":
            yield _memory()
        elif request.param == "sdk stub":
            yield _sdk_stub(stack, tmp_path)
        elif request.param == "api server":
            yield _api_server(stack)
        else:
            yield _cloud_tasks(stack)


@pytest.fixture
def tasks(world: World) -> Tasks:
    return world.tasks


def _memory() -> World:
    memory = MemoryTasks(queues={"signals", "another"})

    def waiting(queue: str) -> list[tuple[str, bytes, str, float]]:
        found = [each.task for each in memory.waiting(queue)]
        return [(task.path, task.body, task.content_type, task.due or time.time()) for task in found]

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        def fail(kind: str) -> None:
            raise TaskError("down")

        memory.after = fail
        yield
        memory.after = None

    return World(memory, waiting, failing)


def _sdk_stub(stack: contextlib.ExitStack, root: Path) -> World:
    (root / "queue.yaml").write_text(QUEUES)
    bed = testbed.Testbed()
    bed.activate()
    stack.callback(bed.deactivate)
    bed.init_taskqueue_stub(root_path=str(root))
    stub = bed.get_stub("taskqueue")

    def waiting(queue: str) -> list[tuple[str, bytes, str, float]]:
        return [
            (
                each["url"],
                base64.b64decode(each["body"]),
                {name.lower(): value for name, value in each["headers"]}["content-type"],
                each["eta_usec"] / 1e6,
            )
            for each in stub.GetTasks(queue)
        ]

    return World(AppEngineTasks(service="worker"), waiting, _calls_failing, knows_names_of_many=False)


@contextlib.contextmanager
def _calls_failing() -> Iterator[None]:
    hooks = apiproxy_stub_map.apiproxy.GetPostCallHooks()

    def fail(service: str, call: str, request: Any, response: Any) -> None:
        raise apiproxy_errors.DeadlineExceededError("the answer did not come")

    hooks.Append("fail", fail)
    yield
    hooks.Clear()


def _api_server(stack: contextlib.ExitStack) -> World:
    emulator = stack.enter_context(TasksEmulator(QUEUES, {}.get))
    server = stack.enter_context(ApiServer(app_engine=AppEngine(tasks_address=emulator.address)))
    stack.enter_context(connected(server.port))
    return World(
        AppEngineTasks(service="worker"),
        lambda queue: emulator_tasks(emulator, queue),
        _calls_failing,
    )


def _cloud_tasks(stack: contextlib.ExitStack) -> World:
    emulator = stack.enter_context(TasksEmulator(QUEUES, {}.get))
    tasks = CloudTasks(project="p", location="l", service="worker", emulator_host=emulator.address)
    stack.callback(tasks.close)

    @contextlib.contextmanager
    def failing() -> Iterator[None]:
        tasks.close()
        tasks._emulator_host = "127.0.0.1:1"
        yield
        tasks.close()
        tasks._emulator_host = emulator.address

    return World(tasks, lambda queue: emulator_tasks(emulator, queue), failing)


def emulator_tasks(emulator: TasksEmulator, queue: str) -> list[tuple[str, bytes, str, float]]:
    names = emulator.queues[queue].names_after("", limit=1000)
    found = [task for name in names if (task := emulator.queues[queue].get(name)) is not None]
    return [
        (
            task.message.app_engine_http_request.relative_uri,
            task.message.app_engine_http_request.body,
            task.message.app_engine_http_request.headers["Content-Type"],
            task.due_at,
        )
        for task in found
    ]


def some(count: int, queue: str = "signals") -> list[Task]:
    return [Task(queue=queue, path="/tasks/deliver", body=b"%d" % number) for number in range(count)]


def bodies(world: World, queue: str = "signals") -> list[bytes]:
    return sorted(body for _, body, _, _ in world.waiting(queue))


def test_a_task_waits_with_its_path_its_body_and_its_type(world: World) -> None:
    (name,) = world.tasks.add([Task(queue="signals", path="/tasks/rescue", body=b"\0\xff", content_type="a/b")])
    assert name
    ((path, body, content_type, due),) = world.waiting("signals")
    assert (path, body, content_type) == ("/tasks/rescue", b"\0\xff", "a/b")
    assert due == pytest.approx(time.time(), abs=30)


def test_a_task_is_json_unless_it_says_otherwise(world: World) -> None:
    world.tasks.add(some(1))
    assert world.waiting("signals")[0][2] == "application/json"


def test_many_are_added_at_once_each_with_a_name_of_its_own(world: World) -> None:
    names = world.tasks.add(some(100))
    assert len(bodies(world)) == 100
    if world.knows_names_of_many:
        assert len({name for name in names if name}) == 100


def test_tasks_of_several_queues_are_not_added_in_one_call(world: World) -> None:
    with pytest.raises(ValueError, match="several queues"):
        world.tasks.add([*some(1), *some(1, "another")])


def test_a_task_waits_until_it_is_due(world: World) -> None:
    due = float(int(time.time()) + 3600)
    world.tasks.add([Task(queue="signals", path="/x", body=b"", due=due)])
    assert [each[3] for each in world.waiting("signals")] == [due]


def test_a_task_may_be_due_in_twenty_nine_days_and_no_later_than_thirty(world: World) -> None:
    def ahead(days: float) -> Task:
        return Task(queue="signals", path="/x", body=b"", due=time.time() + days * 86400)

    world.tasks.add([ahead(29)])
    with pytest.raises(TaskError) as caught:
        world.tasks.add([ahead(31)])
    assert (caught.value.added, caught.value.unsure) == ({}, frozenset())


def test_the_largest_body_fits(world: World) -> None:
    world.tasks.add([Task(queue="signals", path="/x", body=b"x" * MAX_BODY_BYTES)])
    assert len(bodies(world)[0]) == MAX_BODY_BYTES


def test_what_no_queue_takes_is_refused_before_a_call(world: World) -> None:
    with world.failing():
        for wrong in (some(101), [Task(queue="signals", path="/x", body=b"x" * (MAX_BODY_BYTES + 1))]):
            with pytest.raises(TaskError) as caught:
                world.tasks.add(wrong)
            assert (caught.value.added, caught.value.unsure) == ({}, frozenset())


def test_no_tasks_take_no_call(world: World) -> None:
    with world.failing():
        assert world.tasks.add([]) == []
        assert world.tasks.delete("signals", [])


def test_a_deleted_task_is_gone_and_the_others_stay(world: World) -> None:
    names = [world.tasks.add([task])[0] for task in some(3)]
    world.tasks.add(some(1, "another"))
    assert world.tasks.delete("signals", [str(name) for name in names[:2]])
    assert (bodies(world), bodies(world, "another")) == ([b"2"], [b"0"])


def test_deleting_what_is_not_there_is_no_failure(world: World) -> None:
    (name,) = world.tasks.add(some(1))
    assert world.tasks.delete("signals", [str(name), str(name), "never-was"])
    assert world.tasks.delete("signals", [str(name)])
    assert bodies(world) == []


def test_a_thousand_names_are_deleted_in_one_call_and_no_more(world: World) -> None:
    assert world.tasks.delete("signals", [f"never-{number}" for number in range(1000)])
    with pytest.raises(ValueError, match="1001 tasks"):
        world.tasks.delete("signals", [f"never-{number}" for number in range(1001)])


def test_a_queue_that_is_not_there_takes_nothing_for_certain(world: World) -> None:
    for count in (1, 2):
        with pytest.raises(TaskError) as caught:
            world.tasks.add(some(count, "nowhere"))
        assert (caught.value.added, caught.value.unsure, caught.value.is_missing) == ({}, frozenset(), True)


def test_a_call_without_an_answer_leaves_it_open_what_was_added(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaesignals.tasks.cloud_tasks._TIMEOUT_SECONDS", 0.3)
    with world.failing():
        for count in (1, 2):
            with pytest.raises(TaskError) as caught:
                world.tasks.add(some(count))
            assert (caught.value.added, caught.value.unsure) == ({}, frozenset(range(count)))


def test_a_deletion_without_an_answer_is_not_certain(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaesignals.tasks.cloud_tasks._TIMEOUT_SECONDS", 0.3)
    with world.failing():
        assert not world.tasks.delete("signals", ["a"])
        assert not world.tasks.delete("signals", ["a", "b"])


def test_there_is_no_adding_with_a_transaction_where_there_is_none(world: World) -> None:
    with pytest.raises(NoTransactionError):
        world.tasks.add(some(1), transactional=True)
    assert bodies(world) == []
