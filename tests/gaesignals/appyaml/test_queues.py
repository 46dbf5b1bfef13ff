"""What is read from queue.yaml, and what is refused."""

from __future__ import annotations

import pytest

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.queues import Queues, QueueSettings, load_queues
from gaesignals.appyaml.retry_policy import RetryPolicy


def test_reads_all_that_a_queue_may_have() -> None:
    queues = load_queues("""
queue:
- name: signals
  rate: 30/m
  bucket_size: 7
  max_concurrent_requests: 9
  target: v2.worker
  retry_parameters:
    task_retry_limit: 4
    task_age_limit: 2h
    min_backoff_seconds: 1.5
    max_backoff_seconds: 60
    max_doublings: 3
""")
    assert queues == {
        "signals": QueueSettings(
            name="signals",
            rate_per_second=0.5,
            bucket_size=7,
            max_concurrent_requests=9,
            target="worker",
            retry_policy=RetryPolicy(
                max_retries=4, max_age_seconds=7200, min_backoff_seconds=1.5, max_backoff_seconds=60, max_doublings=3
            ),
        )
    }


def test_leaves_the_rest_as_the_service_does() -> None:
    (queue,) = load_queues("queue:\n- name: q\n  rate: 5/s\n").values()
    assert (queue.bucket_size, queue.max_concurrent_requests, queue.target) == (5, 1000, None)
    assert queue.retry_policy == RetryPolicy(
        max_retries=None, max_age_seconds=None, min_backoff_seconds=0.1, max_backoff_seconds=3600, max_doublings=16
    )


def test_pull_queues_are_left_alone() -> None:
    queues = Queues.parse("queue:\n- name: theirs\n  mode: pull\n- name: q\n  rate: 5/s\n")
    assert (list(queues.usable), queues.pull, queues.problems) == (["q"], {"theirs"}, ())


def test_a_file_without_queues_is_one() -> None:
    assert load_queues("queue:\n") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "queue.yaml: Empty queue configuration"),
        ("queue: [", "queue.yaml: "),
        ("- name: q\n  rate: 5/s\n", "queue.yaml: it has to be a mapping that begins with `queue:`"),
        ("queue:\n  name: q\n  rate: 5/s\n", "queue.yaml: `queue:` has to be a list"),
        ("queue:\n- name: q\n", "queue q has no rate"),
        ("queue:\n- name: q\n  rate: fast\n", "queue.yaml: "),
        ("queue:\n- name: q\n  rate: 5/sec\n", "line 3: Unable to assign value '5/sec' to attribute 'rate'"),
        ("queue:\n- name: q\n  rate: 501/s\n", "the rate 501/s is more than App Engine takes; use 500/s at most"),
        ("queue:\n- name: q\n  rate: 5/s\n  bucket_size: 0\n", "bucket_size cannot be 0; use a number from 1 to 500"),
        (
            "queue:\n- name: q\n  rate: 5/s\n  max_concurrent_requests: 5001\n",
            "cannot be 5001; use a number from 1 to 5000",
        ),
        ("queue:\n- name: q\n  rate: 5/s\n- name: q\n  rate: 5/s\n", "queue q is there twice"),
        ("queue:\n- name: q\n  rate: 5/s\n  speed: 3\n", "speed"),
        ("queue:\n- name: q q\n  rate: 5/s\n", "q q"),
        ("queue:\n- rate: 5/s\n", "Missing required value [name]"),
        ("queue:\n- name: ''\n  rate: 5/s\n", "a queue has no name"),
        (
            "queue:\n- name: q\n  rate: 5/s\n  retry_parameters:\n    task_retry_limit: -1\n",
            "queue q: Task retry limit must not be less than zero",
        ),
    ],
)
def test_what_app_engine_would_refuse_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_queues(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
