"""Read by mypy and pyright, never run: each has to refuse the lines marked so, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypedDict

from gaesignals import (
    AsyncSignalsMiddleware,
    Message,
    Receivers,
    Retry,
    Signal,
    asend_many,
    deliver,
    send_many,
)


@dataclass(frozen=True)
class Paid:
    order: int
    note: str | None = None


@dataclass(frozen=True)
class Other:
    order: int


order_paid = Signal("order_paid", data_type=Paid)
user_paid = Signal("user_{user_id}_paid", data_type=Paid)
untyped = Signal("untyped")
receivers = Receivers()

# Sending

order_paid.send(Paid(1))
order_paid.send(Other(1))  # refused
order_paid.send({"order": 1})  # refused
order_paid.send()  # refused
order_paid.send(None)  # refused
order_paid.send(Paid(1), urgent=True)  # refused
user_paid(user_id=5).send(Paid(1))
user_paid(user_id=5).send("paid")  # refused
untyped.send()
untyped.send(None)
untyped.send(Other(1))
Signal("at once").send({"k": 2})
Signal("none", data_type=type(None)).send()
send_many([(order_paid, Paid(1)), ("b", {"k": 2}), (untyped, None)])
send_many([order_paid.pair(Paid(1)), ("b", {"k": 2}), untyped.pair(None), untyped.pair()])
send_many([order_paid.pair(Other(1)), ("b", {"k": 2})])  # refused
send_many([order_paid.pair()])  # refused
send_many(user_paid(user_id=number).pair(Paid(number)) for number in range(3))
send_many(user_paid(user_id=number).pair(number) for number in range(3))  # refused


async def application(scope: Any, receive: Any, send: Any) -> None: ...


async def asynchronously() -> str:
    await order_paid.asend(Other(1))  # refused
    await order_paid.asend()  # refused
    await order_paid.asend(Paid(1), transactional=True)  # refused
    await Signal("none", data_type=type(None)).asend()
    await asend_many([(order_paid, Paid(1)), ("b", {"k": 2})])
    order_paid.asend(Paid(1)).upper()  # refused
    return await order_paid.asend(Paid(1), delay_seconds=5)


Signal("newest", latest=True, data_type=Paid).send(Other(1))  # refused
AsyncSignalsMiddleware(lambda scope, receive, send: None)  # refused
AsyncSignalsMiddleware(AsyncSignalsMiddleware(application), receivers, max_seconds=2)


def annotated(signal: Signal, message: Message) -> str:
    return signal.send(message.data)


def closely_annotated(signal: Signal[Paid], message: Message[Paid]) -> int:
    signal.send(message.data)
    return message.data.order


Signal[Paid]("order_paid", data_type=Paid).send(Paid(1))
Signal("order_paid", type=Paid)  # refused


# Connecting


def charge(paid: Paid) -> None: ...
def charge_other(other: Other) -> None: ...
def charge_anything(data: object) -> None: ...
def charge_untyped(data: Any) -> None: ...
def charge_of(paid: Paid, *, user_id: str) -> None: ...
def charge_other_of(other: Other, *, user_id: str) -> None: ...
def charge_all(messages: list[Message[Paid]]) -> None: ...
def charge_all_others(messages: list[Message[Other]]) -> None: ...
def count(messages: list[Message]) -> None: ...
def count_of(messages: list[Message[Paid]], *, user_id: str) -> None: ...
def prefixed(prefix: str, paid: Paid) -> None: ...
async def charge_soon(paid: Paid) -> None: ...
async def charge_other_soon(other: Other) -> None: ...


class Till:
    def charge(self, paid: Paid) -> None: ...
    def charge_other(self, other: Other) -> None: ...
    def __call__(self, paid: Paid) -> None: ...


receivers.connect(order_paid, charge, reliable=True, max_attempts=5, backoff_seconds=30, id="charge")
receivers.connect(order_paid, charge_other)  # refused
receivers.connect(order_paid, charge_anything)
receivers.connect(order_paid, charge_untyped)
receivers.connect(order_paid, charge_all, batch=10)
receivers.connect(order_paid, charge_all_others, batch=10)  # refused
receivers.connect(order_paid, count, batch=10)
receivers.connect(order_paid, charge, batch=10)  # refused
receivers.connect(order_paid, charge_all)  # refused
receivers.connect(order_paid, partial(prefixed, "a"))
receivers.connect(order_paid, charge_soon, concurrency=5)
receivers.connect(order_paid, charge_other_soon)  # refused
receivers.connect(order_paid, Till())
receivers.connect(order_paid, Till().charge)
receivers.connect(order_paid, Till().charge_other)  # refused
receivers.connect(order_paid, lambda paid: print(paid.order))
receivers.connect(order_paid, charge, retries=3)  # refused
receivers.connect(order_paid, charge, retry_on=ConnectionError, drop_on=[KeyError], backoff=[1, 60])
receivers.connect(order_paid, charge, backoff=lambda attempt: attempt * 60.0, max_age_seconds=60)
receivers.connect(order_paid, charge, lease_seconds=3600, queue="mail")
receivers.connect(order_paid, charge, retry_on="ConnectionError")  # refused
receivers.connect(order_paid, charge, backoff=lambda attempt: "soon")  # refused
receivers.connect(user_paid, charge_of)
receivers.connect(user_paid, charge_other_of)  # refused
receivers.connect(user_paid(user_id=5), charge)
receivers.connect(untyped, charge)
receivers.connect(untyped, charge_all, batch=10)
receivers.connect("name", charge_other)
receivers.connect("name", charge_all, batch=10)


@receivers.receiver(order_paid, reliable=True)
def decorated(paid: Paid) -> int:
    return paid.order


@receivers.receiver(order_paid)  # refused
def decorated_other(other: Other) -> None: ...


@receivers.receiver(user_paid)
def decorated_of(paid: Paid, *, user_id: str) -> None: ...


@receivers.receiver(order_paid, batch=10)
def decorated_batch(messages: list[Message[Paid]]) -> None:
    for message in messages:
        message.data.order.bit_length()
        print(message.data.price)  # refused


@receivers.receiver(order_paid, batch=10)  # refused
def decorated_other_batch(messages: list[Message[Other]]) -> None: ...


@receivers.receiver(order_paid)
async def decorated_soon(paid: Paid) -> None: ...


@receivers.receiver(untyped)
def decorated_untyped(data: dict[str, int], user_id: str = "") -> None: ...


@receivers.receiver("name", batch=10)
def decorated_name(messages: list[Message]) -> None: ...


decorated(Paid(1)).bit_length()
decorated(Other(1))  # refused
decorated_of(Paid(1), user_id="5")
decorated_of(Paid(1))  # refused
decorated_untyped({"a": 1})
decorated_name(messages=[])


@receivers.receiver(order_paid, batch=10, reliable=True)
def decorated_marks(messages: list[Message[Paid]]) -> None:
    messages[0].retry(after_seconds=60, charge=False)
    messages[0].retry("later")  # refused
    raise Retry(60, "busy", charge=False)


# What is around handlers


@contextmanager
def around() -> Iterator[None]:
    yield


async def keep(message: Message, error: str) -> None: ...
def keep_nothing(message: Message) -> None: ...


Receivers(around=around, on_dead=keep, max_dead_letters=500)
Receivers(around=keep)  # refused
Receivers(on_dead=keep_nothing)  # refused

# Typed dicts and named tuples


class Address(TypedDict):
    street: str


class Point(NamedTuple):
    x: int


moved = Signal("moved", data_type=Address)
moved.send({"street": "High Street"})
moved.send({"road": "High Street"})  # refused
found = Signal("found", data_type=Point)
found.send(Point(1))
found.send((1,))  # refused
receivers.connect(found, lambda point: print(point.x))

# Mappings stay what they were

deliver([(order_paid, charge), ("a", charge_other), (untyped, print)])
deliver({order_paid: charge_anything, "a": charge_anything})
deliver(receivers, names=[order_paid, "a"])
