"""queue.yaml: the queue that the worker uses."""

from __future__ import annotations

from collections.abc import Iterator

from gaesignals.appyaml.problem import Problem
from gaesignals.appyaml.project import Project
from gaesignals.appyaml.queues import QUEUE, Queues, QueueSettings
from gaesignals.appyaml.service import Service
from gaesignals.cli.entries import DEFAULT_QUEUE, LATER_QUEUE, SAFETY_QUEUE
from gaesignals.cli.finding import ways_of_sending

# The variable that names a queue, its name without that, and what is said of a signal or a send that needs it.
_KINDS = (
    ("SIGNALS_SAFETY_QUEUE", SAFETY_QUEUE, frozenset({"durable"}), "durable"),
    (
        "SIGNALS_LATER_QUEUE",
        LATER_QUEUE,
        frozenset({"durable", "at", "delay_seconds", "transactional"}),
        "for later, or of a transaction",
    ),
)


def check_queue(project: Project) -> Iterator[Problem]:
    """What a worker's tasks would find missing."""
    if project.queues is None and QUEUE in project.files:
        return
    file = project.name_of(QUEUE)
    used = frozenset(word for directory in project.directories for word in ways_of_sending(directory))
    for service in project.workers:
        yield from _check_worker(service, project.queues, file)
        if project.queues is not None:
            yield from _check_kinds(service, project.queues, file, used)


def _check_worker(service: Service, queues: Queues | None, file: str) -> Iterator[Problem]:
    name = service.environ.get("SIGNALS_QUEUE", "").strip() or DEFAULT_QUEUE
    add = f"add `- {{name: {name}, rate: 50/s}}`"
    if queues is None:
        what = f"there is no {QUEUE} here: the worker's tasks have no queue"
        yield Problem(file, "queue-missing", what, f"{add}; deploying it pauses every queue that it does not list")
    elif name in queues.pull:
        what = f"queue {name}, which SIGNALS_QUEUE of {service.file} names, is a pull queue, and Cloud Tasks has none"
        yield Problem(
            file, "queue-pull", what, f"give the worker a queue of its own: {add}, with its name in SIGNALS_QUEUE"
        )
    elif name in queues.usable:
        yield from _check_queue(service, queues.usable[name], file)
    elif name not in queues.refused:
        what = f"there is no queue {name}, which SIGNALS_QUEUE of {service.file} names"
        yield Problem(file, "queue-unknown", what, f"{add}, or correct SIGNALS_QUEUE")


def _check_kinds(service: Service, queues: Queues, file: str, used: frozenset[str]) -> Iterator[Problem]:
    """The queues of those ways of sending that the modules use."""
    for variable, name, words, kind in _KINDS:
        name = service.environ.get(variable, "").strip() or name
        if not used & words or name in queues.refused:
            continue
        if name in queues.usable:
            yield from _check_keeping(service, queues.usable[name], file, kind)
        else:
            what = f"there is no queue {name}, which holds messages that are {kind}"
            remedy = f"add `- {{name: {name}, rate: 100/s, max_concurrent_requests: 6}}`, or correct {variable}"
            order = f"deploy {QUEUE} first, then the worker, then the services that send"
            yield Problem(file, "queue-unknown", what, f"{remedy}; {order}")


def _check_keeping(service: Service, queue: QueueSettings, file: str, kind: str) -> Iterator[Problem]:
    """A queue whose tasks are messages must not lose any."""
    policy = queue.retry_policy
    if policy.max_retries is not None or policy.max_age_seconds is not None:
        what = f"queue {queue.name} gives tasks up, and holds messages that are {kind}: those would be lost"
        yield Problem(file, "queue-gives-up", what, "remove its task_retry_limit and task_age_limit")
    yield from _check_way(service, queue, file, paused=f"holds messages that are {kind}", rate="100/s")


def _check_queue(service: Service, queue: QueueSettings, file: str) -> Iterator[Problem]:
    yield from _check_way(service, queue, file, paused="nothing is delivered", rate="50/s")
    capacity, wanted = _capacity(service), queue.max_concurrent_requests
    if capacity is not None and capacity < wanted:
        what = f"queue {queue.name} runs {wanted} tasks at once, and {service.file} has threads for {capacity}"
        remedy = f"set `max_concurrent_requests: {capacity}`, or add --threads or max_instances"
        yield Problem(file, "queue-capacity", what, remedy)


def _check_way(service: Service, queue: QueueSettings, file: str, *, paused: str, rate: str) -> Iterator[Problem]:
    """What keeps the tasks of a queue from the worker; `paused` is what comes of a queue that runs none."""
    if not queue.rate_per_second:
        what = f"queue {queue.name} has the rate 0, so it is paused, and {paused}"
        yield Problem(file, "queue-paused", what, f"set `rate: {rate}`")
    if queue.target not in (None, service.name):
        what = f"queue {queue.name} sends all its tasks to the service {queue.target}, and the worker is {service.name}"
        yield Problem(file, "queue-target", what, f"remove its target, or set `target: {service.name}`")


def _capacity(service: Service) -> int | None:
    """How many requests all instances can work on; None where that is not known or not bounded."""
    basic, manual = service.info.basic_scaling, service.info.manual_scaling
    instances = basic.max_instances if basic else manual.instances if manual else None
    server = service.server if service.entrypoint else None
    workers, threads = (server.number("workers"), server.number("threads")) if server else (None, None)
    if instances is None or workers is None or threads is None:
        return None
    return workers * threads * int(instances)
