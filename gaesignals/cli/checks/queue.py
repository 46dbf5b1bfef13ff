"""queue.yaml: the queue that the worker uses."""

from __future__ import annotations

from collections.abc import Iterator

from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.queues import QUEUE, Queues, QueueSettings
from gaesignals.appyaml.service import Service
from gaesignals.cli.entries import DEFAULT_QUEUE


def check_queue(project: Project) -> Iterator[Problem]:
    """What a worker's tasks would find missing."""
    if project.queues is None and project.has(QUEUE):
        return
    for service in project.workers:
        yield from _check_worker(service, project.queues)


def _check_worker(service: Service, queues: Queues | None) -> Iterator[Problem]:
    name = service.environ.get("SIGNALS_QUEUE", "").strip() or DEFAULT_QUEUE
    add = f"add `- {{name: {name}, rate: 50/s}}`"
    if queues is None:
        what = f"there is no {QUEUE} here: the worker's tasks have no queue"
        yield Problem(QUEUE, "queue-missing", what, f"{add}; deploying it pauses every queue that it does not list")
        return
    queue = queues.usable.get(name)
    if queue is None:
        if name not in queues.refused:
            what = f"there is no queue {name}, which SIGNALS_QUEUE of {service.file} names"
            yield Problem(QUEUE, "queue-unknown", what, f"{add}, or correct SIGNALS_QUEUE")
        return
    if not queue.rate_per_second:
        what = f"queue {name} has the rate 0, so it is paused, and nothing is delivered"
        yield Problem(QUEUE, "queue-paused", what, "set `rate: 50/s`")
    if queue.target not in (None, service.name):
        what = f"queue {name} sends all its tasks to the service {queue.target}, and the worker is {service.name}"
        yield Problem(QUEUE, "queue-target", what, f"remove its target, or set `target: {service.name}`")
    yield from _check_capacity(service, queue)


def _check_capacity(service: Service, queue: QueueSettings) -> Iterator[Problem]:
    capacity = _capacity(service)
    if capacity is not None and capacity < queue.max_concurrent_requests:
        wanted = queue.max_concurrent_requests
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
