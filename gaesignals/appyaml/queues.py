"""The queues of queue.yaml: how each dispatches, and what App Engine would not take.

App Engine demands a rate, though the SDK's parser does not, and has limits of its own. Pull queues, which Cloud Tasks
does not have, are somebody else's and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigError
from .problem import Problem
from .retry_policy import RetryPolicy
from .sdk import parse_queues, rate_per_second, retry_parameters

QUEUE = "queue.yaml"
MAX_RATE_PER_SECOND = 500.0
MAX_BUCKET_SIZE = 500
MAX_CONCURRENT_REQUESTS = 5000


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How one queue dispatches: tokens a second into a bucket, requests at once, retries.

    `target` is the service that all its tasks go to, whatever they say; None leaves it to them. A rate of 0 means that
    the queue starts paused.
    """

    name: str
    rate_per_second: float
    bucket_size: int = 5
    max_concurrent_requests: int = 1000
    target: str | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class Queues:
    """What a queue.yaml has: the push queues that App Engine would take, by name, and what is wrong with the others."""

    usable: Mapping[str, QueueSettings]
    problems: tuple[Problem, ...] = ()
    refused: frozenset[str] = frozenset()
    pull: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, *, file: str = QUEUE) -> Queues:
        """Read the text of a queue.yaml; ConfigError if it cannot be read at all."""
        usable: dict[str, QueueSettings] = {}
        problems: list[Problem] = []
        names: set[str] = set()
        pull: set[str] = set()
        for entry in parse_queues(text, file=file):
            found = list(_problems(entry, file, is_twice=entry.name in names))
            names.add(entry.name)
            problems += found
            if entry.mode == "pull":
                pull.add(entry.name)
            elif not found:
                usable[entry.name] = _settings(entry)
        return cls(usable, tuple(problems), frozenset(names - pull - set(usable)), frozenset(pull))


def load_queues(text: str) -> Mapping[str, QueueSettings]:
    """Read the text of a queue.yaml; ConfigError in one line if App Engine would not take all of it."""
    queues = Queues.parse(text)
    if queues.problems:
        raise ConfigError(str(queues.problems[0]))
    return queues.usable


def _problems(entry: Any, file: str, *, is_twice: bool) -> Iterator[Problem]:
    where = f"queue {entry.name}"
    if not entry.name:
        yield Problem(file, "queue-name", "a queue has no name", "give it one")
    if is_twice:
        yield Problem(file, "queue-twice", f"{where} is there twice", "remove one of them")
    if entry.mode == "pull":
        return
    if entry.rate is None:
        what = f"{where} has no rate, without which it cannot be deployed"
        yield Problem(file, "queue-rate", what, "add `rate: 50/s`")
    elif rate_per_second(entry.rate) > MAX_RATE_PER_SECOND:
        what = f"{where}: the rate {entry.rate} is more than App Engine takes"
        yield Problem(file, "queue-rate", what, f"use {MAX_RATE_PER_SECOND:g}/s at most")
    for name, most in (("bucket_size", MAX_BUCKET_SIZE), ("max_concurrent_requests", MAX_CONCURRENT_REQUESTS)):
        value = getattr(entry, name)
        if value is not None and not 1 <= value <= most:
            yield Problem(file, "queue-limit", f"{where}: {name} cannot be {value}", f"use a number from 1 to {most}")
    try:
        _retry_policy(entry.retry_parameters)
    except ConfigError as error:
        yield Problem(file, "queue-retries", f"{where}: {error}", "correct its retry_parameters")


def _settings(entry: Any) -> QueueSettings:
    given = {name: getattr(entry, name) for name in ("bucket_size", "max_concurrent_requests")}
    return QueueSettings(
        entry.name,
        rate_per_second(entry.rate),
        # "version.service" or "service": versions are not told apart here.
        target=entry.target.rpartition(".")[2] if entry.target else None,
        retry_policy=_retry_policy(entry.retry_parameters),
        **{name: int(value) for name, value in given.items() if value is not None},
    )


def _retry_policy(parameters: Any) -> RetryPolicy:
    if parameters is None:
        return RetryPolicy()
    translated = retry_parameters(parameters)
    fields = {
        "max_retries": "retry_limit",
        "max_age_seconds": "age_limit_sec",
        "min_backoff_seconds": "min_backoff_sec",
        "max_backoff_seconds": "max_backoff_sec",
        "max_doublings": "max_doublings",
    }
    return RetryPolicy(
        **{ours: getattr(translated, theirs) for ours, theirs in fields.items() if translated.HasField(theirs)}
    )
