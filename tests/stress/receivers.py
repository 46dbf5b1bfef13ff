"""The receivers of a stress run. They write down what they handle, and fail now and then.

Leases are short here, so that what a killed worker held is taken over within the run.
"""

from __future__ import annotations

import functools
import os
import random
import time

from gaesignals import Message, Receivers, deliver
from worker import tasks

from .records import Notebook

LEASE_SECONDS = 5
FAILURE_RATE = 0.03

tasks.deliver = functools.partial(deliver, lease_seconds=LEASE_SECONDS)  # type: ignore[assignment]

receivers = Receivers()
_notebooks: dict[int, Notebook] = {}


def _handle(key: str, *, failure_rate: float = FAILURE_RATE) -> None:
    time.sleep(random.uniform(0, 0.002))
    if random.random() < failure_rate:
        raise RuntimeError("on purpose")
    # gunicorn forks: each process has a file of its own.
    notebook = _notebooks.get(os.getpid()) or _notebooks.setdefault(os.getpid(), Notebook("handled"))
    notebook.write(key)


@receivers.receiver("hot", reliable=True, backoff_seconds=0.5, max_attempts=1000)
def handle_hot(data: str) -> None:
    _handle(data)


@receivers.receiver("batched", reliable=True, batch=50, backoff_seconds=0.5, max_attempts=1000)
def handle_batch(messages: list[Message]) -> None:
    for message in messages:
        try:
            _handle(message.data)
        except RuntimeError as error:
            message.fail(str(error))


@receivers.receiver("user_{user_id}_changed", reliable=True, backoff_seconds=0.5, max_attempts=1000)
def handle_user(data: str, *, user_id: str) -> None:
    _handle(data)


@receivers.receiver("weak")
def handle_weak(data: str) -> None:
    _handle(data, failure_rate=0)
