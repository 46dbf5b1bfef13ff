"""When a failed task is tried again."""

from __future__ import annotations

import pytest

from gaesignals.appyaml.retry_policy import MAX_RETENTION_SECONDS, RetryPolicy


def test_backoff_doubles_then_grows_by_the_last_step_then_stays_at_the_maximum() -> None:
    # The example of Cloud Tasks' own documentation.
    policy = RetryPolicy(min_backoff_seconds=10, max_backoff_seconds=300, max_doublings=3)
    assert [policy.backoff_seconds(attempts=n) for n in range(1, 9)] == [10, 20, 40, 80, 160, 240, 300, 300]


def test_backoff_of_any_number_of_attempts_is_a_number() -> None:
    policy = RetryPolicy(max_doublings=100_000)
    assert policy.backoff_seconds(attempts=100_000) == policy.max_backoff_seconds


@pytest.mark.parametrize(
    ("max_retries", "max_age", "attempts", "age", "gives_up"),
    [
        (None, None, 10_000, 86400, False),
        (None, None, 1, MAX_RETENTION_SECONDS, True),
        (0, None, 1, 0, True),
        (2, None, 2, 0, False),
        (2, None, 3, 0, True),
        (None, 60, 500, 59, False),
        (None, 60, 1, 60, True),
        (2, 60, 3, 59, False),
        (2, 60, 2, 60, False),
        (2, 60, 3, 60, True),
    ],
)
def test_a_task_is_given_up_when_all_limits_that_there_are_have_been_passed(
    max_retries: int | None, max_age: float | None, attempts: int, age: float, gives_up: bool
) -> None:
    policy = RetryPolicy(max_retries=max_retries, max_age_seconds=max_age)
    assert policy.gives_up(attempts=attempts, age_seconds=age) is gives_up
