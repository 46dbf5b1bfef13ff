"""The worker dies before and after every call to memcache and to Cloud Tasks, and cron alone makes up for it.

The tasks that exist then are run or lost: neither may matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from webtest import TestApp, TestResponse

from gaesignals.errors import SignalsError
from gaesignals.mailbox.index import Index
from worker import app as worker_app
from worker.app import create_app
from worker.config import Environment, Settings
from worker.queue import Task

from .scenes import FULL_MESSAGES, DiedError, Scene, fill, small_index
from .test_crashes import DyingStore, app_engine, memory

SETTINGS = Settings(environment=Environment.LOCALDEV, project="p", location="l")


class DyingQueue:
    """Cloud Tasks, called by a process that dies at one of its calls, be it to memcache or to the queue."""

    def __init__(self, calls: DyingStore, tasks: list[Task]) -> None:
        self._calls = calls
        self.tasks = tasks

    def create(self, tasks: Sequence[Task]) -> list[bool]:
        return self._calls.call(lambda: self._create(tasks))  # type: ignore[no-any-return]

    def _create(self, tasks: Sequence[Task]) -> list[bool]:
        self.tasks.extend(tasks)
        return [True] * len(tasks)


class Cloud:
    """A scene with a worker, the tasks that wait for it, and how it is called."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scene = scene
        self.tasks: list[Task] = []
        self._monkeypatch = monkeypatch

    def worker(self, *, dies_at: int | None = None, is_after: bool = False, task_seconds: float = 60) -> Worker:
        store = DyingStore(self.scene.store, dies_at=dies_at, is_after=is_after)
        box = self.scene.box(store)
        self._monkeypatch.setattr(worker_app, "_mailbox", lambda *_: box)
        app = create_app(
            SETTINGS,
            receivers=self.scene.receivers,
            queue=DyingQueue(store, self.tasks),
            task_seconds=task_seconds,
        )
        return Worker(TestApp(app, extra_environ={"REMOTE_ADDR": "127.0.0.1"}), store)

    def recover(self) -> None:
        """Minutes pass; cron calls a new process, and Cloud Tasks runs what it has."""
        self.scene.failing.clear()
        worker = self.worker()
        worker.resume(names="one")
        for _ in range(20):
            self.scene.clock.advance(400)
            worker.cron()
            self.run_tasks(worker)
            if not Index(self.scene.box()).entries():
                return

    def run_tasks(self, worker: Worker) -> None:
        for _ in range(100):
            if not self.tasks:
                return
            worker.task(self.tasks.pop(0))
        raise AssertionError("the queue does not become empty")


class Worker:
    """The worker over HTTP."""

    def __init__(self, http: TestApp, store: DyingStore) -> None:
        self.http = http
        self.store = store

    def cron(self) -> None:
        self._check(self.http.get("/cron/drain", headers={"X-Appengine-Cron": "true"}, status="*"))

    def task(self, task: Task) -> None:
        headers = {"X-AppEngine-QueueName": "signals", "Content-Type": "application/json"}
        self._check(self.http.post("/tasks/deliver", task.body(), headers=headers, status="*"))

    def drain(self, **fields: Any) -> None:
        self._check(self.http.post("/admin/drain", fields, status="*"))

    def pause(self, **fields: Any) -> None:
        self._check(self.http.post("/admin/pause", fields, status="*"))

    def resume(self, **fields: Any) -> None:
        self._check(self.http.post("/admin/resume", fields, status="*"))

    def _check(self, answer: TestResponse) -> None:
        assert answer.status_int in (200, 503), answer


Scenario = Callable[[Cloud, Worker], None]


def fan_out(cloud: Cloud, worker: Worker) -> None:
    worker.cron()


def deliver(cloud: Cloud, worker: Worker) -> None:
    worker.task(Task(("one", "batch", "weak")))


def deliver_with_failures(cloud: Cloud, worker: Worker) -> None:
    cloud.scene.failing.update(("one/1", "batch/3"))
    worker.task(Task(("one", "batch", "weak")))


def fan_out_and_deliver(cloud: Cloud, worker: Worker) -> None:
    worker.cron()
    cloud.run_tasks(worker)


def drain_and_wait(cloud: Cloud, worker: Worker) -> None:
    worker.drain(wait="1")


def drain_by_task(cloud: Cloud, worker: Worker) -> None:
    worker.drain(names="one")
    cloud.run_tasks(worker)


def pause_and_resume(cloud: Cloud, worker: Worker) -> None:
    worker.cron()
    worker.pause(names="one")
    cloud.run_tasks(worker)
    worker.cron()
    cloud.run_tasks(worker)
    worker.resume(names="one")
    worker.cron()
    cloud.run_tasks(worker)


def hand_over(cloud: Cloud, worker: Worker) -> None:
    """There is time for nothing, so every task hands over to the next; the third is the last."""
    worker.task(Task(("one", "batch", "weak")))
    for _ in range(2):
        if cloud.tasks:
            worker.task(cloud.tasks.pop(0))


def deliver_with_a_sibling(cloud: Cloud, worker: Worker) -> None:
    """More waits than one claim takes, so the task brings in another."""
    worker.task(Task(("one",)))


def prepare_backlog(scene: Scene) -> None:
    box = scene.box()
    for number in range(FULL_MESSAGES * 66):
        scene.send(box, f"one/{number}")


@pytest.fixture(autouse=True)
def _small_index() -> Iterator[None]:
    with small_index():
        yield


def points(run: Callable[[int, bool], bool]) -> int:
    """Call `run` with each call's number and each side of it until it says that there are no more; return how many."""
    count = 0
    for dies_at in range(1, 10_000):
        for is_after in (False, True):
            if not run(dies_at, is_after):
                return count
            count += 1
    raise AssertionError("the calls do not come to an end")


@pytest.mark.parametrize(
    ("kind", "is_queue_kept"),
    [(memory, True), (memory, False), (app_engine, True)],
    ids=["tasks are run", "tasks are lost", "on App Engine's memcache"],
)
@pytest.mark.parametrize(
    "scenario",
    [
        fan_out,
        deliver,
        deliver_with_failures,
        fan_out_and_deliver,
        drain_and_wait,
        drain_by_task,
        pause_and_resume,
        hand_over,
        deliver_with_a_sibling,
    ],
)
def test_nothing_is_lost_wherever_the_worker_dies(
    scenario: Scenario,
    kind: Callable[[], contextlib.AbstractContextManager[Scene]],
    is_queue_kept: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(dies_at: int, is_after: bool) -> bool:
        with kind() as scene:
            return run_scene(scene, dies_at, is_after)

    def run_scene(scene: Scene, dies_at: int, is_after: bool) -> bool:
        (prepare_backlog if scenario is deliver_with_a_sibling else fill)(scene)
        cloud = Cloud(scene, monkeypatch)
        seconds = 1e-9 if scenario is hand_over else 60
        worker = cloud.worker(dies_at=dies_at, is_after=is_after, task_seconds=seconds)
        with contextlib.suppress(DiedError, SignalsError):
            scenario(cloud, worker)
        if worker.store.calls < dies_at:
            return False
        if not is_queue_kept:
            cloud.tasks.clear()
        cloud.recover()
        scene.check()
        return True

    assert points(run)


def test_a_mailbox_of_the_scene_is_what_the_worker_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests above would show nothing."""
    with memory() as scene:
        scene.send(scene.box(), "one/1")
        worker = Cloud(scene, monkeypatch).worker()
        worker.task(Task(("one",)))
        assert scene.handled == {"one/1": 1}
        assert worker.store.calls
