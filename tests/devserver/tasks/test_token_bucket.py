"""The rate of a queue."""

from __future__ import annotations

from devserver.tasks.token_bucket import MAX_SLOWDOWN, TokenBucket


def bucket(rate: float = 2.0, capacity: int = 3) -> TokenBucket:
    return TokenBucket.full(rate_per_second=rate, capacity=capacity, now=100.0)


def take_all(tokens: TokenBucket, now: float) -> int:
    count = 0
    while tokens.take(now):
        count += 1
    return count


def test_a_full_bucket_allows_a_burst_and_then_the_rate() -> None:
    tokens = bucket()
    assert take_all(tokens, 100.0) == 3
    assert take_all(tokens, 100.4) == 0
    assert take_all(tokens, 100.5) == 1
    assert take_all(tokens, 1000.0) == 3


def test_tells_when_the_next_token_comes_and_has_it_then() -> None:
    tokens = bucket(rate=3.0)
    assert tokens.ready_at(100.0) == 100.0
    take_all(tokens, 100.0)
    for _ in range(1000):
        ready_at = tokens.ready_at(101.0)
        assert ready_at is not None
        assert tokens.take(ready_at)
        take_all(tokens, ready_at)


def test_without_a_rate_there_is_never_another_token() -> None:
    tokens = bucket(rate=0.0)
    take_all(tokens, 100.0)
    assert tokens.ready_at(100.0) is None


def test_overload_empties_it_and_halves_the_rate_until_answers_bring_it_back() -> None:
    tokens = bucket()
    tokens.slow_down(100.0)
    assert take_all(tokens, 100.9) == 0
    assert take_all(tokens, 101.0) == 1
    tokens.speed_up(101.0)
    assert take_all(tokens, 101.5) == 1


def test_slows_down_to_a_limit() -> None:
    tokens = bucket()
    for _ in range(100):
        tokens.slow_down(100.0)
    assert tokens.slowdown == MAX_SLOWDOWN


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    tokens = bucket()
    assert take_all(tokens, 50.0) == 3
