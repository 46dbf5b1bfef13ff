"""One process of `benchmarks.peers`: it sends to a library's queue, or works it off, and says what that took.

Run in the environment that `benchmarks.peers` makes: `python -m benchmarks.contenders send celery URL 1000`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

# What one process handles in a second or so.
MESSAGES, SLOW_MESSAGES, OUR_MESSAGES = 2_000, 300, 20_000
MANY_NAMES = "gaesignals reliable, a name each"
DATA = {"number": 7, "text": "x" * 100}

HELD = contextlib.ExitStack()

Send = Callable[[int], None]
Work = Callable[[], object]


class Count:
    """Counts what is handled; with the last one it says what that took and ends the process."""

    def __init__(self, wanted: int) -> None:
        self._left = wanted
        self._wanted = wanted
        self._started = 0.0
        self._cpu = 0.0

    def __call__(self, times: int = 1) -> None:
        if not self._started:
            self._started, self._cpu = time.perf_counter(), time.process_time()
        self._left -= times
        if self._left <= 0:
            say(self._wanted, time.perf_counter() - self._started, time.process_time() - self._cpu)
            sys.stdout.flush()
            os._exit(0)


def say(count: int, seconds: float, cpu: float) -> None:
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"a_second": count / seconds, "cpu_us": cpu / count * 1e6, "megabytes": megabytes}))


def celery(url: str, count: Count) -> tuple[Send, Work]:
    from celery import Celery

    app = Celery("benchmark", broker=url)
    app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True, worker_redirect_stdouts=False)

    @app.task(name="job")
    def job(data: Any) -> None:
        count()

    quiet = ["--pool=solo", "--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    return lambda _: job.delay(DATA), lambda: app.worker_main(["worker", *quiet])


def dramatiq(url: str, count: Count) -> tuple[Send, Work]:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url)
    dramatiq.set_broker(broker)

    @dramatiq.actor(actor_name="job")
    def job(data: Any) -> None:
        count()

    def work() -> None:
        dramatiq.Worker(broker, worker_threads=1).start()
        time.sleep(3600)

    return lambda _: job.send(DATA) and None, work


def huey(url: str, count: Count) -> tuple[Send, Work]:
    from huey import RedisHuey

    app = RedisHuey("benchmark", url=url, results=False)

    @app.task(name="job")
    def job(data: Any) -> None:
        count()

    return lambda _: job(DATA) and None, lambda: app.create_consumer(workers=1, periodic=False).run()


def rq_job(data: Any) -> None:
    RQ_COUNT[0]()


RQ_COUNT: list[Count] = []


def rq(url: str, count: Count) -> tuple[Send, Work]:
    from redis import Redis
    from rq import Queue, SimpleWorker

    RQ_COUNT[:] = [count]
    connection = Redis.from_url(url)
    queue = Queue("benchmark", connection=connection)
    worker = "benchmarks.contenders.rq_job"

    def work() -> None:
        # The module runs as __main__; the job's own name for it has to lead to the same count.
        sys.modules["benchmarks.contenders"] = sys.modules["__main__"]
        SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR")

    return lambda _: queue.enqueue(worker, DATA, result_ttl=0) and None, work


def taskiq(url: str, count: Count) -> tuple[Send, Work]:
    from taskiq.api import run_receiver_task
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(url)
    loop = asyncio.new_event_loop()

    @broker.task(task_name="job")
    async def job(data: Any) -> None:
        count()

    def send(_: int) -> None:
        loop.run_until_complete(job.kiq(DATA))

    loop.run_until_complete(broker.startup())
    return send, lambda: loop.run_until_complete(run_receiver_task(broker))


def arq(url: str, count: Count) -> tuple[Send, Work]:
    from arq import Worker, create_pool, func
    from arq.connections import RedisSettings

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    settings = RedisSettings.from_dsn(url)
    pool = loop.run_until_complete(create_pool(settings))

    async def job(context: Any, data: Any) -> None:
        count()

    def send(_: int) -> None:
        loop.run_until_complete(pool.enqueue_job("job", DATA))

    jobs = [func(job, name="job")]
    return send, lambda: Worker(functions=jobs, redis_settings=settings, burst=True, keep_result=0).run()


def gaesignals(url: str, count: Count, *, reliable: bool, batch: bool, many: int = 1) -> tuple[Send, Work]:
    from gaesignals import Receivers, Signal, deliver, send_many
    from gaesignals.mailbox import Mailbox, use_mailbox_everywhere
    from gaesignals.stores.valkey import ValkeyStore

    HELD.enter_context(use_mailbox_everywhere(Mailbox(ValkeyStore(url))))
    receivers = Receivers()
    if batch:
        receivers.connect("job", lambda messages: count(len(messages)), id="job", reliable=reliable, batch=100)
    else:
        receivers.connect("job", lambda data: count(), id="job", reliable=reliable)
    signal = Signal("job")

    def send(number: int) -> None:
        if many == 1:
            signal.send(DATA)
        elif number % many == 0:
            send_many([("job", DATA)] * many)

    def work() -> None:
        while True:
            deliver(receivers)

    return send, work


def gaesignals_of_many_names(url: str, count: Count) -> tuple[Send, Work]:
    """Each message has a name of its own, so that no send knows anything of its page."""
    from gaesignals import Receivers, Signal, deliver
    from gaesignals.mailbox import Mailbox, use_mailbox_everywhere
    from gaesignals.stores.valkey import ValkeyStore

    HELD.enter_context(use_mailbox_everywhere(Mailbox(ValkeyStore(url))))
    signal = Signal("job_{number}")
    receivers = Receivers()
    receivers.connect(signal, lambda data, number: count(), id="job", reliable=True)

    def work() -> None:
        for first in range(0, MESSAGES, 100):  # as many names as a task has
            deliver(receivers, names=[f"job_{number}" for number in range(first, first + 100)])

    return lambda number: signal(number=number).send(DATA) and None, work


CONTENDERS: dict[str, Callable[[str, Count], tuple[Send, Work]]] = {
    "celery": celery,
    "dramatiq": dramatiq,
    "huey": huey,
    "rq": rq,
    "taskiq": taskiq,
    "arq": arq,
    "gaesignals weak": lambda url, count: gaesignals(url, count, reliable=False, batch=False),
    "gaesignals reliable": lambda url, count: gaesignals(url, count, reliable=True, batch=False),
    MANY_NAMES: gaesignals_of_many_names,
    "gaesignals weak, batches": lambda url, count: gaesignals(url, count, reliable=False, batch=True, many=100),
    "gaesignals reliable, batches": lambda url, count: gaesignals(url, count, reliable=True, batch=True, many=100),
}


FILLED = [name for name in CONTENDERS if name.startswith("gaesignals") and name != MANY_NAMES]
"""Those of which more is sent for the worker, by `send_many`: it would be done too soon."""


def main(act: str, name: str, url: str, wanted: int) -> None:
    """Send so many messages, or handle them."""
    logging.disable(logging.CRITICAL)
    send, work = CONTENDERS[name](url, Count(wanted))
    if act == "work":
        work()
        return
    send(0)  # connects, and is not counted
    started, cpu = time.perf_counter(), time.process_time()
    for number in range(wanted):
        send(number)
    say(wanted, time.perf_counter() - started, time.process_time() - cpu)
    if name in FILLED:
        fill(OUR_MESSAGES - wanted)


def fill(count: int) -> None:
    """Send the rest of what a worker of ours needs to be busy for a while."""
    from gaesignals import send_many

    for _ in range(count // 1000):
        send_many([("job", DATA)] * 1000)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
