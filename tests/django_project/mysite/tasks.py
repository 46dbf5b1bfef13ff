"""Tasks, which say what they do: the local cloud shows it."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

try:
    from django.tasks import task
except ModuleNotFoundError:
    from django_tasks import task

from gaesignals import Drop

log: list[str] = []
opened: list[Any] = []


def say(text: str) -> None:
    log.append(text)
    print(text, flush=True)


@task()
def ship(number: int, *, express: bool = False) -> str:
    say(f"shipping {number}{' at once' if express else ''}")
    return "on its way"


@task(queue_name="mail")
def mail(address: str) -> None:
    say(f"mailing {address}")


@task(takes_context=True)
def pay(context: Any, number: int) -> None:
    say(f"paying {number}, attempt {context.attempt} of {context.task_result.id}")
    if context.attempt == 1:
        raise ConnectionError("the bank is closed")


@task()
async def translate(text: str) -> None:
    await asyncio.sleep(0)
    say(f"translating {text}")


@task()
async def translate_and_mail(text: str) -> None:
    await translate.func(text)
    await mail.aenqueue(f"{text}@example.com")


@task(backend="invoices")
def invoice(number: int) -> None:
    say(f"invoice {number}")


@task()
def fail(how: str) -> None:
    raise Drop("too late") if how == "drop" else ValueError("no such order")


@task()
async def fail_later() -> None:
    await asyncio.sleep(0)
    raise ValueError("no such text")


def plain() -> None:
    """No task."""


def ask() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    opened.append(connection.connection)


@task()
def ask_plainly() -> None:
    ask()


@task()
async def ask_in_a_coroutine() -> None:
    await sync_to_async(ask)()


@task()
async def wait() -> None:
    await asyncio.sleep(60)
