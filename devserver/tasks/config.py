"""Reads `queue.yaml` with the SDK's own parser, and checks what that leaves open.

App Engine demands a rate, though the parser does not; Cloud Tasks has no pull queues and limits of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gaesignals.appyaml.sdk import parse_queues, rate_per_second, retry_parameters
from gaesignals.cli.checks.queue import (
    DEFAULT_CONCURRENT_REQUESTS,
    MAX_BUCKET_SIZE,
    MAX_CONCURRENT_REQUESTS,
    MAX_RATE_PER_SECOND,
)

from ..errors import ConfigError
from .retry_policy import RetryPolicy

DEFAULT_BUCKET_SIZE = 5


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How one queue dispatches: tokens a second into a bucket, requests at once, retries.

    `target` is the service that all its tasks go to, whatever they say; None leaves it to them. A rate of 0 means that
    the queue starts paused.
    """

    name: str
    rate_per_second: float
    bucket_size: int = DEFAULT_BUCKET_SIZE
    max_concurrent_requests: int = DEFAULT_CONCURRENT_REQUESTS
    target: str | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)


def load_queues(text: str) -> dict[str, QueueSettings]:
    """Read the text of a `queue.yaml`; ConfigError in one line if App Engine would not take it."""
    queues: dict[str, QueueSettings] = {}
    for entry in parse_queues(text):
        settings = _settings(entry)
        if settings.name in queues:
            raise ConfigError(f"queue.yaml: queue {settings.name!r} is there twice")
        queues[settings.name] = settings
    return queues


def _settings(entry: Any) -> QueueSettings:
    where = f"queue.yaml: queue {entry.name!r}"
    if not entry.name:
        raise ConfigError("queue.yaml: a queue has no name")
    if entry.mode == "pull":
        raise ConfigError(f"{where}: Cloud Tasks has no pull queues; leave out mode")
    return QueueSettings(
        name=entry.name,
        rate_per_second=_rate(entry.rate, where),
        bucket_size=_between(entry.bucket_size, DEFAULT_BUCKET_SIZE, 1, MAX_BUCKET_SIZE, f"{where}: bucket_size"),
        max_concurrent_requests=_between(
            entry.max_concurrent_requests,
            DEFAULT_CONCURRENT_REQUESTS,
            1,
            MAX_CONCURRENT_REQUESTS,
            f"{where}: max_concurrent_requests",
        ),
        # "version.service" or "service": versions are not told apart on a laptop.
        target=entry.target.rpartition(".")[2] if entry.target else None,
        retry_policy=_retry_policy(entry.retry_parameters, where),
    )


def _rate(text: str | None, where: str) -> float:
    if text is None:
        raise ConfigError(f"{where}: rate is required, like 5/s")
    rate = rate_per_second(text)
    if rate > MAX_RATE_PER_SECOND:
        raise ConfigError(f"{where}: rate {text} is over the most there is, {MAX_RATE_PER_SECOND:.0f}/s")
    return rate


def _between(value: int | None, default: int, least: int, most: int, where: str) -> int:
    if value is None:
        return default
    if not least <= value <= most:
        raise ConfigError(f"{where} has to be between {least} and {most}, not {value}")
    return int(value)


def _retry_policy(parameters: Any, where: str) -> RetryPolicy:
    if parameters is None:
        return RetryPolicy()
    try:
        translated = retry_parameters(parameters)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    default = RetryPolicy()
    return RetryPolicy(
        max_retries=translated.retry_limit if translated.HasField("retry_limit") else None,
        max_age_seconds=translated.age_limit_sec if translated.HasField("age_limit_sec") else None,
        min_backoff_seconds=(
            translated.min_backoff_sec if translated.HasField("min_backoff_sec") else default.min_backoff_seconds
        ),
        max_backoff_seconds=(
            translated.max_backoff_sec if translated.HasField("max_backoff_sec") else default.max_backoff_seconds
        ),
        max_doublings=translated.max_doublings if translated.HasField("max_doublings") else default.max_doublings,
    )
