"""Django's tasks as signals: those of Django 6 on Python 3.12 and later, and below it those of django-tasks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from gaesignals import InvalidOptionError, Receivers, SendError, Signal, deliver, waiting_names
from gaesignals.integrations import django as integration
from gaesignals.integrations.django import SignalsBackend, task_receivers
from gaesignals.testing import SignalsFixture

ROOT = Path(__file__).parents[3]
PROJECT = ROOT / "tests" / "django_project"
BACKEND = "gaesignals.integrations.django.SignalsBackend"
SHIP = "task:default:default:mysite.tasks.ship"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, django_settings: None) -> Iterator[Any]:
    """The tasks of the project, with its settings."""
    monkeypatch.syspath_prepend(str(PROJECT))
    from mysite.settings import TASKS

    with override_settings(TASKS=TASKS):
        from mysite import tasks

        tasks.log.clear()
        yield tasks
    for name in [name for name in sys.modules if name.partition(".")[0] == "mysite"]:
        del sys.modules[name]


@pytest.fixture
def told(tasks: Any) -> Iterator[list[tuple[str, str]]]:
    """What Django's signals said: which one, and the status of the task then."""
    heard: list[tuple[str, str]] = []
    listening = []
    for name in ("task_enqueued", "task_started", "task_finished"):
        signal = getattr(integration, name)

        def listen(sender: Any, task_result: Any, *, name: str = name, **kwargs: Any) -> None:
            heard.append((name.removeprefix("task_"), task_result.status.name))

        signal.connect(listen)
        listening.append((signal, listen))
    yield heard
    for signal, listen in listening:
        signal.disconnect(listen)


