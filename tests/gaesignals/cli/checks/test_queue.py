"""queue.yaml."""

from __future__ import annotations

import pytest

from gaesignals.cli.checks.queue import check_queue

from .conftest import Directory


def test_a_file_with_the_workers_queue_has_no_problem(directory: Directory) -> None:
    assert directory.problems(check_queue) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "what", "remedy"),
    [
        ("  rate: 50/s\n", "", "queue-rate", "queue signals has no rate", "rate: 50/s"),
        ("rate: 50/s", "rate: 501/s", "queue-rate", "the rate 501/s is more", "500/s at most"),
        ("rate: 50/s", "rate: 0", "queue-paused", "so it is paused", "rate: 50/s"),
        ("  rate: 50/s\n", "  mode: pull\n", "queue-pull", "is a pull queue", "a queue of its own"),
        ("100\n  max_concurrent_requests: 20", "501", "queue-limit", "bucket_size cannot be 501", "from 1 to 500"),
        ("requests: 20", "requests: 5001", "queue-limit", "max_concurrent_requests cannot be 5001", "from 1 to 5000"),
        ("name: signals", "name: other", "queue-unknown", "there is no queue signals", "name: signals"),
        ("  rate:", "  target: shop\n  rate:", "queue-target", "all its tasks to the service shop", "target: worker"),
        ("requests: 20", "requests: 41", "queue-capacity", "runs 41 tasks at once", "max_concurrent_requests: 40"),
        ("  max_concurrent_requests: 20\n", "", "queue-capacity", "runs 1000 tasks at once", "--threads"),
        ("min_backoff_seconds: 5", "min_backoff_seconds: 500", "queue-retries", "queue signals: ", "retry_parameters"),
    ],
)
def test_a_queue(directory: Directory, old: str, new: str, code: str, what: str, remedy: str) -> None:
    directory.change("queue.yaml", old, new)
    problems = [problem for problem in directory.problems(check_queue) if problem.code == code]
    assert len(problems) == 1
    assert problems[0].file == "queue.yaml"
    assert what in problems[0].what
    assert remedy in problems[0].remedy


def test_the_queue_is_the_one_that_the_worker_names(directory: Directory) -> None:
    directory.change("worker.yaml", "env_variables:", "env_variables:\n  SIGNALS_QUEUE: background")
    problem = directory.only(check_queue)
    assert problem.what == "there is no queue background, which SIGNALS_QUEUE of worker.yaml names"
    directory.change("queue.yaml", "name: signals", "name: background")
    assert directory.problems(check_queue) == []


def test_a_target_may_name_a_version(directory: Directory) -> None:
    directory.change("queue.yaml", "  rate:", "  target: v2.worker\n  rate:")
    assert directory.problems(check_queue) == []


def test_a_queue_that_is_there_twice_is_a_problem(directory: Directory) -> None:
    directory.change("queue.yaml", "queue:\n", "queue:\n- name: signals\n  rate: 1/s\n  max_concurrent_requests: 1\n")
    assert directory.only(check_queue).code == "queue-twice"


def test_where_app_engine_adds_instances_the_threads_are_not_counted(directory: Directory) -> None:
    directory.change("queue.yaml", "requests: 20", "requests: 500")
    directory.change("worker.yaml", "instance_class: B2\nbasic_scaling:\n  max_instances: 5\n  idle_timeout: 10m\n", "")
    assert directory.problems(check_queue) == []


def test_a_missing_file_is_a_problem(directory: Directory) -> None:
    directory.remove("queue.yaml")
    problem = directory.only(check_queue)
    assert (problem.file, problem.code) == ("queue.yaml", "queue-missing")
    assert "pauses every queue that it does not list" in problem.remedy


def test_a_file_that_cannot_be_read_is_no_second_problem(directory: Directory) -> None:
    directory.write("queue.yaml", "- a\n")
    assert directory.only(check_queue).code == "queue-yaml"


@pytest.mark.parametrize(
    ("sending", "missing"),
    [
        ("Signal('a', durable=True)", ["signals-safety", "signals-later"]),
        ("Signal('a').send(1, delay_seconds=3)", ["signals-later"]),
        ("send_many([], transactional=True)", ["signals-later"]),
        ("Signal('a', durable=False).send(1, at=None)", []),
        ("mail.post(at=3, durable=True)", []),
    ],
)
def test_the_queues_of_durable_and_later_messages_are_needed_where_such_are_sent(
    directory: Directory, sending: str, missing: list[str]
) -> None:
    directory.write("shop/sending.py", f"{sending}\n")
    assert directory.problems(check_queue) == []
    text = (directory.path / "queue.yaml").read_text()
    directory.write("queue.yaml", text[: text.index("- name: signals-safety")])
    problems = directory.problems(check_queue)
    assert [problem.what.split()[4].rstrip(",") for problem in problems] == missing
    assert {problem.code for problem in problems} <= {"queue-unknown"}
    assert all("first, then the worker, then the services that send" in problem.remedy for problem in problems)


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ("  retry_parameters:\n    task_retry_limit: 7", "queue-gives-up"),
        ("  retry_parameters:\n    task_age_limit: 1d", "queue-gives-up"),
        ("  target: shop\n  retry_parameters:", "queue-target"),
        ("  rate: 0", "queue-paused"),
    ],
)
def test_the_queue_of_durable_messages_must_keep_them(directory: Directory, new: str, code: str) -> None:
    text = (directory.path / "queue.yaml").read_text()
    start = text.index("- name: signals-safety")
    head, tail = text[:start], text[start:]
    old = "  rate: 100/s" if "rate" in new else "  retry_parameters:"
    directory.write("queue.yaml", head + tail.replace(old, new, 1))
    assert directory.problems(check_queue) == []
    directory.write("shop/sending.py", "Signal('a', durable=True)\n")
    assert directory.only(check_queue).code == code
