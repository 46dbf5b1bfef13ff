"""queue.yaml: every queue's limits, and the queue that the worker uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gaesignals.appyaml.errors import ConfigError
from gaesignals.appyaml.sdk import rate_per_second, retry_parameters
from gaesignals.cli.entries import DEFAULT_QUEUE

from .problem import Problem
from .project import QUEUE, Project
from .service import Service

MAX_RATE_PER_SECOND = 500.0
MAX_BUCKET_SIZE = 500
MAX_CONCURRENT_REQUESTS = 5000
DEFAULT_CONCURRENT_REQUESTS = 1000


def check_queue(project: Project) -> Iterator[Problem]:
    """What App Engine refuses, and what a worker's tasks would find missing."""
    seen: set[str] = set()
    for queue in project.queues or ():
        yield from _check_limits(queue)
        if queue.name in seen:
            yield Problem(QUEUE, "queue-twice", f"queue {queue.name} is there twice", "remove one of them")
        seen.add(queue.name)
    if project.queues is None and project.has(QUEUE):
        return
    for service in project.workers:
        yield from _check_worker(service, project.queues)


def _check_limits(queue: Any) -> Iterator[Problem]:
    where = f"queue {queue.name}"
    if queue.mode == "pull":
        yield Problem(QUEUE, "queue-pull", f"{where}: Cloud Tasks has no pull queues", "remove `mode: pull`")
    elif queue.rate is None:
        yield Problem(
            QUEUE, "queue-rate", f"{where} has no rate, without which it cannot be deployed", "add `rate: 50/s`"
        )
    elif rate_per_second(queue.rate) > MAX_RATE_PER_SECOND:
        what = f"{where}: the rate {queue.rate} is more than App Engine takes"
        yield Problem(QUEUE, "queue-rate", what, f"use {MAX_RATE_PER_SECOND:g}/s at most")
    for field, most in (("bucket_size", MAX_BUCKET_SIZE), ("max_concurrent_requests", MAX_CONCURRENT_REQUESTS)):
        value = getattr(queue, field)
        if value is not None and not 1 <= value <= most:
            yield Problem(QUEUE, "queue-limit", f"{where}: {field} cannot be {value}", f"use a number from 1 to {most}")
    if queue.retry_parameters is not None:
        try:
            retry_parameters(queue.retry_parameters)
        except ConfigError as error:
            yield Problem(QUEUE, "queue-retries", f"{where}: {error}", "correct its retry_parameters")


def _check_worker(service: Service, queues: tuple[Any, ...] | None) -> Iterator[Problem]:
    name = service.environ.get("SIGNALS_QUEUE", "").strip() or DEFAULT_QUEUE
    add = f"add `- {{name: {name}, rate: 50/s}}`"
    if queues is None:
        what = f"there is no {QUEUE} here: the worker's tasks have no queue"
        yield Problem(QUEUE, "queue-missing", what, f"{add}; deploying it pauses every queue that it does not list")
        return
    queue = next((each for each in queues if each.name == name), None)
    if queue is None:
        what = f"there is no queue {name}, which SIGNALS_QUEUE of {service.file} names"
        yield Problem(QUEUE, "queue-unknown", what, f"{add}, or correct SIGNALS_QUEUE")
        return
    if queue.rate is not None and rate_per_second(queue.rate) == 0:
        what = f"queue {name} has the rate {queue.rate}, so it is paused, and nothing is delivered"
        yield Problem(QUEUE, "queue-paused", what, "set `rate: 50/s`")
    target = queue.target.rpartition(".")[2] if queue.target else service.name
    if target != service.name:
        what = f"queue {name} sends all its tasks to the service {target}, and the worker is {service.name}"
        yield Problem(QUEUE, "queue-target", what, f"remove its target, or set `target: {service.name}`")
    yield from _check_capacity(service, queue)


def _check_capacity(service: Service, queue: Any) -> Iterator[Problem]:
    capacity = _capacity(service)
    wanted = queue.max_concurrent_requests or DEFAULT_CONCURRENT_REQUESTS
    if capacity is not None and capacity < wanted:
        what = f"queue {queue.name} runs {wanted} tasks at once, and {service.file} has threads for {capacity}"
        remedy = f"set `max_concurrent_requests: {capacity}`, or add --threads or max_instances"
        yield Problem(QUEUE, "queue-capacity", what, remedy)


def _capacity(service: Service) -> int | None:
    """How many requests all instances can work on; None where App Engine adds instances as it likes."""
    basic, manual = service.info.basic_scaling, service.info.manual_scaling
    instances = basic.max_instances if basic else manual.instances if manual else None
    if instances is None or not service.entrypoint:
        return None
    numbers = [service.option("--workers", "-w") or "1", service.option("--threads") or "1", str(instances)]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    workers, threads, count = map(int, numbers)
    return workers * threads * count