def with_options(**options: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": BACKEND, "QUEUES": ["default", "mail"], "OPTIONS": options}}


def problems(**params: Any) -> list[str]:
    """What Django's own checks say of a backend with these settings."""
    with override_settings(TASKS={"default": {"BACKEND": BACKEND} | params}):
        return [found.msg for found in checks.run_checks() if found.id == "gaesignals.E001"]


# Enqueueing


def test_what_is_enqueued_waits_and_the_worker_runs_it(tasks: Any, signals: SignalsFixture) -> None:
    result = tasks.ship.enqueue(7, express=True)
    assert (result.status.name, result.args, result.kwargs) == ("READY", [7], {"express": True})
    assert signals.sent(SHIP) == [{"args": [7], "kwargs": {"express": True}}]
    assert tasks.log == []
    assert signals.drain(task_receivers()).delivered == 1
    assert tasks.log == ["shipping 7 at once"]


def test_its_id_is_the_messages(tasks: Any, signals: SignalsFixture) -> None:
    result = tasks.pay.enqueue(7)
    signals.drain(task_receivers())
    assert tasks.log == [f"paying 7, attempt 1 of {result.id}"]


def test_it_has_no_results_and_no_priority_and_says_so(tasks: Any, signals: SignalsFixture) -> None:
    backend = tasks.ship.get_backend()
    assert (backend.supports_get_result, backend.supports_priority) == (False, False)
    assert (backend.supports_defer, backend.supports_async_task) == (True, True)
    with pytest.raises(NotImplementedError):
        tasks.ship.enqueue(7).refresh()
    with pytest.raises(integration.InvalidTask, match="priority"):
        tasks.ship.using(priority=1)


def test_arguments_that_are_not_json_are_refused_and_nothing_is_sent(tasks: Any, signals: SignalsFixture) -> None:
    with pytest.raises((TypeError, ValueError)):
        tasks.ship.enqueue(object())
    assert signals.sent(SHIP) == []


def test_a_coroutine_enqueues_too(tasks: Any, signals: SignalsFixture) -> None:
    async def view() -> Any:
        return await tasks.ship.aenqueue(7)

    assert asyncio.run(view()).status.name == "READY"
    assert signals.sent(SHIP) == [{"args": [7], "kwargs": {}}]


def test_a_name_that_is_too_long_is_refused_where_the_task_is_declared(tasks: Any) -> None:
    name, module = "s" * 200, {"__name__": "mysite.tasks"}
    exec(f"def {name}(): pass", module)
    with pytest.raises(integration.InvalidTask, match="200 is the most"):
        tasks.task(module[name])


def test_run_after_is_waited_for(tasks: Any, signals: SignalsFixture) -> None:
    moment = datetime.fromtimestamp(signals.clock(), timezone.utc) + timedelta(minutes=10)
    tasks.ship.using(run_after=moment).enqueue(7)
    receivers = task_receivers()
    signals.advance(590)
    assert signals.drain(receivers).delivered == 0
    signals.advance(10)
    assert signals.drain(receivers).delivered == 1


def test_run_after_that_is_past_is_at_once_and_one_too_far_ahead_is_refused(
    tasks: Any, signals: SignalsFixture
) -> None:
    now = datetime.fromtimestamp(signals.clock(), timezone.utc)
    tasks.ship.using(run_after=now - timedelta(days=1)).enqueue(7)
    assert signals.drain(task_receivers()).delivered == 1
    with pytest.raises(integration.InvalidTask, match="29 days"):
        tasks.ship.using(run_after=now + timedelta(days=30))


# Running


def test_a_queue_of_its_own_delivers_its_tasks(tasks: Any) -> None:
    receivers = task_receivers()
    (mail,) = receivers.matching("task:default:mail:mysite.tasks.mail")
    (ship,) = receivers.matching(SHIP)
    assert (mail.receiver.queue, ship.receiver.queue) == ("mail", None)
    assert mail.receiver.reliable
    assert ship.receiver.reliable


def test_a_task_of_another_alias_travels_as_that_ones_options_say(tasks: Any, signals: SignalsFixture) -> None:
    tasks.invoice.enqueue(7)
    tasks.ship.enqueue(7)
    (invoice,) = signals.sends("task:invoices:default:mysite.tasks.invoice")
    (ship,) = signals.sends(SHIP)
    assert (invoice.is_durable, ship.is_durable, ship.wake_seconds) == (True, False, 0)
    signals.drain(task_receivers())
    assert sorted(tasks.log) == ["invoice 7", "shipping 7"]


def test_a_coroutine_is_run(tasks: Any, signals: SignalsFixture, told: list[tuple[str, str]]) -> None:
    tasks.translate.enqueue("tea")
    assert signals.drain(task_receivers()).delivered == 1
    assert tasks.log == ["translating tea"]
    assert told == [("enqueued", "READY"), ("started", "RUNNING"), ("finished", "SUCCESSFUL")]


def test_a_task_that_fails_is_run_again_and_finishes_once(
    tasks: Any, signals: SignalsFixture, told: list[tuple[str, str]]
) -> None:
    tasks.pay.enqueue(7)
    receivers = task_receivers()
    signals.drain(receivers)
    signals.advance(10)
    signals.drain(receivers)
    assert [line.split(" of ")[0] for line in tasks.log] == ["paying 7, attempt 1", "paying 7, attempt 2"]
    assert told == [("enqueued", "READY"), ("started", "RUNNING"), ("started", "RUNNING"), ("finished", "SUCCESSFUL")]


@pytest.mark.parametrize("name", ["fail", "fail_later"])
def test_one_that_fails_for_good_finishes_as_failed_and_is_a_dead_letter(
    tasks: Any, signals: SignalsFixture, told: list[tuple[str, str]], name: str
) -> None:
    task = getattr(tasks, name)
    task.enqueue(*(["loud"] if name == "fail" else []))
    receivers = task_receivers()
    for _ in range(5):
        signals.drain(receivers)
        signals.advance(3600)
    assert [status for what, status in told if what == "finished"] == ["FAILED"]
    assert len([what for what, _ in told if what == "started"]) == 3
    assert len(signals.dead(f"task:default:default:mysite.tasks.{name}")) == 1


def test_a_coroutine_that_is_cancelled_for_good_has_finished_as_failed(
    tasks: Any, signals: SignalsFixture, told: list[tuple[str, str]]
) -> None:
    with override_settings(TASKS=with_options(max_attempts=1)):
        tasks.wait.enqueue()
        assert deliver(task_receivers(), names=waiting_names(task_receivers()), lease_seconds=1).dead == 1
    assert told[-1] == ("finished", "FAILED")


@pytest.mark.parametrize("name", ["ask_plainly", "ask_in_a_coroutine"])
def test_a_task_leaves_no_connection_to_the_next_one(tasks: Any, signals: SignalsFixture, name: str) -> None:
    getattr(tasks, name).enqueue()
    signals.drain(task_receivers(), raise_errors=True)
    (connection,) = tasks.opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_one_that_drops_itself_has_finished(tasks: Any, signals: SignalsFixture, told: list[tuple[str, str]]) -> None:
    tasks.fail.enqueue("drop")
    report = signals.drain(task_receivers())
    assert (report.failed, report.dead) == (0, 0)
    assert told[-1] == ("finished", "SUCCESSFUL")


def test_what_listens_to_djangos_signals_and_fails_costs_no_task_and_repeats_none(
    tasks: Any, signals: SignalsFixture, caplog: pytest.LogCaptureFixture
) -> None:
    def listen(**kwargs: Any) -> None:
        raise RuntimeError("of a listener")

    three = (integration.task_enqueued, integration.task_started, integration.task_finished)
    for signal in three:
        signal.connect(listen)
    try:
        assert tasks.ship.enqueue(7).id
        report = signals.drain(task_receivers())
    finally:
        for signal in three:
            signal.disconnect(listen)
    assert (report.delivered, tasks.log) == (1, ["shipping 7"])
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 3


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("mysite.tasks.gone", "there is no task 'mysite.tasks.gone' here"),
        ("nowhere.at_all", "'nowhere.at_all' is in no installed app"),
        ("django.contrib.sessions.tasks.mail", "there is no task 'django.contrib.sessions.tasks.mail' here"),
        ("mysite.tasks.plain", "'mysite.tasks.plain' is a function, not a task"),
    ],
)
def test_a_path_that_is_no_task_is_not_called_and_is_tried_again(
    tasks: Any, signals: SignalsFixture, path: str, said: str
) -> None:
    Signal("task:default:default:{path}")(path=path).send({"args": [], "kwargs": {}})
    report = signals.drain(task_receivers())
    assert (report.delivered, report.retried, tasks.log) == (0, 1, [])
    assert said in str(report.errors[0].exception)


