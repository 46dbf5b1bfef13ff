"""An option that cannot be is an error of ours, whatever it is: also what Python cannot write out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from gaesignals import (
    AsyncSignalsMiddleware,
    InvalidMappingError,
    InvalidNameError,
    InvalidOptionError,
    Receivers,
    Retry,
    Signal,
    SignalsError,
    SignalsMiddleware,
    deliver,
    once,
    send_many,
)
from gaesignals.errors import brief
from gaesignals.limits import check_bounds
from gaesignals.mailbox.box import Mailbox
from gaesignals.stores.app_engine import MemcacheStore
from gaesignals.stores.valkey import ValkeyStore
from gaesignals.testing import MemoryStore

# Python refuses to write it out, since that would take long.
LONG: Any = 10**5000


class Mute:
    """Of an application's making, and broken."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def handle(data: object) -> None:
    pass


def app(*arguments: Any) -> Any:
    return []


def connect(**options: Any) -> Callable[[], object]:
    return lambda: Receivers().connect("a", handle, reliable=True, **options)


OPTIONS = (
    *("batch", "max_attempts", "backoff_seconds", "backoff", "retry_on", "max_age_seconds", "lease_seconds"),
    *("queue", "id", "concurrency"),
)
CALLS: dict[str, Callable[[], object]] = {
    **{f"connect {option}": connect(**{option: LONG}) for option in OPTIONS},
    "connect a negative": connect(max_attempts=-LONG),
    "on_dead": lambda: Receivers(on_dead=LONG),
    "max_dead_letters": lambda: Receivers(max_dead_letters=LONG),
    "wake": lambda: Signal("a", wake=LONG),
    "durable": lambda: Signal("a", durable=LONG),
    "data_type": lambda: Signal("a", data_type=LONG),
    "delay_seconds": lambda: Signal("a").send(1, delay_seconds=LONG),
    "at": lambda: Signal("a").send(1, at=LONG),
    "bounds of a lease": lambda: check_bounds(LONG, None, None),
    "max_messages": lambda: deliver({"a": handle}, max_messages=-LONG),
    "max_seconds": lambda: deliver({"a": handle}, max_seconds=LONG),
    "reliable": lambda: deliver({"a": handle}, reliable=LONG),
    "names": lambda: deliver({"a": handle}, names=LONG),
    "mailbox": lambda: deliver({"a": handle}, mailbox=LONG),
    "should_stop": lambda: deliver({"a": handle}, should_stop=LONG),
    "names of the middleware": lambda: SignalsMiddleware(app, {"a": handle}, names=LONG),
    "seconds of the middleware": lambda: AsyncSignalsMiddleware(app, {"a": handle}, max_seconds=LONG),
    "holder": lambda: Mailbox(MemoryStore(), holder=LONG),
    "deadline_seconds of a server": lambda: ValkeyStore("valkey://localhost", deadline_seconds=LONG),
    "namespace of a server": lambda: ValkeyStore("valkey://localhost", namespace=LONG),
    "after_seconds": lambda: Retry(after_seconds=LONG),
    "charge": lambda: Retry(charge=LONG),
    "seconds": lambda: once(seconds=LONG),
    "deadline_seconds": lambda: MemcacheStore(deadline_seconds=LONG),
}
OTHERS: dict[str, tuple[type[SignalsError], Callable[[], object]]] = {
    "a name": (InvalidNameError, lambda: Signal(LONG)),
    "a mapping": (InvalidMappingError, lambda: deliver(LONG)),
    "a pair": (InvalidMappingError, lambda: deliver([LONG])),
    "a handler": (InvalidMappingError, lambda: deliver([("a", LONG)])),
    "pairs to send": (InvalidMappingError, lambda: send_many([LONG])),
    "an app": (InvalidMappingError, lambda: SignalsMiddleware(LONG, {"a": handle})),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_option_that_cannot_be_written_out_is_an_error_of_ours(call: Callable[[], object]) -> None:
    with pytest.raises(InvalidOptionError, match="<int that cannot be written out>"):
        call()


@pytest.mark.parametrize(("kind", "call"), OTHERS.values(), ids=OTHERS)
def test_so_is_whatever_else_cannot_be(kind: type[SignalsError], call: Callable[[], object]) -> None:
    with pytest.raises(kind):
        call()


@pytest.mark.parametrize(
    ("value", "said"),
    [("a", "'a'"), ("x" * 100, "'" + "x" * 79), (Mute(), "<Mute that cannot be written out>"), (10**4, "10000")],
)
def test_a_value_is_told_by_the_beginning_of_how_python_writes_it(value: object, said: str) -> None:
    assert brief(value) == said


def test_an_option_of_which_a_class_of_the_application_fails_to_tell() -> None:
    with pytest.raises(InvalidOptionError, match=re.escape("names=<Mute that cannot be written out> cannot be")):
        deliver({"a": handle}, names=Mute())  # type: ignore[arg-type]  # no list of names
