"""The receivers of a stress run. They write down what they handle, and fail now and then."""

from __future__ import annotations

import os
import random
import time

from gaesignals import Message, Receivers

from .records import Notebook

FAILURE_RATE = 0.03

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


@receivers.receiver("invoice_{number}", reliable=True, backoff_seconds=0.5, max_attempts=1000)
def handle_invoice(data: str, *, number: str) -> None:
    _handle(data)