def test_no_module_outside_the_installed_apps_is_imported_for_a_name(tasks: Any, signals: SignalsFixture) -> None:
    sys.modules.pop("this", None)
    Signal("task:default:default:{path}")(path="this.s").send({"args": [], "kwargs": {}})
    assert signals.drain(task_receivers()).retried == 1
    assert "this" not in sys.modules


# Settings


def test_receivers_of_ones_own_take_the_tasks_beside_them(tasks: Any) -> None:
    own = Receivers()
    own.connect("order_paid", print)
    assert task_receivers(own) is own
    assert len(own) == 4


def test_without_a_backend_there_is_nothing_to_receive(tasks: Any) -> None:
    dummy = f"{integration.BaseTaskBackend.__module__.rpartition('.')[0]}.dummy.DummyBackend"
    with override_settings(TASKS={"default": {"BACKEND": dummy}}), pytest.raises(ImproperlyConfigured, match="TASKS"):
        task_receivers()


def test_djangos_checks_pass_for_the_project(tasks: Any) -> None:
    assert checks.run_checks() == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"OPTIONS": {"wakes": True}}, "OPTIONS has wakes; there are backoff"),
        ({"OPTIONS": {"wake": "soon"}}, "wake='soon' cannot be"),
        ({"OPTIONS": {"durable": 1}}, "durable=1 cannot be"),
        ({"OPTIONS": {"transactional": "yes"}}, "transactional='yes' cannot be"),
        ({"OPTIONS": {"max_attempts": 0}}, "max_attempts=0 cannot be"),
        ({"OPTIONS": {"queue": "mail"}}, "OPTIONS has queue"),
        ({"QUEUES": []}, "QUEUES is empty"),
        ({"QUEUES": ["my queue"]}, "queue='my queue' cannot be"),
    ],
)
def test_djangos_checks_say_what_cannot_be(tasks: Any, params: dict[str, Any], said: str) -> None:
    (found,) = problems(**params)
    assert said in found
    assert found.startswith("TASKS['default']: ")


def test_djangos_checks_say_all_at_once(tasks: Any) -> None:
    found = problems(OPTIONS={"wake": "soon", "max_attempts": 0})
    assert [each.split("'default']: ")[1].partition("=")[0] for each in found] == ["wake", "max_attempts"]


def test_an_alias_that_cannot_be_part_of_a_name_is_found(tasks: Any) -> None:
    (problem,) = SignalsBackend("a{b}", {})._problems()
    assert problem.startswith("the alias is part of signals' names")


def test_in_a_transaction_it_comes_with_the_commit_or_not_at_all(tasks: Any, signals: SignalsFixture) -> None:
    with override_settings(TASKS=with_options(transactional=True)):
        with pytest.raises(SendError):
            tasks.ship.enqueue(1)
        with signals.transaction():
            tasks.ship.enqueue(2)
        with contextlib.suppress(LookupError), signals.transaction():
            tasks.ship.enqueue(3)
            raise LookupError
        signals.drain(task_receivers())
    assert tasks.log == ["shipping 2"]


def test_a_weak_task_that_fails_has_finished(tasks: Any, signals: SignalsFixture, told: list[tuple[str, str]]) -> None:
    with override_settings(TASKS=with_options(reliable=False)):
        tasks.fail.enqueue("loud")
        signals.drain(task_receivers())
    assert told[-1] == ("finished", "FAILED")


def test_an_option_that_cannot_be_is_refused_where_it_is_used(tasks: Any) -> None:
    with override_settings(TASKS=with_options(max_attempts=0)), pytest.raises(InvalidOptionError):
        task_receivers()


# The page


def test_the_project_of_the_page_passes_its_test(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "django.md").read_text()
    files = dict(re.findall(r"^`([\w./]+)`[^\n]*\n\n```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert list(files) == ["settings.py", "shop/tasks.py", "receivers.py", "wsgi.py", "test_tasks.py"]
    (tmp_path / "shop").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("django.tasks", integration.Task.__module__.rpartition(".")[0]))
    (tmp_path / "test_wsgi.py").write_text(
        "import wsgi\n\ndef test_it_serves():\n    assert callable(wsgi.application)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "gaesignals.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "test_tasks.py", "test_wsgi.py"],
        cwd=tmp_path,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
